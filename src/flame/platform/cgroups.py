"""Control groups of executors: one each, under one of their engine, which is named after the process that made it.

    <own group>/flame-<pid namespace>-<pid>-<start>/<executor>

A group of an engine that is gone is removed by the next engine that starts beside it, with whatever still runs in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flame.platform.hierarchies import Hierarchy, find, write

PREFIX = "flame"
PERIOD = 100_000
"""Microseconds over which a CPU quota counts."""
ROUNDS = 50
"""Of listing and killing a group: one is enough unless its processes fork meanwhile."""


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one group. 0: none. Memory in bytes, CPU in milli-CPU."""

    memory: int = 0
    memory_share: int = 0
    """Beyond it its pages are the first to go when memory is short."""
    cpu: int = 1000
    """Weight beside other groups."""
    cpu_max: int = 0
    processes: int = 0


class Knob(msgspec.Struct, frozen=True):
    """One file to write. `optional`: not every kernel has it."""

    controller: str
    file: str
    value: str
    optional: bool = False


def knobs(version: int, limits: Limits) -> list[Knob]:
    """What says these limits, in the order of writing."""
    found = []
    if version == 1:
        found.append(Knob("cpu", "cpu.shares", str(max(2, limits.cpu * 1024 // 1000))))
        if limits.cpu_max:
            found.append(Knob("cpu", "cpu.cfs_quota_us", str(max(1000, limits.cpu_max * PERIOD // 1000))))
        if limits.memory:
            found.append(Knob("memory", "memory.limit_in_bytes", str(limits.memory)))
            found.append(Knob("memory", "memory.memsw.limit_in_bytes", str(limits.memory), True))
        if limits.memory_share:
            found.append(Knob("memory", "memory.soft_limit_in_bytes", str(limits.memory_share)))
    else:
        found.append(Knob("cpu", "cpu.weight", str(min(10_000, max(1, limits.cpu // 10)))))
        if limits.cpu_max:
            found.append(Knob("cpu", "cpu.max", f"{max(1000, limits.cpu_max * PERIOD // 1000)} {PERIOD}"))
        if limits.memory:
            found.append(Knob("memory", "memory.max", str(limits.memory)))
            found.append(Knob("memory", "memory.swap.max", "0", True))
            found.append(Knob("memory", "memory.oom.group", "1", True))
        if limits.memory_share:
            found.append(Knob("memory", "memory.low", str(limits.memory_share)))
    if limits.processes:
        found.append(Knob("pids", "pids.max", str(limits.processes)))
    return found


def counted(text: str, name: str) -> int:
    """The number behind a name, as in memory.events and memory.oom_control; 0 when it is not there."""
    for line in text.splitlines():
        word, _, number = line.partition(" ")
        if word == name and number.strip().isdecimal():
            return int(number)
    return 0


class Group:
    """One group, in all hierarchies."""

    def __init__(self, hierarchies: list[Hierarchy], name: str) -> None:
        """Raises OSError; nothing is left then."""
        self._hierarchies = hierarchies
        self.directories = [hierarchy.parent / name for hierarchy in hierarchies]
        self._said: dict[str, str] = {}
        made: list[Path] = []
        try:
            for directory in self.directories:
                directory.mkdir()
                made.append(directory)
        except OSError:
            for directory in made:
                directory.rmdir()
            raise

    def _at(self, controller: str) -> tuple[Path, int] | None:
        for hierarchy, directory in zip(self._hierarchies, self.directories, strict=True):
            if controller in hierarchy.controllers:
                return directory, hierarchy.version
        return None

    def limit(self, limits: Limits) -> None:
        """Writes what has changed; memory may only become less (version 1 has an order for more). Raises OSError."""
        for hierarchy, directory in zip(self._hierarchies, self.directories, strict=True):
            for knob in knobs(hierarchy.version, limits):
                if knob.controller not in hierarchy.controllers or self._said.get(knob.file) == knob.value:
                    continue
                try:
                    write(directory / knob.file, knob.value)
                except FileNotFoundError:
                    if not knob.optional:
                        raise
                self._said[knob.file] = knob.value

    def add(self, pid: int) -> None:
        """A process, and all that it forks. Raises OSError."""
        for directory in self.directories:
            write(directory / "cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """Its members are the same everywhere."""
        return [int(word) for word in _text(self.directories[0] / "cgroup.procs").split()]

    def is_empty(self) -> bool:
        """Counters are read several times faster than lists."""
        at = self._at("pids")
        if at is not None and (count := _text(at[0] / "pids.current").strip()).isdecimal():
            return count == "0"
        return not self.pids()

    def kill(self) -> bool:
        """SIGKILL to everything in it; True when nothing was."""
        if self.is_empty():
            return True
        pids = self.pids()
        for directory in self.directories:
            with contextlib.suppress(OSError):
                write(directory / "pids.max", "0")  # nobody escapes by forking
            with contextlib.suppress(OSError):
                write(directory / "cgroup.kill", "1")
        for _ in range(ROUNDS):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            more = self.pids()
            if not set(more) - set(pids):
                break
            pids = more
        return False

    def remove(self) -> bool:
        """False while processes in it are still ending."""
        left = []
        for directory in self.directories:
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left.append(directory)
        return not left

    def oom_kills(self) -> int:
        """How many of its processes the kernel killed for memory."""
        at = self._at("memory")
        if at is None:
            return 0
        directory, version = at
        text = _text(directory / ("memory.oom_control" if version == 1 else "memory.events"))
        return counted(text, "oom_kill")

    def peak(self) -> int:
        """The most memory it had, in bytes; 0 where the kernel does not say."""
        at = self._at("memory")
        if at is None:
            return 0
        directory, version = at
        text = _text(directory / ("memory.max_usage_in_bytes" if version == 1 else "memory.peak")).strip()
        return int(text) if text.isdecimal() else 0


class Cgroups:
    """The groups of one engine's executors."""

    def __init__(self, hierarchies: list[Hierarchy]) -> None:
        """Raises OSError."""
        name = f"{PREFIX}-{namespace()}-{os.getpid()}-{started(os.getpid())}"
        self._parents = [hierarchy.parent for hierarchy in hierarchies]
        self.swept = self.sweep()
        self._all = Group(hierarchies, name)
        self._inside = [Hierarchy(h.version, h.parent / name, h.controllers) for h in hierarchies]
        try:
            for hierarchy in self._inside:
                if hierarchy.version == 2:
                    write(hierarchy.parent / "cgroup.subtree_control", " ".join(f"+{c}" for c in hierarchy.controllers))
                elif "memory" in hierarchy.controllers:
                    with contextlib.suppress(OSError):  # newer kernels know no other way
                        write(hierarchy.parent / "memory.use_hierarchy", "1")
        except OSError:
            self._all.remove()
            raise

    @classmethod
    def open(cls) -> tuple[Cgroups | None, list[str]]:
        """None where no group can be made; with the reasons for what is missing."""
        hierarchies, reasons = find()
        if not hierarchies:
            return None, reasons
        try:
            return cls(hierarchies), reasons
        except OSError as error:
            return None, [*reasons, f"no control group can be made: {error}"]

    def sweep(self) -> bool:
        """Clear up behind engines that are gone; False while their processes are still ending."""
        left = [name for parent in self._parents for name in sweep(parent)]
        self.swept = not left
        return self.swept

    def version(self, controller: str) -> int:
        """1 or 2; 0 when it is not ours."""
        return next((h.version for h in self._inside if controller in h.controllers), 0)

    def limit(self, limits: Limits) -> None:
        """All executors together. Raises OSError."""
        self._all.limit(limits)

    def make(self, name: str) -> Group:
        """A group of one executor. Raises OSError."""
        return Group(self._inside, name)

    def close(self) -> bool:
        """Kill and remove what is left, and the group itself; False while processes are still ending."""
        for hierarchy in self._inside:
            clear(hierarchy.parent)
        return self._all.remove()


def clear(directory: Path) -> None:
    """Kill what runs in the groups under a directory, and remove those that are empty."""
    for inner in _directories(directory):
        clear(inner)
        with contextlib.suppress(OSError):
            for word in (inner / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(word), signal.SIGKILL)
        with contextlib.suppress(OSError):
            inner.rmdir()


def sweep(parent: Path) -> list[str]:
    """Remove the groups of engines that are gone; returns the names of those that cannot go yet, as their processes are still ending."""
    left = []
    for directory in _directories(parent):
        words = directory.name.split("-")
        if words[:2] != [PREFIX, str(namespace())] or len(words) != 4 or not (words[2] + words[3]).isdecimal():
            continue  # not an engine's, or of one whose process ids mean nothing here
        if started(int(words[2])) != int(words[3]):
            clear(directory)
            try:
                directory.rmdir()
            except OSError:
                left.append(directory.name)
    return left


def started(pid: int) -> int:
    """When a process started, in ticks since boot: with its pid it is like no other. 0 when there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def namespace() -> int:
    """Of process ids: the same number means the same process only inside one."""
    return Path("/proc/self/ns/pid").stat().st_ino


def _directories(path: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from [Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
