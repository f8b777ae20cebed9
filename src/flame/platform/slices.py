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
"""sched_attr: size, policy, flags, nice, priority, runtime (the slice, ns), deadline, period, clamps."""


def give_way(seconds: float = LONG) -> None:
    """Let whoever wakes up go first: for processes whose work may take a millisecond longer."""
    numbers = _numbers()
    if numbers is None:
        return
    buffer = ctypes.create_string_buffer(_ATTR.size)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(numbers[1], 0, buffer, _ATTR.size, 0) == 0:
        size, policy, flags, nice, priority, _, *rest = _ATTR.unpack(buffer.raw)
        if policy == os.SCHED_OTHER:
            libc.syscall(numbers[0], 0, _ATTR.pack(size, policy, flags, nice, priority, int(seconds * 1e9), *rest), 0)


def time_slice(pid: int) -> float:
    """Seconds; 0 where the kernel does not say."""
    numbers = _numbers()
    buffer = ctypes.create_string_buffer(_ATTR.size)
    if numbers is None or ctypes.CDLL(None).syscall(numbers[1], pid, buffer, _ATTR.size, 0) != 0:
        return 0.0
    return float(_ATTR.unpack(buffer.raw)[5] / 1e9)


def _numbers() -> tuple[int, int] | None:
    return _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
