"""Talking to a PostgreSQL server: a private event loop behind plain functions, connections, and its errors as ours.

No text that leaves here holds a password.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from flame.core.base.errors import Fenced, FlameError, StorageCorrupt, StorageFull, StorageRefused, StorageUnreachable

CONNECT_LIMIT = 5.0
"""Seconds for a connection to be made."""
OLDEST = 140000
"""server_version_num from which on everything we ask for is there."""
_DEAD_PEER = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"

T = TypeVar("T")


def driver() -> Any:
    """asyncpg, loaded when the first connection is made. Raises StorageRefused where it is not installed."""
    try:
        import asyncpg
    except ImportError:
        raise StorageRefused(
            "PostgreSQL needs asyncpg, which is not installed", hint="pip install 'flame-engine[postgres]'"
        ) from None
    return asyncpg


def shown(dsn: str) -> str:
    """The address without its password."""
    try:
        parts = urlsplit(dsn)
        host = parts.hostname or (parse_qs(parts.query).get("host") or ["local"])[0]
        user = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "postgresql://..."
    return f"postgresql://{user}{host}{port}{parts.path}"


def secret(dsn: str) -> list[str]:
    """The texts of an address that nobody may read, as written and decoded."""
    try:
        parts = urlsplit(dsn)
        found = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    except ValueError:
        return [dsn]
    return [text for raw in found if raw for text in (raw, unquote(raw))]


class PrivateLoop:
    """An event loop in a daemon thread of its own; `call` runs a coroutine there and waits for it."""

    def __init__(self, name: str) -> None:
        try:
            import uvloop

            self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        except ImportError:
            self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        """What still runs there is cancelled first."""
        if self.loop.is_closed():
            return
        self.call(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def connect(dsn: str, shows: str, settings: str = "") -> Any:
    """A connection that pg_stat_activity shows as `shows`, after the statements of `settings`. Raises FlameError."""
    asyncpg = driver()
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_LIMIT, server_settings={"application_name": shows})
    except Exception as error:
        raise translate(error, dsn, "connecting") from None
    try:
        number = int(await connection.fetchval("SHOW server_version_num"))
        if number < OLDEST:
            raise StorageRefused(f"{shown(dsn)} is PostgreSQL {number // 10000}; {OLDEST // 10000} or later is needed")
        await connection.execute(_DEAD_PEER + settings, timeout=CONNECT_LIMIT)
    except BaseException as error:
        connection.terminate()
        if isinstance(error, Exception):
            raise translate(error, dsn, "connecting") from None
        raise
    return connection


def translate(error: BaseException, dsn: str, doing: str) -> FlameError:
    """The error of ours that says what became of it; StorageUnreachable where that cannot be known."""
    if isinstance(error, FlameError):
        return error
    said = getattr(error, "message", None) or str(error) or type(error).__name__  # without DETAIL, which may show rows
    text = f"{shown(dsn)}: {doing}: {said}"
    for hidden in secret(dsn):
        text = text.replace(hidden, "***")
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, driver().PostgresError) and state:
        for prefix, make in _STATES:
            if state.startswith(prefix):
                return make(f"{text} ({state})")
        return StorageRefused(f"{text} ({state})")
    if isinstance(error, ValueError) and doing == "connecting":
        return StorageRefused(
            f"{shown(dsn)} is no address of a PostgreSQL server", hint="postgresql://USER@HOST/DATABASE"
        )
    if isinstance(error, OSError | asyncio.TimeoutError | driver().InterfaceError | driver().InternalClientError):
        return StorageUnreachable(text, hint="the engine goes on by itself when the server answers")
    return FlameError(text)


def _full(text: str) -> FlameError:
    return StorageFull(text, hint="free some space; the engine goes on by itself")


def _away(text: str) -> FlameError:
    return StorageUnreachable(text, hint="the engine goes on by itself when the server answers")


def _refused(text: str) -> FlameError:
    return StorageRefused(text, hint="check user, password, database and rights")


def _corrupt(text: str) -> FlameError:
    return StorageCorrupt(text, hint="restore a backup")


#: beginning of SQLSTATE -> what it means to us; the first that fits
_STATES: tuple[tuple[str, Callable[[str], FlameError]], ...] = (
    ("23505", Fenced), ("53300", _away), ("53", _full), ("58", _full), ("25006", _full),
    ("08P01", _refused), ("08", _away), ("57", _away), ("40", _away), ("55P03", _away), ("25P0", _away),
    ("XX001", _corrupt), ("XX002", _corrupt), ("28", _refused), ("3D", _refused), ("42501", _refused),
)  # fmt: skip


def is_cut(error: BaseException, connection: Any) -> bool:
    """Is this connection of no use any more? A statement that timed out may still be running."""
    return (
        connection.is_closed()
        or isinstance(error, asyncio.TimeoutError)
        or not isinstance(error, driver().PostgresError)
    )
