"""Which engine keeps a journal: the settings of a cluster decide."""

from __future__ import annotations

import re
from pathlib import Path

from flame.store.memory import MemoryStore
from flame.store.port import Store
from flame.store.sqlite import SqliteStore

_FILES = {"sessions-0": "sessions.db", "allocator": "allocator.db"}


def journal_file(name: str) -> str:
    """The file of a journal in the data directory."""
    return _FILES.get(name, f"{name}.db")


def journal_files(data_dir: Path) -> dict[str, Path]:
    """Name -> file of the journals that are there, and of those that every cluster has."""
    found = {name: data_dir / file for name, file in _FILES.items()}
    return found | {path.stem: path for path in sorted(data_dir.glob("sessions-*.db"))}


def is_journal(name: str) -> bool:
    return name in _FILES or re.fullmatch(r"sessions-[0-9]{1,4}", name) is not None


def make_store(storage: str | None, data_dir: Path, name: str, durability: str) -> Store:
    """storage: None for SQLite in `data_dir`, else the address of a PostgreSQL database. Opens nothing."""
    if durability == "memory":
        return MemoryStore()
    if storage is None:
        return SqliteStore(data_dir / journal_file(name), durability)
    from flame.store.postgres import PostgresStore

    return PostgresStore(storage, name, durability)
