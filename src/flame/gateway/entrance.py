"""Accepting connections: HTTP and HTTPS at one port, told apart by the first byte; and who says nothing is sent away.

kubectl sends its token by TLS only, a browser on this machine has no use for a certificate that it does not know: so loopback serves both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("flame.gateway")

HELLO = 0x16
"""First byte of whoever begins with TLS."""
FIRST_BYTE = 10.0
"""Seconds until something must have come."""
HEADERS = 10.0
"""Seconds that the head of one request may take."""
AT_ONCE = 100
"""Connections accepted in one turn of the loop."""


class Identity:
    """The certificate as it is now: a renewed file is used from the next connection on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = 0
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Raises OSError or SSLError for a file that cannot be used."""
        stamp = self._path.stat().st_mtime_ns
        if self._context is None or stamp != self._stamp:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self._path)
            context.set_alpn_protocols(["http/1.1"])
            self._context, self._stamp = context, stamp
        return self._context


class Protocol(H11Protocol):
    """HTTP/1.1 whose head must come in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._watch()
        elif self._late is not None and self.conn.their_state is not h11.IDLE:
            self._late.cancel()
            self._late = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(HEADERS, self.transport.close)


class Server(uvicorn.Server):
    """Serves one socket. plain: is HTTP without TLS taken? identity: None: no TLS; ready: called once it serves."""

    def __init__(
        self, config: uvicorn.Config, sock: socket.socket, plain: bool, identity: Path | None, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._sock, self._plain = sock, plain
        self._identity = Identity(identity) if identity is not None else None

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Whoever runs us has done that."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._identity is not None:
            self._identity.context()  # a certificate that cannot be used is told at once
        self.servers: list[Any] = [Acceptor(self._sock, self._admit)]
        self.started = True
        self._ready()

    async def _admit(self, conn: socket.socket) -> None:
        """Raises OSError for a connection that comes to nothing."""
        loop = asyncio.get_running_loop()
        first = await asyncio.wait_for(_peek(loop, conn), FIRST_BYTE)
        if not first:
            conn.close()
            return
        secure = first[0] == HELLO
        if (secure and self._identity is None) or not (secure or self._plain):
            conn.close()
            return
        context = self._identity.context() if secure and self._identity is not None else None
        await loop.connect_accepted_socket(
            self._protocol, conn, ssl=context, ssl_handshake_timeout=FIRST_BYTE if context else None
        )

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, {})


class Acceptor:
    """Takes what comes to a listening socket, which others may share."""

    def __init__(self, sock: socket.socket, admit: Callable[[socket.socket], Any]) -> None:
        self._sock, self._admit = sock, admit
        self._admitting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                conn, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return  # another process was faster
            except OSError as error:
                log.warning("a connection could not be accepted: %s", error)
                return
            conn.setblocking(False)
            task = self._loop.create_task(self._admitted(conn))
            self._admitting.add(task)
            task.add_done_callback(self._admitting.discard)

    async def _admitted(self, conn: socket.socket) -> None:
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._admit(conn)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.debug("a connection came to nothing: %s", error)
            conn.close()

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        for task in self._admitting:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._admitting, return_exceptions=True)


async def _peek(loop: asyncio.AbstractEventLoop, conn: socket.socket) -> bytes:
    """The first byte, which stays where it is; empty when the other end has gone."""
    while True:
        try:
            return conn.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            pass
        readable = loop.create_future()
        loop.add_reader(conn.fileno(), _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(conn.fileno())


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
