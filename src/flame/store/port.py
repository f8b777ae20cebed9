"""What a store is: an ordered journal of rows, and a snapshot that replaces its beginning.

A row is opaque bytes under a dense position. Rows that carry a `session` hold payloads and stay until that session is deleted; the others
may go once a snapshot covers them. Every engine passes the same contract suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import google_crc32c

FORMAT = 1
"""Of the store itself; an engine refuses one it does not know."""


class Row(NamedTuple):
    position: int
    session: str
    version: int
    body: bytes

    @property
    def checksum(self) -> int:
        """CRC32C over position and body: a row that moved is as wrong as one that changed."""
        return int(google_crc32c.extend(google_crc32c.value(self.position.to_bytes(8, "little")), self.body))


@dataclass(frozen=True, slots=True)
class Opened:
    """What a store knew when it was opened. `epoch` is the one it was opened with, already stored."""

    epoch: int
    history: str
    lost: bool
    """The machine went down without a clean close while `durability` was `process`: committed rows may be missing."""


class Store(Protocol):
    """One journal. `append` may be called from a thread of its own; one call at a time."""

    durability: str
    """memory, process or power."""
    inline: bool
    """Is a small commit cheaper than a thread switch? Then it may happen in the caller's event loop."""

    def open(self, new_history: str) -> Opened:
        """Take the store: raises DataDirLocked, StorageRefused, StorageCorrupt. Raises the epoch. `new_history` becomes the history id of
        a new store, and of one that lost rows."""

    def snapshot(self) -> tuple[int, Iterator[Row]]:
        """Position the snapshot covers (0: none), and its rows in order. Raises StorageCorrupt at a bad row."""

    def rows(self, after: int) -> Iterator[Row]:
        """The journal behind `after`, in order. Raises StorageCorrupt at a bad row, by position."""

    def read(self, positions: Iterable[int]) -> list[Row]:
        """These rows, in the order asked. Raises StorageCorrupt for a bad or missing one."""

    def append(self, rows: Sequence[Row]) -> None:
        """Commit rows, all or none. Raises StorageFull (try again), Fenced (somebody took the store: stop)."""

    def save_snapshot(self, position: int, rows: Sequence[Row], gone: Sequence[tuple[str, int]]) -> None:
        """Replace the snapshot by one that covers up to `position`; drop rows it covers, and for each (session, before)
        of `gone` all rows of that session in front of `before`."""

    def probe(self) -> None:
        """Can it write? Raises StorageFull when it cannot."""

    def size(self) -> int:
        """Bytes on disk."""

    def close(self) -> None:
        """Give the store back, cleanly."""
