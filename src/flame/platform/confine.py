"""What a process does to itself before somebody else's code runs in it. What cannot be done here is left out; callers tell people so."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
HEADROOM = 128 << 20
"""Bytes of private memory that an executor may map beyond what its session asked for, when only mappings can be limited: stacks of
threads and pools of libraries are mapped, and counted, long before they are used."""
FIRST_VICTIM = 500
"""oom_score_adj of executors: when the whole machine is out of memory, they go before the engine that would start them again."""


def forbid_new_privileges() -> None:
    """No program that this process starts gains rights: set-user-id bits and file capabilities count no more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def adopt_orphans() -> None:
    """Descendants that lose their parent become children of this process instead of init's."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def offer_as_victim() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_VICTIM))


def set_limits(limits: Mapping[str, int]) -> None:
    """`core`, `file_size`, `processes` (of this user, on the whole machine) and `data` (beyond what is mapped now); bytes or counts.
    Limits that are lower already stay."""
    for name, value in limits.items():
        which = {
            "core": resource.RLIMIT_CORE,
            "file_size": resource.RLIMIT_FSIZE,
            "processes": resource.RLIMIT_NPROC,
            "data": resource.RLIMIT_DATA,
        }[name]
        wanted = value + (mapped() + HEADROOM if name == "data" else 0)
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(which, (wanted, wanted))


def mapped() -> int:
    """Private writable bytes of this process, as RLIMIT_DATA counts them."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def threads_of_user() -> int:
    """Processes and threads of this user, as RLIMIT_NPROC counts them."""
    mine, found = os.getuid(), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == mine:
                    found += len(os.listdir(f"/proc/{entry.name}/task"))
    return found


def children() -> list[int]:
    """Of this single-threaded process."""
    pid = os.getpid()
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class EnvironmentBlock:
    """The memory in which the kernel put this process's environment at its start.

    It stays readable in /proc/<pid>/environ for this process and all that it forks, whatever `os.environ` says by then. So a process that
    gives its children less than it has must empty it; and what is written there names them, even when they leave their process group.
    """

    def __init__(self) -> None:
        self._start = self._size = 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
            self._start, end = int(fields[47]), int(fields[48])
            self._size = max(0, end - self._start)

    def replace(self, environment: Mapping[str, str]) -> None:
        """This process has `environment` and nothing else from now on; no C code may hold pointers that getenv gave it before."""
        kept = dict(environment)
        os.environ.clear()
        if self._size:
            ctypes.memset(self._start, 0, self._size)
        os.environ.update(kept)

    def mark(self, name: str, value: str) -> None:
        """For `marked`. Only after `replace`. Left out where there is no room."""
        text = f"{name}={value}\0".encode()
        if len(text) <= self._size:
            ctypes.memmove(self._start, text, len(text))


def marked(pid: int, name: str) -> str:
    """What a process was marked with, or has in its own environment; empty when nothing."""
    wanted = f"{name}=".encode()
    try:
        for word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if word.startswith(wanted):
                return word[len(wanted) :].decode(errors="replace")
    except OSError:
        pass
    return ""
