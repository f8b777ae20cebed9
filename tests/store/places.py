"""Where a journal can be kept, for tests that hold on every engine."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from pathlib import Path

from flame.store.memory import MemoryStore
from flame.store.port import Row, Store
from flame.store.postgres import PostgresStore
from flame.store.sqlite import SqliteStore

KINDS = ("memory", "sqlite-process", "sqlite-power", "postgres-process", "postgres-power")
DURABLE = KINDS[1:]


def rows(first: int, last: int, session: str = "", size: int = 20) -> list[Row]:
    return [Row(n, session, 1, bytes([n % 256]) * size) for n in range(first, last + 1)]


class Place:
    """Every `make` is another process that comes to the same journal."""

    def __init__(self, kind: str, directory: Path, dsn: str = "") -> None:
        self.engine, _, self.durability = kind.partition("-")
        self.file, self.dsn = directory / "a.db", dsn
        self.name = f"j-{secrets.token_hex(4)}"

    def make(self) -> Store:
        if self.engine == "memory":
            return MemoryStore()
        if self.engine == "sqlite":
            return SqliteStore(self.file, self.durability)
        return PostgresStore(self.dsn, self.name, self.durability)

    def change(self, statement: str) -> None:
        """Behind the engine's back; `{where}` selects our journal."""
        if self.engine == "sqlite":
            raw = sqlite3.connect(self.file)
            raw.execute(statement.format(where="true", flame="", body="x'00'"))
            raw.commit()
            raw.close()
            return
        asyncio.run(self._change(statement.format(where=f"name = '{self.name}'", flame="flame.", body="'\\x00'")))

    async def _change(self, statement: str) -> None:
        import asyncpg

        raw = await asyncpg.connect(self.dsn)
        await raw.execute(statement)
        await raw.close()
