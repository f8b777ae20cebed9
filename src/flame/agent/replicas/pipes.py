"""Reading ends of named pipes on the event loop. Named, so that the zygote's children open the other end by its path."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

CHUNK = 64 * 1024
BURST = 16
"""Chunks read before others get their turn."""
LAST = 256
"""Chunks read at the end; a pipe holds a few at most."""


class Reader:
    """`data` gets what comes, `ended` is called once after the last of it: nobody has the other end open any more."""

    def __init__(self, fd: int, data: Callable[[bytes], None], ended: Callable[[], None] | None = None) -> None:
        """fd: non-blocking; it is closed with the reader."""
        self.fd, self._data, self._ended = fd, data, ended
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._loop.add_reader(fd, self._read)

    @classmethod
    def of(cls, path: Path, data: Callable[[bytes], None], ended: Callable[[], None] | None = None) -> Reader:
        """Make the pipe, too. Raises OSError."""
        os.mkfifo(path, 0o600)
        return cls(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), data, ended)

    def _read(self, bursts: int = BURST) -> None:
        for _ in range(bursts):
            if self.fd < 0 or self._paused:
                return
            try:
                found = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return
            except OSError:  # the other side of a terminal is gone
                found = b""
            if not found:
                self.close()
                return
            self._data(found)

    def drain(self) -> None:
        """Everything that is there now: the writer has ended. Bounded, as somebody it left behind may still write."""
        self._read(LAST)

    def pause(self) -> None:
        if not self._paused and self.fd >= 0:
            self._paused = True
            self._loop.remove_reader(self.fd)

    def resume(self) -> None:
        if self._paused and self.fd >= 0:
            self._paused = False
            self._loop.add_reader(self.fd, self._read)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            with contextlib.suppress(OSError):
                os.close(fd)
            if self._ended is not None:
                self._ended()
