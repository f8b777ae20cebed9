"""Backups of the SQLite files of a data directory: read beside the process that writes them, restored as new files."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from flame.core.base.errors import DataDirLocked, NotFound, StorageCorrupt, StorageRefused
from flame.store.backup import Head, Reading, Stored, Writing
from flame.store.directory import hold_lock, refuse_network
from flame.store.engines import is_journal, journal_file, journal_files
from flame.store.port import FORMAT
from flame.store.sqlite import SCHEMA


class SqlitePlace:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    @contextlib.contextmanager
    def reading(self) -> Iterator[Iterator[Reading]]:
        files = {name: path for name, path in journal_files(self.data_dir).items() if path.exists()}
        if not files:
            raise NotFound(f"there is no journal in {self.data_dir}")
        with contextlib.ExitStack() as stack:
            try:
                yield iter([stack.enter_context(_reading(name, path)) for name, path in files.items()])
            except sqlite3.DatabaseError as error:
                raise StorageCorrupt(f"{self.data_dir}: {error}", hint="restore an earlier backup") from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writing]:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_network(self.data_dir)
        with contextlib.ExitStack() as stack:
            files = list(journal_files(self.data_dir).values())
            for path in (self.data_dir / "up", *files):
                fd = hold_lock(path.with_suffix(".lock"))
                if fd is None:
                    raise DataDirLocked(f"a cluster is running in {self.data_dir}", hint="stop it with `flame down`")
                stack.callback(os.close, fd)
            for path in files:
                _must_be_empty(path)
            written = _SqliteWriting(self.data_dir)
            stack.callback(written.discard)
            yield written
            written.appear()


class _SqliteReading:
    def __init__(self, connection: sqlite3.Connection, head: Head) -> None:
        self._connection, self.head = connection, head

    def snapshot(self) -> Iterator[Stored]:
        query = "SELECT seq, '', version, crc, body FROM snapshot ORDER BY seq"
        return (Stored(*row) for row in self._connection.execute(query))

    def rows(self) -> Iterator[Stored]:
        query = "SELECT position, session, version, crc, body FROM journal ORDER BY position"
        return (Stored(*row) for row in self._connection.execute(query))


@contextlib.contextmanager
def _reading(name: str, path: Path) -> Iterator[_SqliteReading]:
    """One read transaction: batches that are committed meanwhile are not seen, and hindered by nothing."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        if meta.get("format") != str(FORMAT):
            raise StorageRefused(f"{path} has format {meta.get('format')}; this release reads {FORMAT}")
        yield _SqliteReading(connection, Head(name, int(meta["epoch"]), meta["history"], int(meta.get("snapshot", 0))))
    finally:
        connection.close()


def _must_be_empty(path: Path) -> None:
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM journal) OR EXISTS (SELECT 1 FROM snapshot)"
            ).fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise StorageRefused(f"{path} is there and cannot be read: {error}", hint="move it away first") from None
    if found:
        raise StorageRefused(
            f"{path} has rows already", hint="restore into an empty directory, or move the file away first"
        )


class _SqliteWriting:
    """New files beside the old ones, under other names until all are complete."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir
        self._made: dict[Path, Path] = {}
        self._connection: sqlite3.Connection | None = None

    def begin(self, head: Head) -> None:
        self._finish()
        if not is_journal(head.name):
            raise StorageRefused(
                f"SQLite has no place for the journal {head.name!r}", hint="restore it into PostgreSQL"
            )
        path = self._dir / journal_file(head.name)
        temporary = self._made[path] = self._dir / f".restore-{secrets.token_hex(4)}-{path.name}"
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = self._connection = sqlite3.connect(temporary, isolation_level=None)
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        meta = {
            "format": FORMAT, "epoch": head.epoch, "history": head.history, "snapshot": head.covered, "clean": 1,
        }  # fmt: skip
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])

    def snapshot(self, rows: Iterable[Stored]) -> None:
        assert self._connection is not None, "begin first"
        self._connection.executemany(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?)", ((r.position, r.version, r.crc, r.body) for r in rows)
        )

    def rows(self, rows: Iterable[Stored]) -> None:
        assert self._connection is not None, "begin first"
        self._connection.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
            ((r.position, r.session, r.version, r.crc, r.body) for r in rows),
        )

    def _finish(self) -> None:
        if self._connection is not None:
            self._connection.execute("COMMIT")
            self._connection.close()
            self._connection = None

    def appear(self) -> None:
        """The journal of sessions last: with it the restored cluster is there."""
        self._finish()
        for temporary in self._made.values():
            _sync(temporary)
        for path in sorted(self._made):
            for leftover in (Path(f"{path}-wal"), Path(f"{path}-shm")):
                leftover.unlink(missing_ok=True)
            self._made.pop(path).replace(path)
        _sync(self._dir)

    def discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
        for temporary in self._made.values():
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
