"""SQLite in WAL mode: one file a journal, one row a frame, group commit.

`process` runs with synchronous=NORMAL: a commit survives the death of any process, not a power cut. `power` runs with FULL: one fsync a
commit. A torn tail of the WAL is dropped by SQLite itself at open; rows behind it were never acknowledged (`power`) or open a new history
(`process`). Checkpoints run on a connection of their own, between batches.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flame.core.base.errors import DataDirLocked, Fenced, StorageCorrupt, StorageFull, StorageRefused
from flame.store.directory import boot_id, hold_lock, refuse_network
from flame.store.port import FORMAT, Opened, Row

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    position INTEGER PRIMARY KEY, session TEXT NOT NULL, version INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS snapshot (
    seq INTEGER PRIMARY KEY, version INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
"""
_FULL = ("database or disk is full", "disk i/o error")
RESERVE_BYTES = 1024 * 1024
WAL_LIMIT = 64 * 1024 * 1024
PAGE, PAGES_A_COMMIT = 4096, 4
"""A commit of few rows rewrites about so many pages: the ends of the journal and of its index."""


class SqliteStore:
    """`path` is the database file; its directory is locked for as long as the store is open."""

    def __init__(self, path: Path, durability: str = "power") -> None:
        if durability not in ("process", "power"):
            raise StorageRefused(f"durability {durability!r}; one of process, power")
        self.path, self.durability = path, durability
        self.inline = durability == "process"
        self._lock: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._checker: sqlite3.Connection | None = None
        #: bytes in the WAL since the last checkpoint, about
        self._unchecked = 0
        self._reading = threading.Lock()
        #: one transaction at a time on the writer's connection: snapshots come from another thread than batches
        self._writing = threading.Lock()
        self._epoch = 0
        self._wal = Path(f"{path}-wal")

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(self, new_history: str) -> Opened:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_network(self.path.parent)
        self._lock = hold_lock(self.path.with_suffix(".lock"))
        if self._lock is None:
            raise DataDirLocked(
                f"{self.path.parent} is used by another cluster",
                hint="stop it with `flame down`, or choose another --data-dir",
            )
        try:
            return self._open(new_history)
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._translate(error) from error
        except BaseException:
            self.close()
            raise

    def _open(self, new_history: str) -> Opened:
        self._writer = self._connect()
        self._writer.executescript(SCHEMA)
        meta = dict(self._writer.execute("SELECT key, value FROM meta"))
        if int(meta.get("format", FORMAT)) != FORMAT:
            raise StorageRefused(
                f"{self.path} has format {meta['format']}; this release reads {FORMAT}", hint="upgrade step by step"
            )
        boot = boot_id()
        unclean = meta.get("boot", boot) != boot and meta.get("clean") == "0"
        lost = unclean and meta.get("durability") == "process"
        history = new_history if lost or not meta.get("history") else meta["history"]
        self._epoch = int(meta.get("epoch", 0)) + 1
        now = {
            "format": str(FORMAT), "epoch": str(self._epoch), "history": history, "boot": boot, "clean": "0",
            "durability": self.durability,
        }  # fmt: skip
        self._writer.execute("BEGIN IMMEDIATE")
        self._writer.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", now.items())
        self._writer.execute("COMMIT")
        self._reader, self._checker = self._connect(), self._connect()
        self._checker.execute("PRAGMA busy_timeout = 0")  # a long reader (a backup) must not hold up a batch
        with contextlib.suppress(OSError):  # a process that was killed has left a WAL behind, perhaps many of them one
            self._unchecked = self._wal.stat().st_size
        self._keep_reserve()
        return Opened(self._epoch, history, lost)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if self.durability == 'power' else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={2 * WAL_LIMIT}")  # what grew beside a long reader shrinks again
        connection.execute("PRAGMA cache_size=-512")
        return connection

    def _keep_reserve(self) -> None:
        """A file given up when the disk is full, so that closing and checkpointing still work."""
        reserve = self.path.with_suffix(".reserve")
        with contextlib.suppress(OSError):
            if not reserve.exists():
                fd = os.open(reserve, os.O_CREAT | os.O_WRONLY, 0o600)
                try:
                    os.posix_fallocate(fd, 0, RESERVE_BYTES) if hasattr(os, "posix_fallocate") else os.truncate(
                        fd, RESERVE_BYTES
                    )
                finally:
                    os.close(fd)

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '1')")
                self._writer.execute("PRAGMA busy_timeout = 100")
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for connection in (self._checker, self._writer, self._reader):
            if connection is not None:
                connection.close()
        self._writer = self._reader = self._checker = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- reading -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[int, Iterator[Row]]:
        assert self._reader is not None, "open first"
        found = self._reader.execute("SELECT value FROM meta WHERE key = 'snapshot'").fetchone()
        position = int(found[0]) if found else 0
        rows = self._reader.execute("SELECT seq, '', version, crc, body FROM snapshot ORDER BY seq")
        return position, self._checked(rows, "snapshot row")

    def rows(self, after: int) -> Iterator[Row]:
        assert self._reader is not None, "open first"
        query = "SELECT position, session, version, crc, body FROM journal WHERE position > ? ORDER BY position"
        return self._checked(self._reader.execute(query, (after,)), "row")

    def _checked(self, rows: Iterable[tuple[int, str, int, int, bytes]], what: str) -> Iterator[Row]:
        try:
            for position, session, version, crc, body in rows:
                yield self._check(Row(position, session, version, body), crc, what)
        except sqlite3.DatabaseError as error:
            raise self._translate(error) from error

    def _check(self, row: Row, crc: int, what: str = "row") -> Row:
        if row.checksum != crc:
            raise StorageCorrupt(
                f"{what} {row.position} of {self.path} does not match its checksum",
                hint="restore a backup of the data directory; nothing behind this row was read",
            )
        return row

    def read(self, positions: Iterable[int]) -> list[Row]:
        assert self._reader is not None, "open first"
        out: list[Row] = []
        query = "SELECT position, session, version, crc, body FROM journal WHERE position = ?"
        with self._reading:
            for position in positions:
                found = self._reader.execute(query, (position,)).fetchone()
                if found is None:
                    raise StorageCorrupt(f"row {position} of {self.path} is missing")
                number, session, version, crc, body = found
                out.append(self._check(Row(number, session, version, body), crc))
        return out

    def size(self) -> int:
        return sum(p.stat().st_size for p in (self.path, self._wal) if p.exists())

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Row]) -> None:
        with self._writing:
            self._append(rows)

    def _append(self, rows: Sequence[Row]) -> None:
        writer = self._writer
        assert writer is not None, "open first"
        try:
            writer.execute("BEGIN IMMEDIATE")
            self._fence(writer)
            writer.executemany(
                "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
                [(r.position, r.session, r.version, r.checksum, r.body) for r in rows],
            )
            writer.execute("COMMIT")
        except (sqlite3.DatabaseError, Fenced) as error:
            with contextlib.suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise (self._translate(error) if isinstance(error, sqlite3.Error) else error) from error
        self._unchecked += PAGES_A_COMMIT * PAGE + sum(len(r.body) for r in rows)
        if self._unchecked > WAL_LIMIT:
            self._checkpoint()

    def _fence(self, writer: sqlite3.Connection) -> None:
        """In the same transaction: a lock alone does not stop a process that was paused and comes back."""
        epoch = int(writer.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
        if epoch != self._epoch:
            raise Fenced(f"epoch {epoch} has taken {self.path}; this process has {self._epoch}")

    def _checkpoint(self) -> None:
        """Between batches: an automatic one in the middle of a commit costs its p99. The file keeps its size, and is written from its start
        again; so what was written since is counted, not its size."""
        self._unchecked = 0
        assert self._checker is not None, "open first"
        with self._reading, contextlib.suppress(sqlite3.Error):
            self._checker.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def save_snapshot(self, position: int, rows: Sequence[Row], gone: Sequence[tuple[str, int]]) -> None:
        with self._writing:
            self._save_snapshot(position, rows, gone)

    def _save_snapshot(self, position: int, rows: Sequence[Row], gone: Sequence[tuple[str, int]]) -> None:
        writer = self._writer
        assert writer is not None, "open first"
        try:
            writer.execute("BEGIN IMMEDIATE")
            self._fence(writer)
            writer.execute("DELETE FROM snapshot")
            numbered = [Row(seq, "", r.version, r.body) for seq, r in enumerate(rows, 1)]
            writer.executemany(
                "INSERT INTO snapshot VALUES (?, ?, ?, ?)",
                [(r.position, r.version, r.checksum, r.body) for r in numbered],
            )
            writer.execute("INSERT OR REPLACE INTO meta VALUES ('snapshot', ?)", (str(position),))
            writer.execute("DELETE FROM journal WHERE position <= ? AND session = ''", (position,))
            writer.executemany("DELETE FROM journal WHERE session = ? AND session <> '' AND position < ?", gone)
            writer.execute("COMMIT")
        except (sqlite3.DatabaseError, Fenced) as error:
            with contextlib.suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise (self._translate(error) if isinstance(error, sqlite3.Error) else error) from error

    def probe(self) -> None:
        with self._writing:
            self._probe()

    def _probe(self) -> None:
        writer = self._writer
        assert writer is not None, "open first"
        try:
            writer.execute("BEGIN IMMEDIATE")
            self._fence(writer)
            writer.execute("INSERT OR REPLACE INTO meta VALUES ('probe', hex(randomblob(65536)))")
            writer.execute("COMMIT")
        except (sqlite3.DatabaseError, Fenced) as error:
            with contextlib.suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise (self._translate(error) if isinstance(error, sqlite3.Error) else error) from error
        with contextlib.suppress(sqlite3.Error):
            writer.execute("DELETE FROM meta WHERE key = 'probe'")
        self._keep_reserve()

    def _translate(self, error: sqlite3.Error) -> Exception:
        text = str(error).lower()
        if any(words in text for words in _FULL):
            self.path.with_suffix(".reserve").unlink(missing_ok=True)
            return StorageFull(f"{self.path.parent}: {error}", hint="free some space; the engine goes on by itself")
        if "locked" in text or "readonly" in text or "unable to open" in text:
            return StorageRefused(f"{self.path}: {error}")
        return StorageCorrupt(f"{self.path}: {error}", hint="restore a backup of the data directory")
