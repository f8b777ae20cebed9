"""Which engine keeps a journal: the settings of a cluster decide."""

from __future__ import annotations

from pathlib import Path

from flame.store.memory import MemoryStore
from flame.store.port import Store
from flame.store.sqlite import SqliteStore

JOURNALS = {"sessions-0": "sessions.db", "allocator": "allocator.db"}
"""Name of a journal -> its file in the data directory."""


def make_store(storage: str | None, data_dir: Path, name: str, durability: str) -> Store:
    """storage: None for SQLite in `data_dir`, else the address of a PostgreSQL database. Opens nothing."""
    if durability == "memory":
        return MemoryStore()
    if storage is None:
        return SqliteStore(data_dir / JOURNALS[name], durability)
    from flame.store.postgres import PostgresStore

    return PostgresStore(storage, name, durability)
