"""What only SQLite does: locks a directory, is cut, filled and found in a broken state."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store.places import rows

from flame.core.base.errors import DataDirLocked, StorageCorrupt, StorageFull, StorageRefused
from flame.store import directory
from flame.store.sqlite import SqliteStore


def test_a_second_process_is_refused_with_a_hint(tmp_path):
    first = SqliteStore(tmp_path / "a.db")
    first.open("h")
    with pytest.raises(DataDirLocked) as error:
        SqliteStore(tmp_path / "a.db").open("h")
    assert "flame down" in error.value.hint
    first.close()


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


DIES = """
import os, sys
from pathlib import Path
from flame.store import sqlite
from flame.store.port import Row

sqlite.WAL_LIMIT = 1024 * 1024
store = sqlite.SqliteStore(Path(sys.argv[1]))
store.open("h")
last = max((row.position for row in store.rows(0)), default=0)
for at in range(1, 8):
    store.append([Row(last + at, "s", 1, bytes(100_000))])
os._exit(9)
"""


def test_a_process_that_dies_again_and_again_leaves_one_log_not_many(tmp_path):
    """Each life writes less than the log may hold; what the lives before left in it counts (found by `make chaos`: it filled the disk)."""
    path = tmp_path / "journal.db"
    for _ in range(8):
        assert subprocess.run([sys.executable, "-c", DIES, str(path)], timeout=60).returncode == 9
        assert path.with_name("journal.db-wal").stat().st_size < 2.5 * 2**20
    store = SqliteStore(path)
    store.open("h")
    assert [row.position for row in store.rows(0)] == list(range(1, 57))
    store.close()
