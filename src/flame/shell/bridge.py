"""A way over TLS for programs that speak sockets: a thread with a loop that joins one end of a socket pair to a gRPC call.

A client's I/O thread goes on reading and writing a socket, wherever its cluster is; only a client of another machine pays for the bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from pathlib import Path

from flame.core.base.errors import Unavailable
from flame.shell.address import Address, connect
from flame.shell.carrier import Carrier, Remote, pair
from flame.shell.stream import Stream

DIAL_LIMIT = 12.0
CLOSE_LIMIT = 3.0
_BUFFER = 4 * 1024 * 1024


_lock = threading.Lock()
_shared: tuple[int, asyncio.AbstractEventLoop] | None = None


class Bridge:
    """ca, identity: see `carrier.Remote`."""

    def __init__(self, ca: Path | None, identity: Path | None = None) -> None:
        self._ca, self._identity = ca, identity
        self._loop = _loop()
        self._remotes: dict[Address, Remote] = {}
        self._pairs: set[tuple[Stream, Carrier]] = set()
        self._closed = False

    def dial(self, address: Address) -> socket.socket:
        """A connected socket: by itself for other addresses, over the bridge for `tls`. Raises OSError, Unavailable, Unauthenticated."""
        if not address.tls:
            return connect(address, timeout=5)
        future = asyncio.run_coroutine_threadsafe(self._open(address), self._loop)
        try:
            return future.result(DIAL_LIMIT)
        except TimeoutError:
            future.cancel()
            raise Unavailable(f"cannot connect to {address}: no answer within {DIAL_LIMIT:g} s") from None

    async def _open(self, address: Address) -> socket.socket:
        remote = self._remotes.get(address)
        if remote is not None:
            await remote.drop()  # a connection ended: another channel, and the certificates as they are now
        remote = self._remotes[address] = Remote(address, self._ca, self._identity)
        call = await remote.call()
        if self._closed:
            await remote.drop()
            raise Unavailable("this client is closed")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)

        def ended() -> None:
            self._pairs.discard(made)

        made = pair(ours, call, ended)
        self._pairs.add(made)
        return theirs

    def close(self) -> None:
        """What was written to the socket still goes out."""
        if not self._closed:
            self._closed = True
            ending = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
            with contextlib.suppress(TimeoutError):
                ending.result(CLOSE_LIMIT)

    async def _close(self) -> None:
        for stream, carrier in list(self._pairs):
            carrier.close()
            try:
                await asyncio.wait_for(carrier.finished.wait(), 0.5)
            except TimeoutError:
                carrier.abort()
            stream.abort()
        for remote in self._remotes.values():
            await remote.drop()


def _loop() -> asyncio.AbstractEventLoop:
    """One for all bridges of a process, and it stays: gRPC has one poller a process, and loses events when it meets a closed loop."""
    global _shared
    with _lock:
        if _shared is None or _shared[0] != os.getpid():  # a fork has no threads but the one that forked
            loop = _new_loop()
            threading.Thread(target=_serve, args=(loop,), name="flame-bridge", daemon=True).start()
            _shared = os.getpid(), loop
        return _shared[1]


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
