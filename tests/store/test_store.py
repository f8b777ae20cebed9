"""The contract that every engine keeps."""

from __future__ import annotations

import threading

import pytest
from store.places import rows

from flame.core.base.errors import Fenced, StorageCorrupt, StorageRefused
from flame.store.port import Row


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


def test_nothing_is_appended_by_nothing(store):
    store.append([])
    assert list(store.rows(0)) == []


@pytest.mark.parametrize("size", [0, 1, 3000, 1 << 20])
def test_bodies_of_any_size_and_content_come_back(store, size):
    batch = [Row(n, "s", 3, bytes(range(256)) * (size // 256) + b"\x00" * (size % 256)) for n in range(1, 4)]
    store.append(batch)
    assert list(store.rows(0)) == batch


def test_names_of_sessions_may_be_in_any_script(store):
    store.append([Row(1, "сессия-1 ✓ 'x\"", 1, b"body")])
    store.save_snapshot(0, [], [("somebody else", 9)])
    assert next(store.rows(0)).session == "сессия-1 ✓ 'x\""


def test_many_rows_come_back_in_order(store):
    batch = rows(1, 6000, "s", 40)
    store.append(batch)
    assert list(store.rows(0)) == batch
    wanted = list(range(5999, 0, -7))
    assert [r.position for r in store.read(wanted)] == wanted


def test_a_reader_that_stops_in_the_middle_hinders_nobody(store):
    store.append(rows(1, 100, "s"))
    begun = store.rows(0)
    next(begun)
    store.append(rows(101, 102, "s"))
    del begun
    store.save_snapshot(102, [], [("s", 200)])
    assert list(store.rows(0)) == []


def test_a_snapshot_is_replaced_whole(store):
    store.append(rows(1, 3))
    store.save_snapshot(2, [Row(0, "", 1, b"one"), Row(0, "", 1, b"two")], [])
    store.save_snapshot(3, [Row(0, "", 2, b"three")], [])
    position, found = store.snapshot()
    assert (position, [(r.version, r.body) for r in found]) == (3, [(2, b"three")])
    assert list(store.rows(0)) == []


def test_batches_go_on_while_snapshots_are_written(store):
    """Two threads, as a driver and a compaction: nothing is lost or written twice."""
    stop = threading.Event()

    def compact():
        while not stop.is_set():
            store.save_snapshot(0, [Row(0, "", 1, b"x" * 5000)] * 5, [])

    thread = threading.Thread(target=compact)
    thread.start()
    for position in range(1, 101):
        store.append([Row(position, "s", 1, b"y" * 100)])
    stop.set()
    thread.join()
    assert [r.position for r in store.rows(0)] == list(range(1, 101))


def test_reading_nothing_says_that_it_can_be_read(store):
    assert store.read([]) == []


def test_it_can_be_probed_and_knows_its_size(store):
    before = store.size()
    store.probe()
    store.append(rows(1, 10, size=100_000))
    assert store.size() > before


# -- what stays ------------------------------------------------------------------------------------------------------------


def test_every_open_raises_the_epoch_and_keeps_the_history(place):
    seen = []
    for attempt in range(3):
        store = place.make()
        seen.append(store.open(f"h{attempt}"))
        store.close()
    assert [(o.epoch, o.history, o.lost) for o in seen] == [(1, "h0", False), (2, "h0", False), (3, "h0", False)]


def test_what_was_committed_is_there_after_the_next_open(place):
    store = place.make()
    store.open("h")
    store.append(rows(1, 3, "s") + rows(4, 6))
    store.save_snapshot(5, [Row(0, "", 1, b"snap")], [])
    store.close()
    again = place.make()
    again.open("h")
    position, found = again.snapshot()
    assert (position, [r.body for r in found]) == (5, [b"snap"])
    assert [r.position for r in again.rows(0)] == [1, 2, 3, 6]
    again.close()


def test_a_corrupt_row_is_reported_by_position_and_nothing_behind_it_is_read(place):
    store = place.make()
    store.open("h")
    store.append(rows(1, 9))
    store.close()
    place.change("UPDATE {flame}journal SET body = {body} WHERE {where} AND position = 6")
    store = place.make()
    store.open("h")
    seen = []
    with pytest.raises(StorageCorrupt, match="row 6"):
        seen.extend(r.position for r in store.rows(0))
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(StorageCorrupt, match="row 6"):
        store.read([6])
    store.close()


def test_a_row_that_moved_is_as_wrong_as_one_that_changed(place):
    store = place.make()
    store.open("h")
    store.append(rows(1, 2))
    place.change("UPDATE {flame}journal SET position = 7 WHERE {where} AND position = 2")
    with pytest.raises(StorageCorrupt, match="row 7"):
        list(store.rows(0))
    store.close()


def test_a_corrupt_snapshot_row_is_reported(place):
    store = place.make()
    store.open("h")
    store.save_snapshot(0, [Row(0, "", 1, b"one"), Row(0, "", 1, b"two")], [])
    place.change("UPDATE {flame}snapshot SET body = {body} WHERE {where} AND seq = 2")
    with pytest.raises(StorageCorrupt, match="snapshot row 2"):
        list(store.snapshot()[1])
    store.close()


@pytest.mark.parametrize("write", ["append", "large", "snapshot", "probe"])
def test_an_overtaken_writer_is_fenced(place, write):
    store = place.make()
    store.open("h")
    store.append(rows(1, 1))
    reader = store
    if place.engine == "sqlite":  # its lock keeps a second process out; a fence stands behind the lock
        place.change("UPDATE meta SET value = '7' WHERE key = 'epoch'")
    else:
        reader = place.make()
        reader.open("h")
    with pytest.raises(Fenced, match="epoch"):
        {
            "append": lambda: store.append(rows(2, 2)),
            "large": lambda: store.append(rows(2, 3, size=1 << 20)),
            "snapshot": lambda: store.save_snapshot(1, [Row(0, "", 1, b"x")], []),
            "probe": store.probe,
        }[write]()
    assert (list(reader.rows(0)), reader.snapshot()[0]) == (rows(1, 1), 0)
    reader.close()
    store.close()


def test_a_word_that_is_no_durability_is_refused(place):
    place.durability = "eternal"
    with pytest.raises(StorageRefused, match="eternal"):
        place.make()
