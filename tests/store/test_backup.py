"""Backups: taken beside a writer, refused when anything is wrong with them, restored whole and under a new history."""

from __future__ import annotations

import gzip
import os
import random
import sqlite3
import threading
import time

import pytest
from store.places import Place, rows

from flame.core.base.errors import DataDirLocked, NotFound, StorageCorrupt, StorageRefused
from flame.store import sqlite as sqlite_engine
from flame.store.backup import EPOCHS_AHEAD, export, place, restore
from flame.store.engines import make_store
from flame.store.port import Row

ENGINES = ("sqlite", "postgres")


class Home:
    """One cluster's journals."""

    def __init__(self, engine, tmp_path, make_database):
        self.storage = make_database() if engine == "postgres" else None
        self.dir = tmp_path
        self.place = place(self.storage, None if self.storage else tmp_path)

    def open(self, name="sessions-0", history="old"):
        store = make_store(self.storage, self.dir, name, "power")
        store.opened = store.open(history)
        return store


@pytest.fixture
def home(postgres, tmp_path):
    count = iter(range(100))
    return lambda engine: Home(engine, tmp_path / f"{engine}-{next(count)}", postgres.make_database)


def fill(home):
    """Both journals; returns what is in the one of sessions."""
    allocator = home.open("allocator")
    allocator.append(rows(1, 3))
    allocator.close()
    store = home.open()
    store.append([*rows(1, 4), *rows(5, 8, "s"), *rows(9, 10)])
    store.append([Row(11, "s", 2, os.urandom(1 << 20))])
    store.save_snapshot(9, [Row(0, "", 1, b"one"), Row(0, "", 7, b"two")], [])
    return store


