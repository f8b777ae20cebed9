"""A byte stream on the event loop, written without delay.

Transports of event loops gather writes until the end of an iteration; here a hand-out must be on its way before the commit that follows
it in the same iteration. So: a raw socket, `add_reader`, and `send` at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable

_READ = 1 << 18
HIGH_WATER, LOW_WATER = 8 * 1024 * 1024, 2 * 1024 * 1024
"""Unsent bytes at which a stream is choked, and at which it has caught up."""

_buffer = bytearray(_READ)
_view = memoryview(_buffer)


class Stream:
    """One connected socket. `data`: bytes that came; `ended`: the other side is gone (once); `choked`: see the water marks."""

    def __init__(
        self,
        sock: socket.socket,
        data: Callable[[bytes], None],
        ended: Callable[[], None],
        choked: Callable[[bool], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.sock = sock
        self._data, self._ended, self._choked = data, ended, choked
        self._unsent: deque[memoryview] = deque()
        self._size = 0
        self._full = False
        self._closing = False
        self._paused = False
        self.open = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            size = self.sock.recv_into(_buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        if not size:
            self.abort()
            return
        self._data(bytes(_view[:size]))

    def write(self, data: bytes) -> None:
        if not self.open or self._closing:
            return
        if not self._unsent:
            try:
                sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._loop.call_soon(self.abort)
                return
            if sent == len(data):
                return
            self._loop.add_writer(self.sock.fileno(), self._writable)
            data = data[sent:]
        self._unsent.append(memoryview(data))
        self._size += len(data)
        if not self._full and self._size > HIGH_WATER:
            self._full = True
            self._choked(True)

    def _writable(self) -> None:
        try:
            while self._unsent:
                sent = self.sock.send(self._unsent[0])
                self._size -= sent
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                    break
                self._unsent.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.abort()
            return
        if not self._unsent:
            self._loop.remove_writer(self.sock.fileno())
            if self._closing:
                self.abort()
                return
        if self._full and self._size < LOW_WATER:
            self._full = False
            self._choked(False)

    def pause(self, paused: bool) -> None:
        """Read no more for now: the kernel then holds the other side back."""
        if self.open and paused != self._paused:
            self._paused = paused
            if paused:
                self._loop.remove_reader(self.sock.fileno())
            else:
                self._loop.add_reader(self.sock.fileno(), self._readable)

    def close(self) -> None:
        """After what is unsent."""
        if self._unsent:
            self._closing = True
        else:
            self.abort()

    def abort(self) -> None:
        """Now."""
        if not self.open:
            return
        self.open = False
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self.sock.fileno())
            self._loop.remove_writer(self.sock.fileno())
        self.sock.close()
        self._unsent.clear()
        self._ended()
