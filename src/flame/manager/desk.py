"""How the gRPC edge talks to the reactors: the port, and (further down the process) its implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flame.core.model.messages import Hello, Identity, Message


class Line(Protocol):
    """One peer of a reactor, in this process."""

    async def ask(self, message: Message) -> Message:
        """The answer, once it is committed. Raises the FlameError that the reactor answered."""
        ...

    def say(self, message: Message) -> None:
        """Send without an answer."""
        ...

    def close(self) -> None:
        """The peer is gone. `lost` is not called."""
        ...


class Desk(Protocol):
    """Makes lines. `push` gets what the reactor sends on its own; `lost` is called when the other side is gone."""

    def line(
        self,
        hello: Hello,
        push: Callable[[Message], None],
        lost: Callable[[], None],
        identity: Identity | None = None,
    ) -> Line:
        """A peer of the sessions reactor, `role` client or executor; `identity` None: the token of the hello decides. Raises the
        FlameError with which it is not let in."""
        ...

    async def allocator_line(self, hello: Hello, push: Callable[[Message], None], lost: Callable[[], None]) -> Line:
        """A peer of the allocator, `role` agent. Raises Unavailable while there is no allocator."""
        ...
