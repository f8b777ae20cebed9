"""PostgreSQL: many journals in one database, one row a frame, group commit in one round trip.

Writing is fenced by the journal's row in `flame.meta`: an append takes a share lock on it and goes in only while `epoch` (a process) and
`writer` (a connection of it) are its own. Whoever opens the journal raises the epoch; a process that connects again raises the writer. Both
wait for an append on its way, so what is read afterwards is what there will ever be: a connection that was given up can commit nothing.

When the connection ends in the middle of a commit, nobody knows whether it happened. `append` then raises StorageUnreachable; the process
drops its memory and reads it again, and the first read connects, raises the writer and so finds out.

`power` waits until the commit is on the server's disk, and on that of its synchronous standby where it has one. `process` waits for the
server's own disk only: a standby that is promoted may lack the last commits, and the journal then begins a new history. A server that
loses what it has confirmed when it crashes (synchronous_commit=off) keeps neither word; one with fsync=off is refused under `power`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from flame.core.base.errors import Fenced, FlameError, StorageCorrupt, StorageRefused, StorageUnreachable
from flame.store.migrate import journal_name, migrate
from flame.store.pgline import Line, transaction
from flame.store.pglink import PrivateLoop, connect, driver, shown
from flame.store.port import Opened, Row

T = TypeVar("T")

COMMIT_LIMIT, READ_LIMIT, SNAPSHOT_LIMIT = 15.0, 30.0, 300.0
"""Seconds after which the server is taken for gone."""
PATIENCE = 5.0
"""Seconds that opening and reading try again while the server cannot be reached."""
COPY_BYTES = 512 * 1024
"""From this size on a batch travels by COPY: three more round trips, but half the time for each byte."""
CHUNK_BYTES, CHUNK_ROWS = 4 * 1024 * 1024, 2000
"""About as much is read at a time."""

_FENCE = "SELECT 1 FROM flame.meta WHERE name = $1 AND epoch = $2 AND writer = $3 FOR SHARE"
_APPEND = f"""
WITH fence AS MATERIALIZED ({_FENCE})
INSERT INTO flame.journal SELECT $1, r.* FROM fence,
    unnest($4::bigint[], $5::text[], $6::integer[], $7::bigint[], $8::bytea[]) AS r
