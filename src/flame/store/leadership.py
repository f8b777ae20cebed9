"""Who leads: one process in every role, and the next within a second or two when it is gone.

The leader holds an advisory lock of the server on a connection of its own and says on the server's clock, every `beat`, that it lives. A
process that dies closes its connection, which frees the lock at once. One that is paused or cut off keeps it: a standby that sees the beat
older than `stale` ends the connection of the old leader on the server and takes the lock. The old one learns of that when it wakes up; what
it would still write is stopped by the epoch of the store, never by this lock.

A standby asks for the lock ten times a second instead of waiting in it: a statement that waits keeps its snapshot, and as long as it does
the server can clean up nothing that was deleted since; and the same question tells how old the beat is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flame.core.base.errors import InvalidState, StorageFull
from flame.store.migrate import journal_name, migrate
from flame.store.pglink import PrivateLoop, connect, driver, shown, translate

log = logging.getLogger("flame.leadership")

POLL = 0.1
"""Seconds between two attempts of a standby."""
_KEY = "hashtextextended('flame leader ' || $1, 2)"
_TRY = f"""
WITH lock AS MATERIALIZED (SELECT pg_try_advisory_lock({_KEY}) AS won)
INSERT INTO flame.leaders AS l (role, holder, addresses, pid, beat, epoch)
SELECT $1, $2, $3, pg_backend_pid(), clock_timestamp(), 1 FROM lock WHERE won
ON CONFLICT (role) DO UPDATE SET holder = excluded.holder, addresses = excluded.addresses, pid = excluded.pid,
    beat = excluded.beat, epoch = l.epoch + 1
RETURNING epoch"""
#: The row is locked while we look: a leader that comes at the same moment has another pid, and is not met.
_DEPOSE = f"""
WITH old AS MATERIALIZED (
    SELECT pid FROM flame.leaders WHERE role = $1 AND beat < clock_timestamp() - make_interval(secs => $2) FOR UPDATE)
SELECT pg_terminate_backend(old.pid, 1000) FROM old, pg_locks AS l
WHERE l.locktype = 'advisory' AND l.granted AND l.pid = old.pid AND l.objsubid = 1
AND l.classid = (({_KEY} >> 32) & 4294967295)::oid AND l.objid = ({_KEY} & 4294967295)::oid"""
_BEAT = """
UPDATE flame.leaders SET beat = clock_timestamp() WHERE role = $1 AND holder = $2 AND pid = pg_backend_pid() RETURNING 1"""
_LEAVE = "UPDATE flame.leaders SET beat = to_timestamp(0) WHERE role = $1 AND holder = $2 AND pid = pg_backend_pid()"


@dataclass(frozen=True, slots=True)
class Leader:
    """Who led in a role when it was asked. `age`: seconds since its last beat, on the server's clock."""

    addresses: tuple[str, ...]
    epoch: int
    age: float