def content(store):
    position, found = store.snapshot()
    return position, list(found), list(store.rows(0))


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("source", ENGINES)
def test_it_is_restored_into_either_engine(home, tmp_path, source, target):
    old, new, seen = home(source), home(target), []
    store = fill(old)
    size = export(old.place, tmp_path / "b", lambda rows, size: seen.append((rows, size)))
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert restore(tmp_path / "b", new.place) == size == seen[-1] == (11, seen[-1][1])
    again = new.open()
    assert content(again) == content(store)
    assert again.opened.history not in ("old", "")
    assert again.opened.epoch == store.opened.epoch + EPOCHS_AHEAD + 1
    assert not again.opened.lost
    again.append(rows(12, 13))
    allocator = new.open("allocator")
    assert list(allocator.rows(0)) == rows(1, 3)
    for one in (store, again, allocator):
        one.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_consistent_while_the_journal_is_written_and_holds_up_nobody(home, tmp_path, monkeypatch, engine):
    monkeypatch.setattr(sqlite_engine, "WAL_LIMIT", 1 << 20)  # checkpoints meet the reader
    old, new, longest, stop = home(engine), home("sqlite"), [0.0], threading.Event()
    store = old.open()
    for first in range(1, 2001, 200):
        store.append(rows(first, first + 199, "s", 5000))

    def write():
        position = 2000
        while not stop.is_set():
            began = time.monotonic()
            store.append(rows(position + 1, position + 20, "s", 5000))
            position += 20
            longest[0] = max(longest[0], time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    count, _ = export(old.place, tmp_path / "b", lambda rows, size: time.sleep(0.005))
    stop.set()
    thread.join()
    assert longest[0] < 2
    assert count >= 2000
    assert count % 20 == 0, "half a batch"
    restore(tmp_path / "b", new.place)
    again = new.open()
    assert list(again.rows(0)) == list(store.rows(0))[:count]
    assert len(list(store.rows(0))) > count, "nothing was written meanwhile"
    again.close()
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_was_cut_or_changed_is_refused_and_nothing_is_restored(home, tmp_path, engine):
    old, new = home("sqlite"), home(engine)
    fill(old).close()
    export(old.place, tmp_path / "good")
    whole = (tmp_path / "good").read_bytes()
    rng, bad = random.Random(5), tmp_path / "bad"
    cuts = [whole[:at] for at in (0, 1, 10, len(whole) - 1, len(whole) - 8, *rng.choices(range(len(whole)), k=10))]
    flips = []
    for at in rng.choices(range(10, len(whole)), k=10):  # the header of gzip says nothing about what is inside
        flips.append(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
    inside = gzip.decompress(whole)
    packed = [gzip.compress(inside[:at], 1) for at in (0, 3, len(inside) // 2, len(inside) - 1)]
    packed += [gzip.compress(inside + b"x", 1), gzip.compress(inside[: len(inside) // 2] * 2, 1)]
    for damaged in [*cuts, *flips, *packed, b"nonsense" * 1000]:
        bad.write_bytes(damaged)
        with pytest.raises(StorageCorrupt, match="damaged"):
            restore(bad, new.place)
    assert not list(new.dir.glob("*.db*"))
    restore(tmp_path / "good", new.place)
    store = new.open()
    assert len(list(store.rows(0))) == 6
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_target_with_rows_is_refused_and_stays_as_it_is(home, tmp_path, engine):
    old, new = home("sqlite"), home(engine)
    fill(old).close()
    export(old.place, tmp_path / "b")
    store = new.open()
    store.append(rows(1, 2))
    store.close()
    with pytest.raises(StorageRefused, match="rows already"):
        restore(tmp_path / "b", new.place)
    store = new.open()
    assert (list(store.rows(0)), store.opened.history, store.snapshot()[0]) == (rows(1, 2), "old", 0)
    allocator = new.open("allocator")
    assert list(allocator.rows(0)) == []
    store.close()
    allocator.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_target_takes_it_and_its_epochs_never_go_back(home, tmp_path, engine):
    old, new = home("sqlite"), home(engine)
    fill(old).close()
    export(old.place, tmp_path / "b")
    for _ in range(3):
        new.open().close()
    restore(tmp_path / "b", new.place)
    store = new.open()
    assert store.opened.epoch > EPOCHS_AHEAD
    assert len(list(store.rows(0))) == 6
    store.close()


def test_a_directory_in_use_is_no_target(home, tmp_path):
    old, new = home("sqlite"), home("sqlite")
    fill(old).close()
    export(old.place, tmp_path / "b")
    store = new.open()
    with pytest.raises(DataDirLocked):
        restore(tmp_path / "b", new.place)
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_that_is_damaged_at_the_source_is_no_backup(home, postgres, tmp_path, engine):
    old = home(engine)
    store = fill(old)
    (tmp_path / "b").write_text("the backup of yesterday")
    spoilt = Place(f"{engine}-power", tmp_path, old.storage or "")
    spoilt.file, spoilt.name = old.dir / "sessions.db", "sessions-0"
    spoilt.change("UPDATE {flame}journal SET body = {body} WHERE {where} AND position = 10")
    with pytest.raises(StorageCorrupt, match="row 10"):
        export(old.place, tmp_path / "b")
    assert (tmp_path / "b").read_text() == "the backup of yesterday"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b"]
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_where_nothing_is_there_is_nothing_to_copy(home, tmp_path, engine):
    with pytest.raises(NotFound):
        export(home(engine).place, tmp_path / "b")
    with pytest.raises(NotFound):
        restore(tmp_path / "b", home(engine).place)
    assert not (tmp_path / "b").exists()


def test_a_file_of_a_newer_release_is_refused(home, tmp_path):
    old, new = home("sqlite"), home("sqlite")
    fill(old).close()
    export(old.place, tmp_path / "b")
    inside = bytearray(gzip.decompress((tmp_path / "b").read_bytes()))
    at = inside.index(b"begin") + 5
    inside[at] = 9
    (tmp_path / "b").write_bytes(gzip.compress(bytes(inside)))
    with pytest.raises(StorageRefused, match="format 9"):
        restore(tmp_path / "b", new.place)


def test_another_format_of_the_database_is_refused(home, tmp_path):
    old = home("sqlite")
    fill(old).close()
    raw = sqlite3.connect(old.dir / "sessions.db")
    raw.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    raw.commit()
    raw.close()
    with pytest.raises(StorageRefused, match="99"):
        export(old.place, tmp_path / "b")