RETURNING 1"""
_COLUMNS = ("name", "position", "session", "version", "crc", "body")
_TIMELINE = (
    "SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system()"
)
_GUARDED = "SELECT current_setting('synchronous_standby_names') <> ''"
_SERVER_LIMITS = "SET lock_timeout = '3s'; SET idle_in_transaction_session_timeout = '15s'; SET jit = off;"


class PostgresStore:
    """One journal, `name`, of the database at `dsn`. Opening takes it from whoever has it."""

    inline = False

    def __init__(self, dsn: str, name: str, durability: str = "power") -> None:
        if durability not in ("process", "power"):
            raise StorageRefused(f"durability {durability!r}; one of process, power")
        self._dsn, self.name, self.durability = dsn, journal_name(name), durability
        self.where = f"journal {name} in {shown(dsn)}"
        self._io: PrivateLoop | None = None
        self._epoch = self._writer_number = 0
        #: position up to which commits were confirmed to us
        self._confirmed = 0
        #: may a commit be on its way that nobody will hear of?
        self._unsettled = False
        self._append_statement: Any = None
        self._writer, self._reader, self._keeper = self._lines()

    def _lines(self) -> tuple[Line, Line, Line]:
        """For batches, for reading, and for snapshots, which take longer than a batch may wait."""
        return (
            Line(self._connect_writer, self._dsn),
            Line(lambda: self._connect("reader"), self._dsn),
            Line(lambda: self._connect("keeper"), self._dsn),
        )

    # -- life ------------------------------------------------------------------------------------------------------------

    def open(self, new_history: str) -> Opened:
        self._io = PrivateLoop(f"flame-{self.name}")
        self._writer, self._reader, self._keeper = self._lines()
        try:
            return self._patiently(lambda: self._open(new_history))
        except BaseException:
            self.close()
            raise

    async def _open(self, new_history: str) -> Opened:
        connection = await self._connect("opening")
        try:
            await migrate(connection, shown(self._dsn))
            if self.durability == "power" and await connection.fetchval("SHOW fsync") != "on":
                raise StorageRefused(
                    f"{shown(self._dsn)} runs with fsync=off: commits do not survive a power cut",
                    hint="set fsync=on, or --durability process",
                )
            timeline = await self._timeline(connection)
            async with transaction(connection, COMMIT_LIMIT):
                opened = await self._take(connection, new_history, timeline)
            await self._become_writer(connection)
        except BaseException as error:
            connection.terminate()
            raise self._translate(error, "opening") if isinstance(error, Exception) else error from None
        await self._writer.adopt(connection)
        self._unsettled = False
        return opened

    async def _take(self, connection: Any, new_history: str, timeline: str) -> Opened:
        """Raise the epoch: from here on the process that had it can write nothing."""
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", self.name)
        await self._end_others(connection, f"flame {self.name} ")
        await connection.execute(
            "INSERT INTO flame.meta (name, epoch, writer, history, durability, timeline, guarded) "
            "VALUES ($1, 0, 0, '', '', '', false) ON CONFLICT DO NOTHING", self.name,
        )  # fmt: skip
        old = await connection.fetchrow("SELECT * FROM flame.meta WHERE name = $1 FOR UPDATE", self.name)
        guarded = self.durability == "power" and await connection.fetchval(_GUARDED)
        moved = bool(old["timeline"] and timeline and old["timeline"] != timeline)
        lost = old["lost"] or (moved and not old["guarded"])
        history = new_history if lost or not old["history"] else old["history"]
        self._epoch, self._writer_number = old["epoch"] + 1, old["writer"] + 1
        await connection.execute(
            "UPDATE flame.meta SET epoch = $2, writer = $3, history = $4, durability = $5, timeline = $6, guarded = $7, "
            "lost = false, opened = now() WHERE name = $1",
            self.name, self._epoch, self._writer_number, history, self.durability, timeline, guarded,
        )  # fmt: skip
        self._confirmed = await self._last(connection)
        return Opened(self._epoch, history, lost)

    async def _timeline(self, connection: Any) -> str:
        """Changes when the server is another one, or a promoted standby of it; "" where it cannot be told."""
        try:
            return str(await connection.fetchval(_TIMELINE))
        except driver().PostgresError:
            return ""

    async def _last(self, connection: Any) -> int:
        query = "SELECT greatest(covered, (SELECT max(position) FROM flame.journal WHERE name = $1)) FROM flame.meta WHERE name = $1"
        return int(await connection.fetchval(query, self.name) or 0)

    async def _end_others(self, connection: Any, shows: str) -> None:
        """Whoever holds the journal's row open (a paused process, a connection that nobody reads any more) must let go of it."""
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE starts_with(application_name, $1) "
            "AND application_name <> $2 AND datname = current_database() AND usename = current_user "
            "AND pid <> pg_backend_pid()",
            shows, f"flame {self.name} opening",
        )  # fmt: skip

    async def _connect(self, role: str) -> Any:
        word = "on" if self.durability == "power" else "local"
        return await connect(
            self._dsn, f"flame {self.name} {role}", f"SET synchronous_commit = '{word}'; {_SERVER_LIMITS}"
        )

    async def _connect_writer(self) -> Any:
        """A connection after one that ended: nothing of the old one can be committed any more when this returns."""
        connection = await self._connect("settling")
        try:
            await self._check_epoch(connection)
            await self._end_others(connection, f"flame {self.name} writer")
            found = await connection.fetchval(
                "UPDATE flame.meta SET writer = writer + 1 WHERE name = $1 AND epoch = $2 RETURNING writer",
                self.name, self._epoch, timeout=COMMIT_LIMIT,
            )  # fmt: skip
            if found is None:
                await self._check_epoch(connection)
            self._writer_number = found
            await self._check_confirmed(connection)
            await self._become_writer(connection)
        except BaseException:
            connection.terminate()
            raise
        self._unsettled = False
        return connection

    async def _become_writer(self, connection: Any) -> None:
        await connection.execute(f"SET application_name = 'flame {self.name} writer'")
        self._append_statement = await connection.prepare(_APPEND)

    async def _check_epoch(self, connection: Any) -> None:
        epoch = await connection.fetchval("SELECT epoch FROM flame.meta WHERE name = $1", self.name)
        if epoch != self._epoch:
            raise Fenced(f"epoch {epoch} has taken {self.where}; this process has {self._epoch}")

    async def _check_confirmed(self, connection: Any) -> None:
        """A server that came back as an older copy of itself must not be written behind."""
        last = await self._last(connection)
        if last < self._confirmed:
            await connection.execute("UPDATE flame.meta SET lost = true WHERE name = $1", self.name)
            raise StorageCorrupt(
                f"{self.where} ends at row {last}, but row {self._confirmed} was committed: the server is an older copy",
                hint="a restart begins a new history there",
            )
        timeline = await self._timeline(connection)
        await connection.execute("UPDATE flame.meta SET timeline = $2 WHERE name = $1", self.name, timeline)

    def close(self) -> None:
        if self._io is not None:
            for line in (self._writer, self._reader, self._keeper):
                self._io.call(line.close())
            self._io.close()
            self._io = None

    # -- reading -----------------------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[int, Iterator[Row]]:
        covered = int(self._fetch("SELECT covered FROM flame.meta WHERE name = $1", self.name)[0][0])
        query = (
            "SELECT seq, '', version, crc, body FROM flame.snapshot WHERE name = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        )
        return covered, self._chunks(query, 0, "snapshot row")

    def rows(self, after: int) -> Iterator[Row]:
        query = (
            "SELECT position, session, version, crc, body FROM flame.journal WHERE name = $1 AND position > $2 "
            "ORDER BY position LIMIT $3"
        )
        return self._chunks(query, after, "row")

    def _chunks(self, query: str, after: int, what: str) -> Iterator[Row]:
        """By key, not by cursor: a connection that ends in between costs one chunk, and nothing stays open on the server."""
        limit = 16
        while found := self._fetch(query, self.name, after, limit):
            for row in found:
                yield self._check(row, what)
            after = found[-1][0]
            mean = sum(len(row[4]) for row in found) / len(found)
            limit = max(1, min(CHUNK_ROWS, 4 * limit, int(CHUNK_BYTES / (mean + 64))))

    def read(self, positions: Iterable[int]) -> list[Row]:
        wanted, found = list(positions), {}
        query = "SELECT position, session, version, crc, body FROM flame.journal WHERE name = $1 AND position = ANY($2)"
        for start in range(0, max(1, len(wanted)), CHUNK_ROWS):
            for row in self._fetch(query, self.name, wanted[start : start + CHUNK_ROWS]):
                found[row[0]] = self._check(row)
        try:
            return [found[position] for position in wanted]
        except KeyError as missing:
            raise StorageCorrupt(f"row {missing} of {self.where} is missing") from None

    def _check(self, found: Any, what: str = "row") -> Row:
        position, session, version, crc, body = found
        row = Row(position, session, version, body)
        if row.checksum != crc:
            raise StorageCorrupt(
                f"{what} {position} of {self.where} does not match its checksum",
                hint="restore a backup; nothing behind this row was read",
            )
        return row

    def _fetch(self, query: str, *values: Any) -> list[Any]:
        return self._patiently(lambda: self._reading(query, values))

    async def _reading(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        await self._settle()
        async with self._reader as connection:
            return list(await connection.fetch(query, *values, timeout=READ_LIMIT))

    async def _settle(self) -> None:
        """Before anything is read: no commit of an earlier connection may still come, and nothing that was confirmed is missing."""
        if self._unsettled or not self._writer.alive:
            async with self._writer:
                self._unsettled = False

    def size(self) -> int:
        query = (
            "SELECT coalesce(sum(pg_column_size(body) + 64), 0) FROM "
            "(SELECT body FROM flame.journal WHERE name = $1 UNION ALL SELECT body FROM flame.snapshot WHERE name = $1) AS b"
        )
        return int(self._fetch(query, self.name)[0][0])

    # -- writing -----------------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Row]) -> None:
        if rows:
            self._now(self._append(rows))

    async def _append(self, rows: Sequence[Row]) -> None:
        try:
            async with self._writer as connection:
                self._unsettled = True
                if sum(len(row.body) for row in rows) < COPY_BYTES:
                    await self._insert(rows)
                else:
                    await self._copy(connection, rows)
                self._unsettled = False
        except StorageUnreachable:
            raise
        except FlameError:
            self._unsettled = False  # the server has answered: nothing of it is on its way
            raise
        self._confirmed = rows[-1].position

    async def _insert(self, rows: Sequence[Row]) -> None:
        positions, sessions, versions, bodies = zip(*rows, strict=True)
        done = await self._append_statement.fetch(
            self.name, self._epoch, self._writer_number, positions, sessions, versions, [row.checksum for row in rows], bodies,
            timeout=COMMIT_LIMIT,
        )  # fmt: skip
        if not done:
            await self._fenced()

    async def _copy(self, connection: Any, rows: Sequence[Row]) -> None:
        records = [(self.name, r.position, r.session, r.version, r.checksum, r.body) for r in rows]
        async with transaction(connection, COMMIT_LIMIT * 4):
            await self._hold(connection)
            await connection.copy_records_to_table("journal", schema_name="flame", columns=_COLUMNS, records=records)

    async def _hold(self, connection: Any) -> None:
        """Keep the fence until the transaction ends. Raises Fenced."""
        if not await connection.fetchval(_FENCE, self.name, self._epoch, self._writer_number):
            await self._fenced()

    async def _fenced(self) -> None:
        async with self._reader as connection:
            await self._check_epoch(connection)
        raise StorageUnreachable(f"{self.where}: another connection of this process writes", hint="nothing was written")

    def save_snapshot(self, position: int, rows: Sequence[Row], gone: Sequence[tuple[str, int]]) -> None:
        self._now(self._save_snapshot(position, rows, gone))

    async def _save_snapshot(self, position: int, rows: Sequence[Row], gone: Sequence[tuple[str, int]]) -> None:
        await self._settle()
        async with self._keeper as connection, transaction(connection, SNAPSHOT_LIMIT):
            await self._hold(connection)
            await connection.execute("DELETE FROM flame.snapshot WHERE name = $1", self.name)
            numbered = [Row(seq, "", row.version, row.body) for seq, row in enumerate(rows, 1)]
            await connection.copy_records_to_table(
                "snapshot", schema_name="flame", columns=("name", "seq", "version", "crc", "body"),
                records=[(self.name, r.position, r.version, r.checksum, r.body) for r in numbered],
            )  # fmt: skip
            await connection.execute(
                "DELETE FROM flame.journal WHERE name = $1 AND position <= $2 AND session = ''", self.name, position
            )
            await connection.execute(
                "DELETE FROM flame.journal AS j USING unnest($2::text[], $3::bigint[]) AS g(session, before) "
                "WHERE j.name = $1 AND j.session = g.session AND j.session <> '' AND j.position < g.before",
                self.name, [session for session, _ in gone], [before for _, before in gone],
            )  # fmt: skip
            # Last: from here to the commit no append goes through.
            await connection.execute("UPDATE flame.meta SET covered = $2 WHERE name = $1", self.name, position)

    def probe(self) -> None:
        self._now(self._probe())

    async def _probe(self) -> None:
        await self._settle()
        async with self._writer as connection, transaction(connection, COMMIT_LIMIT):
            await self._hold(connection)
            await connection.execute(
                "INSERT INTO flame.snapshot VALUES ($1, -1, 0, 0, $2)", self.name, bytes(64 * 1024)
            )
            await connection.execute("DELETE FROM flame.snapshot WHERE name = $1 AND seq = -1", self.name)

    # -- between the threads -------------------------------------------------------------------------------------------------

    def _now(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._io is not None, "open first"
        try:
            return self._io.call(work)
        except Exception as error:
            raise self._translate(error, "writing") from None

    def _patiently(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Try again for a while when the server is away: it may only be starting again."""
        assert self._io is not None, "open first"
        deadline, pause = time.monotonic() + PATIENCE, 0.02
        while True:
            try:
                return self._io.call(work())
            except Exception as error:
                found = self._translate(error, "reading")
                if not isinstance(found, StorageUnreachable) or time.monotonic() + pause > deadline:
                    raise found from None
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _translate(self, error: BaseException, doing: str) -> FlameError:
        return self._writer.translate(error, f"{doing} {self.name}")
