"""Lines into the reactors for the gRPC edge of the same process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from flame.core.base.errors import BY_CODE, FlameError, Unavailable
from flame.core.model.messages import Failure, Hello, Identity, Message, Welcome
from flame.core.model.reactor import Joined, Lost, Peer
from flame.manager.desk import Line
from flame.shell.plane import Dialler

if TYPE_CHECKING:
    from flame.manager.process import ManagerProcess


def raised(failure: Failure) -> FlameError:
    return BY_CODE.get(failure.code, FlameError)(failure.message, hint=failure.hint)


class LocalLine:
    """A peer of the sessions reactor."""

    def __init__(
        self, process: ManagerProcess, peer: Peer, push: Callable[[Message], None], lost: Callable[[], None]
    ) -> None:
        self._process, self.peer, self._push, self.lost = process, peer, push, lost
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._request = 0
        #: why it was not let in, or was sent away
        self.refused: Failure | None = None

    def deliver(self, request: int, message: Message) -> None:
        if not request and isinstance(message, Failure):
            self.refused = message
        future = self._asked.pop(request, None) if request else None
        if future is None:
            if not isinstance(message, Welcome):
                self._push(message)
        elif future.done():
            return
        elif isinstance(message, Failure):
            future.set_exception(raised(message))
        else:
            future.set_result(message)

    async def ask(self, message: Message) -> Message:
        self._request += 1
        future: asyncio.Future[Message] = self._process.loop.create_future()
        self._asked[self._request] = future
        self._process.received(self.peer, self._request, message)
        return await future

    def say(self, message: Message) -> None:
        self._process.received(self.peer, 0, message)

    def close(self) -> None:
        self._process.desk.lines.pop(self.peer, None)
        self.abandon()
        self._process.driver.handle(Lost(self.peer))

    def abandon(self) -> None:
        for future in self._asked.values():
            if not future.done():
                gone = Unavailable("the session manager restarted its reactor")
                future.set_exception(raised(self.refused) if self.refused else gone)
        self._asked.clear()


class AllocatorLine:
    """A connection of its own to the allocator, as an agent has one."""

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._request = 0

    def deliver(self, request: int, message: Message, push: Callable[[Message], None]) -> None:
        future = self._asked.pop(request, None) if request else None
        if future is None:
            push(message)
        elif isinstance(message, Failure):
            future.set_exception(raised(message))
        else:
            future.set_result(message)

    async def ask(self, message: Message) -> Message:
        self._request += 1
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[self._request] = future
        self._dialler.send(message, self._request)
        return await future

    def say(self, message: Message) -> None:
        self._dialler.send(message)

    def close(self) -> None:
        self._dialler.stop()


class LocalDesk:
    """Makes lines (see `manager.desk`)."""

    def __init__(self, process: ManagerProcess) -> None:
        self._process = process
        self.lines: dict[Peer, LocalLine] = {}

    def line(
        self,
        hello: Hello,
        push: Callable[[Message], None],
        lost: Callable[[], None],
        identity: Identity | None = None,
    ) -> Line:
        peer = self._process.plane.number()
        line = self.lines[peer] = LocalLine(self._process, peer, push, lost)
        self._process.driver.handle(Joined(peer, hello, identity))
        if line.refused is not None:
            self.lines.pop(peer, None)
            raise raised(line.refused)
        return line

    def dismiss(self, peer: Peer) -> bool:
        """The reactor sends a peer away. True when it is one of these lines."""
        line = self.lines.pop(peer, None)
        if line is None:
            return False
        line.abandon()
        line.lost()
        self._process.driver.handle(Lost(peer))
        return True

    async def allocator_line(self, hello: Hello, push: Callable[[Message], None], lost: Callable[[], None]) -> Line:
        up = asyncio.Event()
        dialler = Dialler(
            (self._process.config.allocator,),
            lambda: hello,
            lambda request, message: line.deliver(request, message, push),
            up.set,
            lost,
        )
        line = AllocatorLine(dialler)
        dialler.start()
        try:
            await asyncio.wait_for(up.wait(), 5)
        except TimeoutError:
            dialler.stop()
            raise Unavailable("the allocator cannot be reached") from None
        return line

    def drop(self) -> None:
        """The reactor is made anew: every line is lost."""
        lines, self.lines = list(self.lines.values()), {}
        for line in lines:
            line.abandon()
            line.lost()
