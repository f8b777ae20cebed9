"""Memory of this process: how much it has, and giving freed memory back (glibc keeps it otherwise)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

_ARENA_MAX = -8


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
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
