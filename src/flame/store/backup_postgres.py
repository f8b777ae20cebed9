"""Backups of the journals of a database: read in one REPEATABLE READ transaction, restored in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from flame.core.base.errors import NotFound, StorageRefused
from flame.store.backup import Head, Reading, Stored, Writing
from flame.store.migrate import journal_name, migrate
from flame.store.pglink import PrivateLoop, connect, shown, translate

T = TypeVar("T")

CHUNK_BYTES, CHUNK_ROWS = 4 * 1024 * 1024, 1000
STEP_LIMIT = 120.0
"""Seconds for one chunk."""


class PostgresPlace:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    @contextlib.contextmanager
    def reading(self) -> Iterator[Iterator[Reading]]:
        with _session(self._dsn, "backup") as session:
            session.run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if not session.ask("SELECT to_regclass('flame.meta') IS NOT NULL")[0][0]:
                raise NotFound(f"there is no journal in {shown(self._dsn)}")
            heads = session.ask("SELECT name, epoch, history, covered FROM flame.meta ORDER BY name DESC")
            if not heads:
                raise NotFound(f"there is no journal in {shown(self._dsn)}")
            yield iter([_PostgresReading(session, Head(*head)) for head in heads])

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writing]:
        with _session(self._dsn, "restore") as session:
            session.call(migrate(session.connection, shown(self._dsn)))
            session.run("BEGIN")
            yield _PostgresWriting(session)
            session.run("COMMIT")


class _Session:
    """One connection behind plain functions."""

    def __init__(self, dsn: str, io: PrivateLoop, connection: Any) -> None:
        self._dsn, self._io, self.connection = dsn, io, connection

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._io.call(asyncio.wait_for(work, STEP_LIMIT))
        except Exception as error:
            raise translate(error, self._dsn, "backup") from None

    def run(self, statement: str, *values: Any) -> None:
        self.call(self.connection.execute(statement, *values))

    def ask(self, query: str, *values: Any) -> list[Any]:
        return self.call(self.connection.fetch(query, *values))


@contextlib.contextmanager
def _session(dsn: str, what: str) -> Iterator[_Session]:
    io = PrivateLoop(f"flame-{what}")
    try:
        connection = io.call(connect(dsn, f"flame-{what}"))
        try:
            yield _Session(dsn, io, connection)
        finally:
            io.loop.call_soon_threadsafe(connection.terminate)
    finally:
        io.close()


class _PostgresReading:
    def __init__(self, session: _Session, head: Head) -> None:
        self._session, self.head = session, head

    def snapshot(self) -> Iterator[Stored]:
        return self._chunks(
            "SELECT seq, '', version, crc, body FROM flame.snapshot WHERE name = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        )

    def rows(self) -> Iterator[Stored]:
        return self._chunks(
            "SELECT position, session, version, crc, body FROM flame.journal WHERE name = $1 AND position > $2 "
            "ORDER BY position LIMIT $3"
        )

    def _chunks(self, query: str) -> Iterator[Stored]:
        after, limit = 0, 16
        while found := self._session.ask(query, self.head.name, after, limit):
            for row in found:
                yield Stored(*row)
            after = found[-1][0]
            mean = sum(len(row[4]) for row in found) / len(found)
            limit = max(1, min(CHUNK_ROWS, 4 * limit, int(CHUNK_BYTES / (mean + 64))))


class _PostgresWriting:
    def __init__(self, session: _Session) -> None:
        self._session = session
        self._name = ""

    def begin(self, head: Head) -> None:
        name = self._name = journal_name(head.name)
        self._session.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", name)
        self._session.run(
            "INSERT INTO flame.meta AS m (name, epoch, writer, history, durability, timeline, guarded, covered) "
            "VALUES ($1, $2, 0, $3, '', '', false, $4) ON CONFLICT (name) DO UPDATE SET "
            "epoch = greatest(m.epoch + 1, excluded.epoch), writer = m.writer + 1, history = excluded.history, covered = excluded.covered",
            name, head.epoch, head.history, head.covered,
        )  # fmt: skip
        query = "SELECT EXISTS (SELECT 1 FROM flame.journal WHERE name = $1) OR EXISTS (SELECT 1 FROM flame.snapshot WHERE name = $1)"
        if self._session.ask(query, name)[0][0]:
            raise StorageRefused(f"the journal {name} has rows already", hint="restore into an empty database")

    def snapshot(self, rows: Iterable[Stored]) -> None:
        columns = ("name", "seq", "version", "crc", "body")
        for some in _batches(rows):
            self._copy("snapshot", columns, [(self._name, r.position, r.version, r.crc, r.body) for r in some])

    def rows(self, rows: Iterable[Stored]) -> None:
        columns = ("name", "position", "session", "version", "crc", "body")
        for some in _batches(rows):
            self._copy(
                "journal", columns, [(self._name, r.position, r.session, r.version, r.crc, r.body) for r in some]
            )

    def _copy(self, table: str, columns: Sequence[str], records: list[tuple[Any, ...]]) -> None:
        self._session.call(
            self._session.connection.copy_records_to_table(table, schema_name="flame", columns=columns, records=records)
        )


def _batches(rows: Iterable[Stored]) -> Iterator[list[Stored]]:
    some: list[Stored] = []
    size = 0
    for row in rows:
        some.append(row)
        size += len(row.body)
        if size > CHUNK_BYTES or len(some) >= CHUNK_ROWS:
            yield some
            some, size = [], 0
    if some:
        yield some
