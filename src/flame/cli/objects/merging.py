"""Log lines of several replicas, in the order of their times.

Lines that are there are merged exactly. Lines that come while one follows wait for HOLD seconds, so that those of other replicas with an
earlier time may come before them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

HOLD = 0.25
"""Seconds that a line waits for earlier ones of others: the network and the agents' pipes take that long at most."""


class Line(NamedTuple):
    """`at`: time as the agent wrote it, RFC 3339 with microseconds; `whole`: it does not go on in the next one."""

    at: str
    replica: str
    stream: str
    text: str
    whole: bool = True


def parse(raw: str, replica: str) -> Line | None:
    """A line of a log file; None for what is none (a file that was cut in the middle of a line)."""
    parts = raw.split(" ", 3)
    if len(parts) < 3 or not parts[0].endswith("Z") or parts[1] not in ("stdout", "stderr"):
        return None
    return Line(parts[0], replica, parts[1], parts[3] if len(parts) > 3 else "", parts[2] != "P")


class Splitter:
    """Pieces of a log into lines; a line may be spread over pieces, and one of output over lines."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._rest = b""
        self._open: dict[str, Line] = {}

    def feed(self, data: bytes, end: bool = False) -> Iterator[Line]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if end and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        for raw in lines:
            line = parse(raw.decode(errors="replace"), self.replica)
            if line is None:
                continue
            before = self._open.pop(line.stream, None)
            if before is not None:
                line = line._replace(at=before.at, text=before.text + line.text)
            if line.whole:
                yield line
            else:
                self._open[line.stream] = line
        if end:
            yield from self._open.values()
            self._open = {}


def merged(logs: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """All lines by time; each log by itself is in order already."""
    return heapq.merge(*logs, key=lambda line: line.at)


class Held:
    """Lines that wait for earlier ones."""

    def __init__(self, hold: float = HOLD) -> None:
        self._hold, self._count = hold, 0
        self._heap: list[tuple[str, int, Line]] = []
        self._came: deque[tuple[float, int]] = deque()
        self._told: set[int] = set()

    def add(self, line: Line, now: float) -> None:
        self._count += 1
        heapq.heappush(self._heap, (line.at, self._count, line))
        self._came.append((now, self._count))

    def due(self, now: float, all: bool = False) -> Iterator[Line]:
        """Those that have waited long enough, and earlier ones before them."""
        while self._came and (all or now - self._came[0][0] >= self._hold):
            _, oldest = self._came.popleft()
            while oldest not in self._told:
                _, number, line = heapq.heappop(self._heap)
                self._told.add(number)
                yield line
            self._told.discard(oldest)
