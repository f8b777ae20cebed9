"""The page an executor writes its current task into, so that the agent knows after its death what it was doing."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_LAYOUT = struct.Struct("<QQQQd")
SIZE = 4096


class Page:
    """Written by the executor: `begin` per task, `clear` when it waits. A memory write each, no system call."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Its place on the disk now: a hole that a full disk cannot fill would end us by SIGBUS at the first task.
            os.pwrite(fd, bytes(SIZE), 0)
            self._map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)

    def begin(self, no: int, epoch: int, lease: int, attempt: int, at: float) -> None:
        _LAYOUT.pack_into(self._map, 0, no, epoch, lease, attempt, at)

    def clear(self) -> None:
        _LAYOUT.pack_into(self._map, 0, 0, 0, 0, 0, 0.0)


def current(path: Path) -> tuple[int, ...]:
    """The run of the task that was executing: (no, 1, epoch, lease, attempt), or ()."""
    try:
        raw = path.read_bytes()[: _LAYOUT.size]
    except OSError:
        return ()
    if len(raw) < _LAYOUT.size:
        return ()
    no, epoch, lease, attempt, _ = _LAYOUT.unpack(raw)
    return (no, 1, epoch, lease, attempt) if no else ()
