"""Which tasks wait to be handed out: ranges of numbers, lowest first."""

from __future__ import annotations

import heapq


class RunQueue:
    """Disjoint ranges [first, end). Cancelled tasks stay in until they are met: who takes a range looks at the states."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._heap)

    def push(self, first: int, end: int) -> None:
        if first < end:
            heapq.heappush(self._heap, (first, end))

    def pop(self, most: int) -> tuple[int, int]:
        """The lowest range, at most `most` tasks of it. Raises IndexError when empty."""
        first, end = self._heap[0]
        if end - first > most:
            heapq.heapreplace(self._heap, (first + most, end))
            return first, first + most
        heapq.heappop(self._heap)
        return first, end

    def clear(self) -> None:
        self._heap.clear()

    def ranges(self) -> list[tuple[int, int]]:
        return sorted(self._heap)
