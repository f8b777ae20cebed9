"""Connections of the task plane on an event loop: the listening side, and a dialling side that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flame.core.base.errors import FlameError, ProtocolError
from flame.core.model.messages import Failure, Hello, Identity, Message, Recorded, Submitted, Welcome
from flame.core.model.reactor import Peer
from flame.shell.address import Address, connect
from flame.shell.gate import Gate
from flame.shell.stream import Stream
from flame.wire.codec import Deframer, decode, frame

if TYPE_CHECKING:
    from flame.shell.carrier import Carrier, Remote

log = logging.getLogger("flame.plane")

VERSIONS = (1, 1)
"""Lowest and highest version of the plane this release speaks."""
HELLO_LIMIT = 10.0
"""Seconds a connection may take to say hello."""


LAZY = (Submitted, Recorded)
"""Messages that nobody waits for: they travel with the next other one, or after LAZY_SECONDS. Each saves its receiver a wake-up."""
LAZY_SECONDS = 0.002


MAX_NAME = 1024
"""Characters of a client's id."""


class Handler:
    """What a plane tells its owner. Override what is needed."""

    def joined(self, peer: Peer, hello: Hello, identity: Identity | None) -> None: ...
    def received(self, peer: Peer, request: int, message: Message) -> None: ...
    def lost(self, peer: Peer) -> None: ...
    def choked(self, peer: Peer, full: bool) -> None: ...


class Wire(Protocol):
    """A Stream or a Carrier."""

    open: bool

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


Opener = Callable[[Callable[[bytes], None], Callable[[], None], Callable[[bool], None]], Wire]


class Connection:
    """One accepted connection. The first message must be a Hello we understand, from somebody the gate or the reactor knows."""

    def __init__(self, plane: Plane, gate: Gate, opener: Opener) -> None:
        self.plane, self.gate = plane, gate
        #: given in the order of acceptance: of two connections of one peer the later one counts
        self.peer: Peer = plane.number()
        self.joined = False
        self.hello: Hello | None = None
        self._deframer = Deframer()
        self._held: list[bytes] = []
        self._asking = False
        self._loop = asyncio.get_running_loop()
        self.stream = opener(self._data, self._ended, self._choked)
        self._timer = self._loop.call_later(HELLO_LIMIT, self.stream.abort)

    def write(self, data: bytes, lazy: bool = False) -> None:
        if lazy:
            if not self._held:
                self.plane.flush_later(self)
            self._held.append(data)
        elif self._held:
            self._held.append(data)
            self.flush()
        else:
            self.stream.write(data)

    def flush(self) -> None:
        if self._held:
            data, self._held = b"".join(self._held), []
            self.stream.write(data)

    def _data(self, data: bytes) -> None:
        try:
            for envelope in self._deframer.feed(data):
                request, message = decode(envelope)
                if self.hello is not None:
                    self.plane.handler.received(self.peer, request, message)
                else:
                    self._greet(request, message)
        except ProtocolError as error:
            self.refuse(error)

    def _greet(self, request: int, message: Message) -> None:
        if not isinstance(message, Hello) or message.magic != "FLAME" or self._asking:
            raise ProtocolError(f"the first message is {type(message).__name__}, not Hello")
        if max(len(message.client_id), len(message.token)) > MAX_NAME:
            raise ProtocolError(f"a Hello with an id of {len(message.client_id):,} characters; at most {MAX_NAME}")
        if message.version_max < VERSIONS[0] or message.version_min > VERSIONS[1]:
            self._answer(
                Failure(
                    "version_mismatch",
                    f"you speak plane versions {message.version_min} to {message.version_max}, this cluster {VERSIONS[0]} to {VERSIONS[1]}",
                    "install the release the cluster runs",
                )
            )
            return
        if self.gate.must_ask(message):
            self._asking = True
            self.plane.spawn(self._ask(message))
        else:
            self._welcome(message, self.gate.knows(message))

    async def _ask(self, hello: Hello) -> None:
        """An outside issuer made the token: it says whose it is."""
        try:
            identity = await self.gate.ask(hello.token)
        except FlameError as error:
            self.refuse(error)
            return
        if self.stream.open:
            self._welcome(hello, identity)

    def _welcome(self, hello: Hello, identity: Identity | None) -> None:
        self._timer.cancel()
        self.hello = hello
        self.joined = True
        self.plane.connections[self.peer] = self
        self.plane.handler.joined(self.peer, hello, identity)

    def _answer(self, failure: Failure) -> None:
        self.write(frame(failure))
        self.stream.close()

    def refuse(self, error: FlameError) -> None:
        """Say why, then hang up."""
        log.warning("connection %d dropped: %s", self.peer, error)
        if self.stream.open:
            self._answer(Failure(error.code, error.message, error.hint, error.retry_after))

    def _choked(self, full: bool) -> None:
        self.plane.handler.choked(self.peer, full)

    def _ended(self) -> None:
        self._timer.cancel()
        if self.joined:
            del self.plane.connections[self.peer]
            self.plane.handler.lost(self.peer)


