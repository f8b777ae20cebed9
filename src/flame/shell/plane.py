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
from typing import cast

from flame.core.base.errors import FlameError, ProtocolError
from flame.core.model.messages import Failure, Hello, Message, Welcome
from flame.core.model.reactor import Peer
from flame.shell.address import Address, connect
from flame.wire.codec import Deframer, decode, frame

log = logging.getLogger("flame.plane")

VERSIONS = (1, 1)
"""Lowest and highest version of the plane this release speaks."""
HIGH_WATER, LOW_WATER = 8 * 1024 * 1024, 2 * 1024 * 1024
"""Unsent bytes of one connection at which it is told to be choked, and to have caught up."""
HELLO_LIMIT = 10.0
"""Seconds a connection may take to say hello."""


class Handler:
    """What a plane tells its owner. Override what is needed."""

    def joined(self, peer: Peer, hello: Hello) -> None: ...
    def received(self, peer: Peer, request: int, message: Message) -> None: ...
    def lost(self, peer: Peer) -> None: ...
    def choked(self, peer: Peer, full: bool) -> None: ...


class Connection(asyncio.Protocol):
    """One accepted connection. The first message must be a Hello we understand, with the token where one is wanted."""

    def __init__(self, plane: Plane, token: str) -> None:
        self.plane, self.token = plane, token
        self.peer: Peer = 0
        self.transport: asyncio.Transport | None = None
        self.hello: Hello | None = None
        self._deframer = Deframer()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX and not _same_user(sock):
            self.transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HELLO_LIMIT, self.transport.abort)

    def data_received(self, data: bytes) -> None:
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
        if message.version_max < VERSIONS[0] or message.version_min > VERSIONS[1]:
            self._answer(
                Failure(
                    "version_mismatch",
                    f"you speak plane versions {message.version_min} to {message.version_max}, this cluster {VERSIONS[0]} to {VERSIONS[1]}",
                    "install the release the cluster runs",
                )
            )
            return
        if self.token and message.role != "executor" and not hmac.compare_digest(message.token, self.token):
            said = "no token" if not message.token else "a wrong token"
            self._answer(Failure("unauthenticated", f"TCP connections want the cluster's token; {said} came", "FLAME_TOKEN_FILE names it"))
            return
        if self._timer is not None:
            self._timer.cancel()
        self.hello = message
        self.peer = self.plane.add(self)
        self.plane.handler.joined(self.peer, message)

    def _answer(self, failure: Failure) -> None:
        assert self.transport is not None
        self.transport.write(frame(failure))
        self.transport.close()

    def refuse(self, error: FlameError) -> None:
        """Say why, then hang up."""
        log.warning("connection %d dropped: %s", self.peer, error)
        if self.transport is not None and not self.transport.is_closing():
            self._answer(Failure(error.code, error.message, error.hint))

    def pause_writing(self) -> None:
        self.plane.handler.choked(self.peer, True)

    def resume_writing(self) -> None:
        self.plane.handler.choked(self.peer, False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.peer:
            self.plane.remove(self.peer)
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
        self._servers: list[asyncio.AbstractServer] = []

    def number(self) -> Peer:
        self._next += 1
        return self._next

    def add(self, connection: Connection) -> Peer:
        peer = self.number()
        self.connections[peer] = connection
        return peer

    def remove(self, peer: Peer) -> None:
        self.connections.pop(peer, None)

    async def serve(self, sock: socket.socket, token: str = "") -> None:
        """Accept on a listening socket; with `token`, every hello must carry it."""
        loop = asyncio.get_running_loop()
        make = lambda: Connection(self, token)  # noqa: E731
        if sock.family == socket.AF_UNIX:
            self._servers.append(await loop.create_unix_server(make, sock=sock))
        else:
            self._servers.append(await loop.create_server(make, sock=sock))

    def send(self, peer: Peer, message: Message, request: int = 0) -> None:
        connection = self.connections.get(peer)
        if connection is not None and connection.transport is not None:
            connection.transport.write(frame(message, request))

    def close(self, peer: Peer) -> None:
        connection = self.connections.get(peer)
        if connection is not None and connection.transport is not None:
            connection.transport.close()

    def stop(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self.connections.values()):
            if connection.transport is not None:
                connection.transport.close()


class Dialler(asyncio.Protocol):
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
        self.transport: asyncio.Transport | None = None
        self.connected = False
        self._deframer = Deframer()
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        """10 ms at first: a restarted neighbour should be found at once; later a second."""
        loop, pause = asyncio.get_running_loop(), 0.01
        while not self._stopped:
            try:
                sock = connect(self.address)  # local: does not wait
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.25)
                continue
            sock.setblocking(False)
            self._deframer = Deframer()
            if self.address.path:
                await loop.create_unix_connection(lambda: self, sock=sock)
            else:
                await loop.create_connection(lambda: self, sock=sock)
            return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(frame(self._hello()))
        self.connected = True
        self._joined()

    def data_received(self, data: bytes) -> None:
        try:
            for envelope in self._deframer.feed(data):
                request, message = decode(envelope)
                if not isinstance(message, Welcome):
                    self._received(request, message)
        except ProtocolError as error:
            log.warning("%s: %s", self.address, error)
            if self.transport is not None:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        was, self.connected, self.transport = self.connected, False, None
        if was:
            self._lost()
        if not self._stopped:
            self.start()

    def send(self, message: Message, request: int = 0) -> None:
        """Dropped while not connected: both sides state anew what matters when they meet again."""
        if self.transport is not None:
            self.transport.write(frame(message, request))

    def stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
        if self.transport is not None:
            self.transport.close()
