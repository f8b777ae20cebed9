"""Every engine keeps the same contract; SQLite is also cut, filled and corrupted."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from flame.core.base.errors import DataDirLocked, Fenced, StorageCorrupt, StorageFull, StorageRefused
from flame.store import directory
from flame.store.memory import MemoryStore
from flame.store.port import Row
from flame.store.sqlite import SqliteStore


def rows(first: int, last: int, session: str = "", size: int = 20) -> list[Row]:
    return [Row(n, session, 1, bytes([n % 256]) * size) for n in range(first, last + 1)]


@pytest.fixture(params=["memory", "process", "power"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "a.db", request.param)
    made.open("h1")
    yield made
    made.close()


def test_rows_come_back_in_order(store):
    store.append(rows(1, 3))
    store.append(rows(4, 5, "s"))
    assert list(store.rows(0)) == rows(1, 3) + rows(4, 5, "s")
    assert list(store.rows(3)) == rows(4, 5, "s")


def test_rows_are_read_by_position_in_the_order_asked(store):
    store.append(rows(1, 9, "s"))
    assert [r.position for r in store.read([7, 2])] == [7, 2]


def test_a_missing_row_is_named(store):
    with pytest.raises(StorageCorrupt, match="5"):
        store.read([5])


def test_a_snapshot_replaces_control_rows_and_keeps_payloads(store):
    store.append([*rows(1, 2), *rows(3, 4, "s"), *rows(5, 6)])
    store.save_snapshot(4, [Row(0, "", 1, b"one"), Row(0, "", 1, b"two")], [])
    position, found = store.snapshot()
    assert (position, [r.body for r in found]) == (4, [b"one", b"two"])
    assert [r.position for r in store.rows(position)] == [5, 6]
    assert [r.position for r in store.read([3, 4])] == [3, 4]


def test_rows_of_a_deleted_session_go_and_those_of_its_successor_stay(store):
    store.append([*rows(1, 2, "s"), *rows(3, 3), *rows(4, 5, "s")])
    store.save_snapshot(5, [], [("s", 3)])
    assert [r.position for r in store.read([4, 5])] == [4, 5]
    with pytest.raises(StorageCorrupt):
        store.read([1])


def test_every_open_raises_the_epoch_and_keeps_the_history(tmp_path):
    seen = []
    for attempt in range(3):
        store = SqliteStore(tmp_path / "a.db", "process")
        seen.append(store.open(f"h{attempt}"))
        store.close()
    assert [(o.epoch, o.history, o.lost) for o in seen] == [(1, "h0", False), (2, "h0", False), (3, "h0", False)]


def test_a_second_process_is_refused_with_a_hint(tmp_path):
    first = SqliteStore(tmp_path / "a.db")
    first.open("h")
    with pytest.raises(DataDirLocked) as error:
        SqliteStore(tmp_path / "a.db").open("h")
    assert "flame down" in error.value.hint
    first.close()


def test_an_overtaken_writer_is_fenced(tmp_path):
    store = SqliteStore(tmp_path / "a.db")
    store.open("h")
    other = sqlite3.connect(tmp_path / "a.db")
    other.execute("UPDATE meta SET value = '7' WHERE key = 'epoch'")
    other.commit()
    other.close()
    with pytest.raises(Fenced):
        store.append(rows(1, 1))
    assert list(store.rows(0)) == []
    store.close()


def test_a_torn_tail_leaves_a_consistent_prefix(tmp_path):
    """The WAL is cut at random bytes: what remains is a prefix of whole batches."""
    store = SqliteStore(tmp_path / "a.db", "process")
    store.open("h")
    for batch in range(40):
        store.append(rows(batch * 5 + 1, batch * 5 + 5, size=300))
    wal = Path(f"{tmp_path}/a.db-wal").read_bytes()
    rng = random.Random(4)
    for cut in [0, 10, len(wal), *(rng.randrange(len(wal)) for _ in range(25))]:
        copy = tmp_path / f"cut{cut}"
        copy.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "a.db", copy / "a.db")
        (copy / "a.db-wal").write_bytes(wal[:cut])
        again = SqliteStore(copy / "a.db", "process")
        again.open("x")
        found = [r.position for r in again.rows(0)]
        assert found == list(range(1, len(found) + 1))
        assert len(found) % 5 == 0
        again.close()
    store.close()


def test_a_corrupt_row_is_reported_by_position_and_nothing_behind_it_is_read(tmp_path):
    store = SqliteStore(tmp_path / "a.db")
    store.open("h")
    store.append(rows(1, 9))
    store.close()
    raw = sqlite3.connect(tmp_path / "a.db")
    raw.execute("UPDATE journal SET body = x'00' WHERE position = 6")
    raw.commit()
    raw.close()
    store = SqliteStore(tmp_path / "a.db")
    store.open("h")
    seen = []
    with pytest.raises(StorageCorrupt, match="row 6"):
        seen.extend(r.position for r in store.rows(0))
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(StorageCorrupt, match="row 6"):
        store.read([6])
    store.close()


def test_a_full_disk_commits_nothing_and_is_over_when_there_is_room(tmp_path):
    store = SqliteStore(tmp_path / "a.db")
    store.open("h")
    store._writer.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StorageFull) as error:
        store.append(rows(1, 50, size=5000))
    assert error.value.retryable
    assert list(store.rows(0)) == []
    store._writer.execute("PRAGMA max_page_count = 100000")
    store.probe()
    store.append(rows(1, 50, size=5000))
    assert len(list(store.rows(0))) == 50
    store.close()


def test_a_power_cut_under_process_durability_opens_a_new_history(tmp_path, monkeypatch):
    """The machine restarted without a clean close: rows may be missing, and clients must hear so."""
    store = SqliteStore(tmp_path / "a.db", "process")
    store.open("before")
    os.close(store._lock)
    store._lock = None
    monkeypatch.setattr("flame.store.sqlite.boot_id", lambda: "another-boot")
    again = SqliteStore(tmp_path / "a.db", "process")
    opened = again.open("after")
    assert (opened.history, opened.lost) == ("after", True)
    again.close()
    store._writer.close()
    store._reader.close()


def test_power_durability_keeps_its_history_over_a_power_cut(tmp_path, monkeypatch):
    store = SqliteStore(tmp_path / "a.db", "power")
    store.open("before")
    os.close(store._lock)
    store._lock = None
    monkeypatch.setattr("flame.store.sqlite.boot_id", lambda: "another-boot")
    again = SqliteStore(tmp_path / "a.db", "power")
    assert again.open("after").history == "before"
    again.close()
    store._writer.close()
    store._reader.close()


def test_another_format_is_refused(tmp_path):
    store = SqliteStore(tmp_path / "a.db")
    store.open("h")
    store._writer.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    store.close()
    with pytest.raises(StorageRefused, match="99"):
        SqliteStore(tmp_path / "a.db").open("h")


def test_garbage_instead_of_a_database_is_typed(tmp_path):
    (tmp_path / "a.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StorageCorrupt):
        SqliteStore(tmp_path / "a.db").open("h")


def test_network_file_systems_are_told_apart(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert directory.filesystem(tmp_path / "data", mounts) == "nfs4"
    assert directory.filesystem(Path("/etc"), mounts) == "ext4"
