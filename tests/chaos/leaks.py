"""What an engine at rest holds: memory, descriptors, processes, directories. Compared from round to round."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import psutil
from chaos.world import World

WARM_UP = 0.5
"""Of the samples of one process: those before are not compared. Histories with a bound (events of 1,000 sessions, 10,000 changes for
watches) fill up meanwhile."""
GROWTH = 0.01
"""Of resident memory from the warm-up to the end: more is a leak."""
ENOUGH = 6
"""Samples of one process from which on its growth is told."""
LAZY = 8
"""Descriptors that a process may have beyond the first sample: a channel that was not needed then."""
SETTLE = 20.0
"""Seconds in which executors leave and connections close after the last session."""


@dataclass(frozen=True)
class Sample:
    """at: seconds; by pid: (machine/role, resident bytes, descriptors); processes and entries: how many of each."""

    at: float
    memory: dict[int, tuple[str, int]]
    descriptors: dict[str, int]
    processes: Counter[str]
    entries: Counter[str]


def sample(world: World) -> Sample:
    memory: dict[int, tuple[str, int]] = {}
    descriptors: dict[str, int] = {}
    processes: Counter[str] = Counter()
    for process, (machine, role) in world.processes().items():
        key = f"{machine}/{role}"
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            memory[process.pid] = key, process.memory_info().rss
            descriptors[key] = max(descriptors.get(key, 0), len(os.listdir(f"/proc/{process.pid}/fd")))
            processes[key] += 1
    return Sample(time.monotonic(), memory, descriptors, processes, world.leftovers())


def excess(base: Sample, now: Sample) -> list[str]:
    """What is there and was not there at first. Descriptors are compared with those of the same role anywhere: roles move."""
    most: dict[str, int] = {}
    for key, count in base.descriptors.items():
        role = key.partition("/")[2]
        most[role] = max(most.get(role, 0), count)
    out = [
        f"{count - base.processes[key]} more processes {key}"
        for key, count in now.processes.items()
        if count > base.processes[key]
    ]
    for key, count in now.descriptors.items():
        allowed = most.get(key.partition("/")[2], count) + LAZY
        if count > allowed:
            out.append(f"{count - allowed} too many descriptors in {key}")
    return out + [
        f"{count - base.entries[key]} more entries in {key}"
        for key, count in now.entries.items()
        if count > base.entries[key]
    ]


def at_rest(world: World, base: Sample | None) -> tuple[Sample, list[str]]:
    """A sample once nothing is there that was not there at first, or SETTLE seconds later, with what is too much."""
    deadline = time.monotonic() + SETTLE
    while True:
        now = sample(world)
        more = excess(base, now) if base is not None else []
        if (base is not None and not more) or time.monotonic() > deadline:
            return now, more + ([detail for text in more for detail in _details(world, text)])
        if base is None and time.monotonic() > deadline - SETTLE + 4:
            return now, []
        time.sleep(0.25)


def _details(world: World, text: str) -> Iterable[str]:
    """What the descriptors and entries are, to find out why."""
    key = text.rpartition(" ")[2]
    if "entries" in text:
        yield f"  {[str(path) for path in Path(key).rglob('*')]}"
    if "descriptors" not in text:
        return
    for process, (machine, role) in world.processes().items():
        if f"{machine}/{role}" == key:
            links: Counter[str] = Counter()
            for fd in os.listdir(f"/proc/{process.pid}/fd"):
                with contextlib.suppress(OSError):
                    links[os.readlink(f"/proc/{process.pid}/fd/{fd}").partition(":[")[0]] += 1
            yield f"  {key} pid {process.pid}: {dict(links)}"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen: the median of the slopes of all pairs; single outliers do not move it."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


@dataclass
class Growth:
    """Of one process, from its warm-up to its last sample."""

    who: str
    samples: int
    seconds: float
    size: float
    share: float

    def __str__(self) -> str:
        return f"{self.who}: {self.share:+.2%} of {self.size / 2**20:.1f} MiB in {self.seconds / 60:.0f} min ({self.samples} samples)"


@dataclass
class Memory:
    """Samples of the processes that live long enough; each has its own warm-up."""

    points: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def add(self, taken: Sample) -> None:
        for pid, (name, size) in taken.memory.items():
            if name.endswith("/executor"):
                continue
            self.names[pid] = name
            self.points.setdefault(pid, []).append((taken.at, float(size)))

    def growth(self) -> list[Growth]:
        out = []
        for pid, points in self.points.items():
            kept = points[max(1, int(len(points) * WARM_UP)) :]
            if len(kept) >= ENOUGH:
                seconds = kept[-1][0] - kept[0][0]
                size = statistics.median(y for _, y in kept)
                out.append(Growth(self.names[pid], len(kept), seconds, size, slope(kept) * seconds / size))
        return out
