"""One connection that is made again when it has ended: one user at a time, errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from flame.core.base.errors import FlameError
from flame.store.pglink import is_cut, translate

if TYPE_CHECKING:
    from types import TracebackType

CLOSE_LIMIT = 1.0


@contextlib.asynccontextmanager
async def transaction(connection: Any, limit: float) -> AsyncIterator[None]:
    """At most `limit` seconds. There is no ROLLBACK after an error, which a server that hangs would never answer: drop the connection."""
    async with asyncio.timeout(limit):
        await connection.execute("BEGIN")
        yield
        await connection.execute("COMMIT")


class Line:
    """async with line as connection: ... connects when there is none, and drops one that failed in a way that leaves its state open."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], dsn: str) -> None:
        self._connect, self._dsn = connect, dsn
        self._connection: Any = None
        self._turn = asyncio.Lock()

    @property
    def alive(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def adopt(self, connection: Any) -> None:
        async with self._turn:
            self._connection = connection

    async def __aenter__(self) -> Any:
        await self._turn.acquire()
        try:
            if not self.alive:
                self._connection = None
                self._connection = await self._connect()
            return self._connection
        except BaseException as error:
            self._turn.release()
            if isinstance(error, Exception):
                raise self.translate(error, "connecting") from None
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if error is None:
                return
            known = isinstance(error, FlameError) and not self._connection.is_closed()
            if self._connection.is_in_transaction() or not (known or not is_cut(error, self._connection)):
                self._connection.terminate()
                self._connection = None
            if isinstance(error, Exception) and not isinstance(error, FlameError):
                raise self.translate(error, "asking") from None
        finally:
            self._turn.release()

    def translate(self, error: BaseException, doing: str) -> FlameError:
        return translate(error, self._dsn, doing)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close(timeout=CLOSE_LIMIT)
            connection.terminate()
