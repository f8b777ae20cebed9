"""Simulated time: a heap of things to do, one source of randomness, and a running hash of everything that happened."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32


class Clock:
    """Time passes only by doing the next thing. Things due at the same moment are done in the order in which they were asked for."""

    def __init__(self, seed: int, start: float = 1_000_000.0) -> None:
        self.rng = Random(seed)
        self.start = self.now = start
        self.steps = 0
        self.hash = 0
        #: every line of the trace, when somebody wants to read it
        self.lines: list[str] | None = None
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(*args)` in `delay` seconds."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, call, args))

    def step(self) -> bool:
        """Do the next thing; False when there is none."""
        if not self._heap:
            return False
        self.now, _, call, args = heapq.heappop(self._heap)
        self.steps += 1
        call(*args)
        return True

    def trace(self, *words: object) -> None:
        """Note what happened: into the hash always, into `lines` when they are kept."""
        text = f"{self.now - self.start:.6f} {' '.join(map(str, words))}"
        self.hash = crc32(text.encode(), self.hash)
        if self.lines is not None:
            self.lines.append(text)