class Leadership:
    """One candidate for one role. `lost` is called once, in a thread of its own, when it led and cannot be sure of it any more."""

    def __init__(
        self,
        dsn: str,
        role: str,
        addresses: Sequence[str],
        *,
        beat: float = 0.3,
        stale: float = 1.5,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """beat, stale: seconds. Raises StorageRefused for a role that is no name."""
        assert 0 < beat < stale, "a beat must be shorter than what makes a leader stale"
        self._dsn, self.role, self.addresses = dsn, journal_name(role), tuple(addresses)
        self._beat, self._stale, self.lost = beat, stale, lost
        self.holder = uuid.uuid4()
        self.epoch = 0
        """Raised at every change of leader; 0 as long as we never led."""
        self.leading = False
        self._stopped = False
        self._io = PrivateLoop(f"flame-lead-{role}")
        self._connection: Any = None
        self._beating: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    # -- the two faces ---------------------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Wait until we lead. Raises InvalidState when `stop` comes first, StorageRefused when the server will never let us."""
        self._io.call(self._acquire())

    async def acquire_async(self) -> None:
        """The same for a coroutine of any loop; cancelling it ends the candidacy."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._acquire(), self._io.loop))

    def stop(self) -> None:
        """Give the role up, or stop waiting for it; from any thread, more than once. `lost` is not called."""
        if not self._stopped:
            self._stopped = True
            self._io.call(self._leave())
            self._io.close()

    async def stop_async(self) -> None:
        await asyncio.to_thread(self.stop)

    # -- in the private loop ---------------------------------------------------------------------------------------------

    async def _acquire(self) -> None:
        pause = POLL
        while not self.leading:
            try:
                await self._attempt()
                pause = POLL
            except StorageFull as error:  # away, read-only, full: it may get better
                self._drop()
                log.warning("no leader for %s can be chosen: %s", self.role, error)
                pause = min(2 * pause, 1.0)
            if not self.leading:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
            if self._stop.is_set():
                raise InvalidState(f"the candidacy for {self.role} was stopped")

    async def _attempt(self) -> None:
        try:
            connection = await self._connected()
            epoch = await connection.fetchval(_TRY, self.role, self.holder, self.addresses, timeout=self._stale)
            if epoch is None:
                if await connection.fetch(_DEPOSE, self.role, self._stale, timeout=2 * self._stale):
                    log.warning(
                        "the leader of %s was silent for more than %.1f s: its connection was ended",
                        self.role,
                        self._stale,
                    )
                return
            # A beat that a crash of the server takes back is no loss.
            await connection.execute("SET synchronous_commit = off", timeout=self._stale)
        except BaseException as error:
            self._drop()  # a lock that came with an error is freed with its connection
            if isinstance(error, Exception):
                raise translate(error, self._dsn, f"choosing the leader of {self.role}") from None
            raise
        self.epoch, self.leading = epoch, True
        connection.add_termination_listener(self._ended)
        self._beating = asyncio.create_task(self._keep_beating(connection))

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._dsn, f"flame-leader {self.role}", "SET lock_timeout = '1s';")
            await migrate(self._connection, shown(self._dsn))
        return self._connection

    async def _keep_beating(self, connection: Any) -> None:
        """Ends with the leadership. No answer within `stale` counts as none: by then somebody else may lead."""
        try:
            while True:
                await asyncio.sleep(self._beat)
                if not await connection.fetchval(_BEAT, self.role, self.holder, timeout=self._stale - self._beat):
                    break
        except Exception as error:  # whatever it is: a leader that cannot say that it lives leads no more
            log.warning("leading %s: %s", self.role, translate(error, self._dsn, "beat"))
        self._ended(connection)

    def _ended(self, connection: Any) -> None:
        if not self.leading or connection is not self._connection:
            return
        self.leading = False
        self._drop()
        log.warning("the leadership of %s is lost", self.role)
        self._io.loop.run_in_executor(None, self._tell)

    def _tell(self) -> None:
        try:
            self.lost()
        except Exception:
            log.exception("what was to be done about the lost leadership of %s failed", self.role)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        if connection is not None:
            connection.terminate()

    async def _leave(self) -> None:
        led, self.leading = self.leading, False
        self._stop.set()
        if led and self._connection is not None:
            with contextlib.suppress(Exception):  # leaving is a courtesy: the connection ends in any case
                await self._connection.execute(_LEAVE, self.role, self.holder, timeout=1.0)
        self._drop()


async def read_leaders_async(dsn: str) -> dict[str, Leader]:
    """Role -> who led in it last. Raises FlameError. A leader that left has an age of years."""
    connection = await connect(dsn, "flame-leaders")
    try:
        query = "SELECT role, addresses, epoch, extract(epoch FROM clock_timestamp() - beat)::float8 AS age FROM flame.leaders"
        found = await connection.fetch(query, timeout=5.0)
    except driver().UndefinedTableError:
        return {}
    except Exception as error:
        raise translate(error, dsn, "reading the leaders") from None
    finally:
        connection.terminate()
    return {row["role"]: Leader(tuple(row["addresses"]), row["epoch"], row["age"]) for row in found}


def read_leaders(dsn: str) -> dict[str, Leader]:
    loop = PrivateLoop("flame-leaders")
    try:
        return loop.call(read_leaders_async(dsn))
    finally:
        loop.close()
