"""Numbered schema files, applied in order, once, all or none."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flame.core.base.errors import StorageRefused
from flame.store.pgline import transaction

LIMIT = 60.0
"""Seconds for all of them."""
MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x666C616D65  # "flame"
_BOOK = """
CREATE SCHEMA IF NOT EXISTS flame;
CREATE TABLE IF NOT EXISTS flame.migrations (
    version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now(), checksum text NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """The files `NNNN_name.sql`, in order; numbers begin at 1 and leave no gap."""
    found = sorted((int(path.name[:4]), path) for path in directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    assert [number for number, _ in found] == list(range(1, len(found) + 1)), f"the numbers in {directory} have gaps"
    return [Migration(number, path.read_text()) for number, path in found]


async def migrate(connection: Any, where: str, directory: Path = MIGRATIONS) -> None:
    """Bring the schema of a database up to date. Raises StorageRefused for one that this release does not
    know. After any error nothing is changed once the connection is closed, which is for the caller to do."""
    known = migrations(directory)
    booked = await connection.fetchval("SELECT to_regclass('flame.migrations') IS NOT NULL")
    if booked and not _missing(known, await _applied(connection), where):
        return
    async with transaction(connection, LIMIT):
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_BOOK)
        for one in _missing(known, await _applied(connection), where):
            await connection.execute(one.sql)
            await connection.execute(
                "INSERT INTO flame.migrations (version, checksum) VALUES ($1, $2)", one.version, one.checksum
            )


async def _applied(connection: Any) -> dict[int, str]:
    return dict(await connection.fetch("SELECT version, checksum FROM flame.migrations"))


def _missing(known: list[Migration], applied: dict[int, str], where: str) -> list[Migration]:
    newest = max(applied, default=0)
    if newest > len(known):
        raise StorageRefused(
            f"{where} has schema {newest}; this release knows {len(known)}",
            hint="run the newer release, or upgrade this one",
        )
    for one in known:
        if one.version in applied and applied[one.version] != one.checksum:
            raise StorageRefused(
                f"schema {one.version} of {where} was made by another text than this release has",
                hint="give Flame a database that no other build of it has used",
            )
    return [one for one in known if one.version not in applied]


def journal_name(name: str) -> str:
    """The name, if it is one: it is part of what the server shows of our connections. Raises StorageRefused."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
        raise StorageRefused(f"{name!r} is no name of a journal", hint="lower case letters, digits and '-', at most 32")
    return name
