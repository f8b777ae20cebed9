"""The engine that keeps nothing: for tests, simulation and throw-away clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flame.core.base.errors import StorageCorrupt
from flame.store.port import Opened, Row


class MemoryStore:
    durability = "memory"
    inline = True

    def __init__(self) -> None:
        self.journal: dict[int, Row] = {}
        self._snapshot: tuple[int, tuple[Row, ...]] = (0, ())
        self._epoch, self._history = 0, ""

    def open(self, new_history: str) -> Opened:
        self._epoch += 1
        self._history = self._history or new_history
        return Opened(self._epoch, self._history, lost=False)

    def snapshot(self) -> tuple[int, Iterator[Row]]:
        return self._snapshot[0], iter(self._snapshot[1])

    def rows(self, after: int) -> Iterator[Row]:
        return iter([row for position, row in self.journal.items() if position > after])

    def read(self, positions: Iterable[int]) -> list[Row]:
        try:
            return [self.journal[p] for p in positions]
        except KeyError as missing:
            raise StorageCorrupt(f"row {missing} is not in the journal") from None

    def append(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.journal[row.position] = row

    def save_snapshot(self, position: int, rows: Sequence[Row], gone: Sequence[tuple[str, int]]) -> None:
        self._snapshot = (position, tuple(rows))
        before = dict(gone)
        for at, row in list(self.journal.items()):  # in place: a batch may come meanwhile, from another thread
            if at < before.get(row.session, 0) or (at <= position and not row.session):
                del self.journal[at]

    def probe(self) -> None:
        pass

    def size(self) -> int:
        return sum(len(row.body) for row in self.journal.values())

    def close(self) -> None:
        pass
