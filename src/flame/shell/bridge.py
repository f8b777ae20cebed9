"""A way over TLS for programs that speak sockets: a thread with a loop that joins one end of a socket pair to a gRPC call.

A client's I/O thread goes on reading and writing a socket, wherever its cluster is; only a client of another machine pays for the bridge.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

from flame.core.base.errors import Unavailable
from flame.shell.address import Address, connect
from flame.shell.carrier import Carrier, Remote, pair
from flame.shell.stream import Stream

DIAL_LIMIT = 12.0
_BUFFER = 4 * 1024 * 1024


class Bridge:
    """ca, identity: see `carrier.Remote`. The thread is a daemon; `close` ends it."""

    def __init__(self, ca: Path | None, identity: Path | None = None) -> None:
        self._ca, self._identity = ca, identity
        self._loop = _new_loop()
        self._remotes: dict[Address, Remote] = {}
        self._pairs: set[tuple[Stream, Carrier]] = set()
        self._thread = threading.Thread(target=self._run, name="flame-bridge", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

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
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop)
            self._thread.join(3)

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
        self._loop.stop()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
