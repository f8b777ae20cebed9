"""A simulated disk under the journal: batches commit after a while; what was not synced goes with the power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from flame.core.sessions import records as r


@dataclass(frozen=True, slots=True)
class Row:
    position: int
    session: str
    body: bytes


class Disk:
    """Journal and snapshot of the session manager, with the semantics of the store port.

    `process`: a commit survives the process, a power cut takes a suffix of whole batches. `power`: a commit survives both.
    """

    def __init__(self, rng: Random, durability: str) -> None:
        self.rng, self.durability = rng, durability
        self.epoch = 0
        self.history = "h0"
        self.full = False
        self.rows: dict[int, Row] = {}
        self.covered = 0
        self.saved: tuple[bytes, ...] = ()
        #: ends of commits that a power cut may take, in order, and the end of the last one it may not
        self._unsynced: list[int] = []
        self._safe = 0
        self._end = 0
        self._writing: list[Row] = []

    def latency(self) -> float:
        """Seconds the next commit takes."""
        base = 0.00005 if self.durability == "process" else 0.0005
        slow = 0.03 if self.rng.random() < 0.02 else 0.0
        return base * (0.5 + self.rng.random()) + slow * self.rng.random()

    def begin(self, rows: Sequence[Row]) -> None:
        """A commit is on its way; a crash decides whether it happened."""
        self._writing = list(rows)

    def finish(self) -> bool:
        """The commit is done; False: the disk is full and nothing of it is there."""
        rows, self._writing = self._writing, []
        if self.full:
            return False
        self._write(rows)
        return True

    def _write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.rows[row.position] = row
            self._end = row.position
        if rows and self.durability == "process":
            self._unsynced.append(self._end)
            if self.rng.random() < 0.1:
                self.sync()

    def sync(self) -> None:
        self._unsynced.clear()
        self._safe = self._end

    def process_died(self) -> None:
        """A commit on its way happened or did not; nobody was told."""
        rows, self._writing = self._writing, []
        if rows and not self.full and self.rng.random() < 0.5:
            self._write(rows)

    def power_lost(self) -> bool:
        """The machine went down. True: commits may be missing, so what follows is another history."""
        self.process_died()
        if self.durability != "process":
            return False
        keep = self.rng.randint(0, len(self._unsynced))
        if keep < len(self._unsynced):
            self._end = self._unsynced[keep - 1] if keep else self._safe
            self.rows = {position: row for position, row in self.rows.items() if position <= self._end}
        self.sync()
        return True

    def save_snapshot(self, position: int, saved: Sequence[bytes], alive: Callable[[str], bool]) -> None:
        """As `Store.save_snapshot`: rows it covers go, unless they hold payloads of a session that is still there."""
        self.sync()
        self.covered, self.saved = position, tuple(saved)
        self.rows = {p: row for p, row in self.rows.items() if p > position or (row.session and alive(row.session))}

    def read(self, positions: Sequence[int]) -> tuple[r.Record, ...]:
        return tuple(r.decode_record(self.rows[position].body) for position in positions)
