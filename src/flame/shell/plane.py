"""Connections of the task plane on an event loop: the listening side, and a dialling side that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import socket
import struct
from collections.abc import Callable

from flame.core.base.errors import FlameError, ProtocolError
from flame.core.model.messages import BY_HAND, Failure, Hello, Message, Recorded, Submitted, Welcome
from flame.core.model.reactor import Peer
from flame.shell.address import Address, connect
from flame.shell.stream import Stream
from flame.wire.codec import Deframer, decode, frame

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

    def joined(self, peer: Peer, hello: Hello) -> None: ...
    def received(self, peer: Peer, request: int, message: Message) -> None: ...
    def lost(self, peer: Peer) -> None: ...
    def choked(self, peer: Peer, full: bool) -> None: ...


class Connection:
    """One accepted connection. The first message must be a Hello we understand, with the token where one is wanted."""

    def __init__(self, plane: Plane, sock: socket.socket, token: str) -> None:
        self.plane, self.token = plane, token
        #: given in the order of acceptance: of two connections of one peer the later one counts
        self.peer: Peer = plane.number()
        self.joined = False
        self.hello: Hello | None = None
        self._deframer = Deframer()
        self._held: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.stream = Stream(sock, self._data, self._ended, self._choked)
        self._timer = self._loop.call_later(HELLO_LIMIT, self.stream.abort)
        if sock.family == socket.AF_UNIX and not _same_user(sock):
            self.stream.abort()

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
        if not isinstance(message, Hello) or message.magic != "FLAME":
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
        # Executors that were placed bring a token of their own, which the reactor knows.
        placed = message.role == "executor" and BY_HAND not in message.features
        if self.token and not placed and not hmac.compare_digest(message.token.encode(), self.token.encode()):
            said = "no token" if not message.token else "a wrong token"
            self._answer(
                Failure(
                    "unauthenticated",
                    f"TCP connections want the cluster's token; {said} came",
                    "FLAME_TOKEN_FILE names it",
                )
            )
            return
        self._timer.cancel()
        self.hello = message
        self.joined = True
        self.plane.connections[self.peer] = self
        self.plane.handler.joined(self.peer, message)

    def _answer(self, failure: Failure) -> None:
        self.write(frame(failure))
        self.stream.close()

    def refuse(self, error: FlameError) -> None:
        """Say why, then hang up."""
        log.warning("connection %d dropped: %s", self.peer, error)
        if self.stream.open:
            self._answer(Failure(error.code, error.message, error.hint))

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

    def number(self) -> Peer:
        self._next += 1
        return self._next

    def serve(self, sock: socket.socket, token: str = "") -> None:
        """Accept on a listening socket; with `token`, every hello must carry it."""
        self._listening.append(sock)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, sock, token)

    def _accept(self, sock: socket.socket, token: str) -> None:
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
            Connection(self, accepted, token)

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


class Dialler:
    """A connection to another process of the cluster that is made again whenever it ends.

    hello: what to say, asked anew for every connection. joined: called after the Welcome (or at once when the other side sends none).
    """

    def __init__(
        self,
        address: Address,
        hello: Callable[[], Hello],
        received: Callable[[int, Message], None],
        joined: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self.address, self._hello, self._received, self._joined, self._lost = address, hello, received, joined, lost
        self.stream: Stream | None = None
        self._deframer = Deframer()
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        """10 ms at first: a restarted neighbour should be found at once; later a second."""
        pause = 0.01
        while not self._stopped:
            try:
                sock = connect(self.address)  # local: does not wait
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.25)
                continue
            self._deframer = Deframer()
            self.stream = Stream(sock, self._data, self._ended, lambda full: None)
            self.stream.write(frame(self._hello()))
            self._joined()
            return

    @property
    def connected(self) -> bool:
        return self.stream is not None

    def _data(self, data: bytes) -> None:
        try:
            for envelope in self._deframer.feed(data):
                request, message = decode(envelope)
                if not isinstance(message, Welcome):
                    self._received(request, message)
        except ProtocolError as error:
            log.warning("%s: %s", self.address, error)
            if self.stream is not None:
                self.stream.abort()

    def _ended(self) -> None:
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
