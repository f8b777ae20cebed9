"""How long a process may go on when another one wakes up (Linux 6.12 and newer; elsewhere nothing happens)."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

LONG = 0.01
"""Seconds. Of those who wake up, the ones with a shorter slice (by default 0.7 ms times 1 + log2 of the cores) run at once; in the long run
everybody still gets the same share of a core (EEVDF, sched_setattr(2))."""
_NUMBERS = {"x86_64": (314, 315), "aarch64": (274, 275), "riscv64": (274, 275)}
"""sched_setattr and sched_getattr: the C library has no functions for them."""
_ATTR = struct.Struct("IIQiIQQQII")
_RUNTIME = 5
"""sched_attr: size, policy, flags, nice, priority, runtime (the slice, ns), deadline, period, clamps."""


def give_way(seconds: float = LONG) -> None:
    """Let whoever wakes up go first: for processes whose work may take a millisecond longer."""
    found = _read(0)
    if found is not None and found[1] == os.SCHED_OTHER:
        chosen = _ATTR.pack(*found[:_RUNTIME], int(seconds * 1e9), *found[_RUNTIME + 1 :])
        ctypes.CDLL(None).syscall(_NUMBERS[platform.machine()][0], 0, chosen, 0)


def time_slice(pid: int) -> float:
    """Seconds that a process (0: this one) may go on; 0 where the kernel does not say."""
    found = _read(pid)
    return found[_RUNTIME] / 1e9 if found is not None else 0.0


def _read(pid: int) -> tuple[int, ...] | None:
    numbers = _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
    buffer = ctypes.create_string_buffer(_ATTR.size)
    if numbers is None or ctypes.CDLL(None).syscall(numbers[1], pid, buffer, _ATTR.size, 0) != 0:
        return None
    return _ATTR.unpack(buffer.raw)
