"""The schema: made once, in order, whole or not at all."""

from __future__ import annotations

import asyncio
import threading

import asyncpg
import pytest

from flame.core.base.errors import StorageRefused
from flame.store.migrate import migrate, migrations
from flame.store.postgres import PostgresStore


def run(dsn, directory=None):
    async def work():
        connection = await asyncpg.connect(dsn)
        try:
            await (migrate(connection, "here") if directory is None else migrate(connection, "here", directory))
        finally:
            connection.terminate()

    asyncio.run(work())


def name_of(dsn):
    return dsn.partition("@/")[2].partition("?")[0]


def test_many_that_come_at_once_make_it_once(postgres, database):
    errors = []

    def one(number):
        try:
            store = PostgresStore(database, f"j-{number}")
            store.open("h")
            store.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = postgres.sql("SELECT version, checksum FROM flame.migrations ORDER BY 1", database=name_of(database))
    assert found == [(one.version, one.checksum) for one in migrations()]


def test_a_newer_schema_is_refused_with_a_hint(postgres, database):
    run(database)
    postgres.sql("INSERT INTO flame.migrations (version, checksum) VALUES (99, 'x')", database=name_of(database))
    with pytest.raises(StorageRefused, match="schema 99") as error:
        PostgresStore(database, "a").open("h")
    assert "newer release" in error.value.hint


def test_a_schema_of_the_same_number_and_another_text_is_refused(postgres, database):
    run(database)
    postgres.sql("UPDATE flame.migrations SET checksum = 'x' WHERE version = 1", database=name_of(database))
    with pytest.raises(StorageRefused, match="another text"):
        PostgresStore(database, "a").open("h")


def test_a_migration_that_fails_leaves_nothing_behind_it(postgres, database, tmp_path):
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE flame.good (n int);")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE flame.half (n int); SELECT nonsense();")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        run(database, tmp_path)
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'flame'", database=name_of(database)) == []
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE flame.whole (n int);")
    run(database, tmp_path)
    run(database, tmp_path)
    tables = postgres.sql(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'flame' ORDER BY 1", database=name_of(database)
    )
    assert [name for (name,) in tables] == ["good", "migrations", "whole"]