def _same_user(sock: socket.socket) -> bool:
    """Mode 0600 keeps others out; this also refuses a descriptor that was handed around."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    with contextlib.suppress(OSError):
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", raw)[1] in (os.getuid(), 0)
    return False


class Plane:
    """All connections of one process; peers are numbered from `first`."""

    def __init__(self, handler: Handler, first: int = 1) -> None:
        self.handler = handler
        self.connections: dict[Peer, Connection] = {}
        self._next = first
        self._listening: list[socket.socket] = []
        self._holding: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def number(self) -> Peer:
        self._next += 1
        return self._next

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def serve(self, sock: socket.socket, gate: Gate) -> None:
        """Accept on a listening socket."""
        self._listening.append(sock)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, sock, gate)

    def _accept(self, sock: socket.socket, gate: Gate) -> None:
        for _ in range(64):
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # too many open files: those that are open go on
                log.error("cannot accept: %s", error)
                return
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            elif not _same_user(accepted):
                accepted.close()
                continue
            Connection(self, gate, functools.partial(Stream, accepted))

    async def take_call(self, context: Any, gate: Gate) -> None:
        """A call of the gRPC service: a connection like any other, for as long as it lasts."""
        from flame.shell.carrier import Carrier

        made: list[Carrier] = []

        def opener(data: Any, ended: Any, choked: Any) -> Carrier:
            made.append(Carrier(context, data, ended, choked))
            return made[0]

        Connection(self, gate, opener)
        try:
            await made[0].finished.wait()
        finally:
            made[0].abort()

    def send(self, peer: Peer, message: Message, request: int = 0) -> None:
        connection = self.connections.get(peer)
        if connection is not None:
            connection.write(frame(message, request), type(message) in LAZY)

    def flush_later(self, connection: Connection) -> None:
        """One timer for all connections that hold something back."""
        if not self._holding:
            asyncio.get_running_loop().call_later(LAZY_SECONDS, self._flush)
        self._holding.append(connection)

    def _flush(self) -> None:
        holding, self._holding = self._holding, []
        for connection in holding:
            connection.flush()

    def close(self, peer: Peer) -> None:
        connection = self.connections.get(peer)
        if connection is not None:
            connection.stream.close()

    def drop_all(self) -> None:
        for connection in list(self.connections.values()):
            connection.stream.abort()

    def stop(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._listening:
            loop.remove_reader(sock.fileno())
        for connection in list(self.connections.values()):
            connection.flush()
            connection.stream.close()


FOLLOW_EVERY = 0.5
"""Seconds between two looks at who leads."""
TURNED_AWAY = 0.05
"""Seconds before whoever turned us away is asked again: it may be about to lead."""


class Dialler:
    """A connection to another process of the cluster that is made again whenever it ends.

    addresses: where it may be, or how to find out; the first that answers is taken. hello: what to say, asked anew for every
    connection. joined: called once connected. remote: makes the way to a `tls` address.
    """

    def __init__(
        self,
        addresses: Sequence[Address] | Callable[[], Awaitable[Sequence[Address]]],
        hello: Callable[[], Hello],
        received: Callable[[int, Message], None],
        joined: Callable[[], None],
        lost: Callable[[], None],
        remote: Callable[[Address], Remote] | None = None,
    ) -> None:
        self.addresses, self._hello, self._received, self._joined, self._lost = addresses, hello, received, joined, lost
        self._remote = remote
        self.stream: Wire | None = None
        #: why the last attempt failed
        self.trouble = ""
        self._deframer = Deframer()
        self._stopped = False
        self._turned_away = False
        self._task: asyncio.Task[None] | None = None
        self._followed: Sequence[Address] = ()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def _live(self) -> None:
        """Dial; where the place may change, see that we are still at the right one: a paused leader keeps its connections."""
        await self._dial()
        while callable(self.addresses) and self.stream is not None:
            await asyncio.sleep(FOLLOW_EVERY)
            found = await self._where()
            if found and found != self._followed and self.stream is not None:
                self.stream.abort()
                return

    async def _dial(self) -> None:
        """10 ms at first: a restarted neighbour should be found at once; later a quarter of a second."""
        pause = 0.01
        if self._turned_away:
            self._turned_away = False
            await asyncio.sleep(TURNED_AWAY)
        while not self._stopped:
            self._followed = await self._where()
            for address in self._followed:
                opener = await self._reach(address)
                if opener is not None and not self._stopped:
                    self._deframer = Deframer()
                    self.stream = opener(self._data, self._ended, lambda full: None)
                    self.stream.write(frame(self._hello()))
                    self._joined()
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def _where(self) -> Sequence[Address]:
        if not callable(self.addresses):
            return self.addresses
        try:
            return await self.addresses()
        except FlameError as error:
            self._said(str(error))
            return ()

    def _said(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble

    async def _reach(self, address: Address) -> Opener | None:
        try:
            if not address.tls:
                return functools.partial(Stream, connect(address))  # local: does not wait
            assert self._remote is not None, f"no way to {address}"
            from flame.shell.carrier import Carrier

            remote = self._remote(address)
            return functools.partial(Carrier, await remote.call())
        except (OSError, FlameError) as error:
            if not isinstance(error, OSError):
                self._said(str(error))
        return None

    @property
    def connected(self) -> bool:
        return self.stream is not None

    def _data(self, data: bytes) -> None:
        try:
            for envelope in self._deframer.feed(data):
                request, message = decode(envelope)
                if not request and isinstance(message, Failure):
                    self._turned_away = True  # it hangs up next
                    self._said(message.message)
                elif not isinstance(message, Welcome):
                    self._received(request, message)
        except ProtocolError as error:
            log.warning("broken connection: %s", error)
            if self.stream is not None:
                self.stream.abort()

    def _ended(self) -> None:
        if self.stream is None:
            return
        self.stream = None
        self._lost()
        if not self._stopped:
            self.start()

    def send(self, message: Message, request: int = 0) -> None:
        """Dropped while not connected: both sides state anew what matters when they meet again."""
        if self.stream is not None:
            self.stream.write(frame(message, request))

    def stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
        if self.stream is not None:
            self.stream.close()
