"""Memory of this process: how much it has, and giving freed memory back (glibc keeps it otherwise)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

_ARENA_MAX = -8
QUIET = 1.0
"""Seconds without work after which a burst is over."""


def resident_bytes() -> int:
    """0 where it cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def one_arena() -> None:
    """For processes with a few threads: freed memory of one thread serves the others, and can be trimmed."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def trim() -> None:
    """Collect garbage, then give free pages back."""
    gc.collect()
    give_back()


def give_back() -> None:
    """Pages without a block in use: glibc by itself returns only those at the end of its heap. A few milliseconds."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


async def keep_small(done: Callable[[], int]) -> None:
    """Give pages back after every burst of work, for as long as the process lives. done: a number that grows with the work."""
    before = returned = done()
    while True:
        await asyncio.sleep(QUIET)
        now = done()
        if now == before and now != returned:
            give_back()
            returned = now
        before = now
