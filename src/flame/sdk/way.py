"""The way to a cluster: its addresses in turn, a hello at each, and the first welcome."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from flame.core.base.errors import ProtocolError, Unavailable
from flame.core.model import messages as m
from flame.sdk.results import error_of
from flame.sdk.target import Target
from flame.shell.address import Address, connect
from flame.wire.codec import Deframer, decode, frame

if TYPE_CHECKING:
    from flame.shell.bridge import Bridge

GREET, GREET_AMONG, AGAIN = 10.0, 1.5, 0.05
"""Seconds a welcome may take; the same when there are other addresses to try; and the pause before who was not ready is asked again."""
SOON, LATER = 0.005, 0.1
"""Seconds between two attempts to come back: at first, and after many."""
_READ = 1 << 18


class Arrival(NamedTuple):
    """A connection that was welcomed, does not block, and what came behind the welcome."""

    sock: socket.socket
    deframer: Deframer
    welcome: m.Welcome
    rest: list[tuple[int, m.Message]]


class Way:
    """To `target`. hello: what to say, asked anew at every door."""

    def __init__(self, target: Target, hello: Callable[[], m.Hello]) -> None:
        self.target, self._hello = target, hello
        self._bridge: Bridge | None = None
        self._place = 0

    @property
    def address(self) -> Address:
        """Where we are, or try next."""
        return self.target.addresses[self._place % len(self.target.addresses)]

    @property
    def alternatives(self) -> bool:
        return len(self.target.addresses) > 1

    def turn(self) -> None:
        """The next address from now on."""
        self._place += 1

    def first(self) -> Arrival:
        """An endpoint that is not there is an error at once, one that answers "not yet" is asked again for a while.

        Raises Unavailable and what the cluster answers."""
        until = time.monotonic() + GREET
        try:
            while True:
                trouble: Unavailable | None = None
                met = False
                for _ in self.target.addresses:
                    reached = False
                    try:
                        sock = self._open(self.address)
                        reached = True
                        return self._greet(sock)
                    except Unavailable as error:
                        trouble, met = error, met or reached
                    except OSError as error:
                        text = f"no cluster answers at {self.address}: {error.strerror or error}"
                        trouble = Unavailable(text, hint="is it running? `flame status`")
                    self.turn()
                assert trouble is not None, "a target without an address"
                if not met or time.monotonic() > until:
                    raise trouble
                time.sleep(AGAIN)
        except BaseException:
            self.close()
            raise

    def back(self, go_on: Callable[[], bool]) -> Arrival:
        """After a connection was lost: asks on for as long as it may `go_on`. Raises Unavailable, and at once what the cluster answers."""
        pause = SOON
        while True:
            try:
                return self._greet(self._open(self.address))
            except (OSError, Unavailable) as error:
                said = (error.strerror if isinstance(error, OSError) else "") or str(error)
            if not go_on():
                raise Unavailable(f"the cluster at {self.target} is gone: {said}")
            self.turn()
            time.sleep(pause)
            pause = min(pause * 1.5, LATER)

    def close(self) -> None:
        if self._bridge is not None:
            self._bridge.close()

    def _open(self, address: Address) -> socket.socket:
        if not address.tls:
            return connect(address, timeout=5)
        if self._bridge is None:
            from flame.shell.bridge import Bridge

            self._bridge = Bridge(self.target.ca, self.target.identity)
        return self._bridge.dial(address)

    def _greet(self, sock: socket.socket) -> Arrival:
        """Hello and Welcome. Raises OSError, and what the cluster answers."""
        sock.settimeout(GREET_AMONG if self.alternatives else GREET)
        try:
            sock.sendall(frame(self._hello()))
            deframer = Deframer()
            messages: list[tuple[int, m.Message]] = []
            while not messages:
                data = sock.recv(_READ)
                if not data:
                    raise OSError(0, "the connection was closed before a welcome")
                messages += [decode(e) for e in deframer.feed(data)]
            first = messages[0][1]
            if isinstance(first, m.Failure):
                raise error_of(first)
            if not isinstance(first, m.Welcome):
                raise ProtocolError(f"a cluster that answers with {type(first).__name__}")
        except BaseException:
            sock.close()
            raise
        sock.setblocking(False)
        return Arrival(sock, deframer, first, messages[1:])
