"""What only PostgreSQL can do to us: two processes with one journal, connections that end, servers that come back older."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import defaultdict
from pathlib import Path

import pytest
from store.places import rows

from flame.core.base.errors import Fenced, StorageCorrupt, StorageFull, StorageRefused, StorageUnreachable
from flame.shell.driver import retryable
from flame.store import postgres as engine
from flame.store.port import Row
from flame.store.postgres import PostgresStore
from flame.testing.cluster import eventually
from flame.testing.postgres import PostgresServer

WRITER = Path(__file__).with_name("pg_process.py")


@pytest.fixture(scope="module")
def server():
    """One that may be stopped and killed."""
    with PostgresServer() as made:
        yield made


@contextlib.contextmanager
def opened(dsn, name="a", history="h", durability="power"):
    store = PostgresStore(dsn, name, durability)
    store.open(history)
    try:
        yield store
    finally:
        store.close()


def writer(dsn, name, size, *more):
    return subprocess.Popen(
        [sys.executable, str(WRITER), dsn, name, str(size), *map(str, more)], stdout=subprocess.PIPE, text=True
    )


def backends(server, dsn, shows):
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = $2"
    return [pid for (pid,) in server.sql(query, shows, name_of(dsn))]


def name_of(dsn):
    return dsn.partition("@/")[2].partition("?")[0]


# -- two processes ---------------------------------------------------------------------------------------------------------


def test_two_processes_that_fight_for_a_journal_never_write_over_each_other(postgres, database):
    """Each takes it back whenever it lost it. What one was told is committed stays, in the order of the epochs."""
    said = [p.communicate(timeout=60)[0].split("\n") for p in [writer(database, "a", 100, 4) for _ in range(2)]]
    confirmed = [tuple(map(int, line.split())) for lines in said for line in lines if line]
    with opened(database) as store:
        found = [(int(row.session.removeprefix("epoch-")), row.position) for row in store.rows(0)]
    assert set(confirmed) <= set(found)
    assert [position for _, position in found] == list(range(1, len(found) + 1))
    epochs = [epoch for epoch, _ in found]
    assert epochs == sorted(epochs)
    holders = defaultdict(set)
    for number, lines in enumerate(said):
        for line in filter(None, lines):
            holders[int(line.split()[0])].add(number)
    assert all(len(who) == 1 for who in holders.values())
    assert epochs[-1] > 2, "they did not fight"


@pytest.mark.parametrize("size", [50, 2_000_000])
def test_a_paused_writer_is_overtaken_and_can_write_nothing_when_it_wakes_up(postgres, database, size):
    """With large rows it is paused inside a transaction, with the fence in its hands."""
    child = writer(database, "a", size)
    assert child.stdout is not None
    for _ in range(3):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()
    with opened(database) as store:
        assert time.monotonic() - began < 4
        before = [row.position for row in store.rows(0)]
        store.append([Row(before[-1] + 1, "ours", 1, b"ours")])
        os.kill(child.pid, signal.SIGCONT)
        assert child.communicate(timeout=30)[0].endswith("Fenced\n")
        store.append([Row(before[-1] + 2, "ours", 1, b"ours")])
        assert [row.session for row in store.rows(before[-1])] == ["ours", "ours"]


# -- connections that end --------------------------------------------------------------------------------------------------


def keep_writing(store, stop, confirmed, failures):
    """As a driver does: after a failure read what is there, and go on behind it."""
    last = 0
    while not stop.is_set():
        try:
            store.append([Row(last + 1, "s", 1, b"%d" % (last + 1) + b"." * 300)])
            last += 1
            confirmed.append(last)
        except StorageUnreachable as error:
            failures.append(error)
            with contextlib.suppress(StorageUnreachable):
                last = max((row.position for row in store.rows(0)), default=0)


@pytest.mark.parametrize("fault", ["restart", "kill", "cut"])
def test_no_confirmed_row_is_lost_when_the_server_goes_in_the_middle_of_a_commit(server, fault):
    stop, confirmed, failures = threading.Event(), [], []
    dsn = server.make_database()
    with opened(dsn) as store:
        thread = threading.Thread(target=keep_writing, args=(store, stop, confirmed, failures))
        thread.start()
        turn, deadline = 0, time.monotonic() + 20
        while turn < 3 or not failures:  # a connection may also end between two commits, which is no failure
            assert time.monotonic() < deadline
            turn += 1
            reached = len(confirmed) + 50
            eventually(lambda at=reached: len(confirmed) > at)
            if fault == "cut":
                for pid in backends(server, dsn, "flame a writer"):
                    server.sql("SELECT pg_terminate_backend($1)", pid)
            elif fault == "restart":
                server.restart()
            else:
                server.kill()
                server.start()
        assert all(map(retryable, failures))
        reached = len(confirmed) + 10
        eventually(lambda: len(confirmed) > reached)
        stop.set()
        thread.join()
        found = list(store.rows(0))
        assert [row.position for row in found] == list(range(1, len(found) + 1))
        assert set(confirmed) <= {row.position for row in found}
        assert all(row.body.startswith(b"%d." % row.position) for row in found)


def test_a_commit_of_a_connection_that_was_given_up_never_comes_later(server, monkeypatch):
    """The server's process hangs with the batch in its socket; when it goes on, somebody else has written there."""
    monkeypatch.setattr(engine, "COMMIT_LIMIT", 0.5)
    dsn = server.make_database()
    with opened(dsn) as store:
        store.append(rows(1, 1))
        (pid,) = backends(server, dsn, "flame a writer")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StorageUnreachable) as error:
                store.append(rows(2, 2))
            assert retryable(error.value)
            monkeypatch.setattr(engine, "COMMIT_LIMIT", 15.0)
            assert [row.position for row in store.rows(0)] == [1]
            store.append([Row(2, "", 1, b"the other one")])
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: pid not in backends(server, dsn, "flame a writer"))
        assert [row.body for row in store.rows(1)] == [b"the other one"]


def test_without_its_server_a_store_says_so_at_once_and_goes_on_when_it_is_back(server, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    with opened(server.make_database()) as store:
        store.append(rows(1, 3))
        server.stop()
        try:
            for ask in (
                lambda: store.append(rows(4, 4)),
                store.probe,
                lambda: store.read([1]),
                lambda: list(store.rows(0)),
            ):
                began = time.monotonic()
                with pytest.raises(StorageUnreachable) as error:
                    ask()
                assert retryable(error.value)
                assert time.monotonic() - began < 2
        finally:
            server.start()
        store.probe()
        store.append(rows(4, 4))
        assert [row.position for row in store.rows(0)] == [1, 2, 3, 4]


def test_reading_goes_on_where_the_connection_ended(server):
    with opened(server.make_database()) as store:
        store.append(rows(1, 5000, "s"))
        seen = store.rows(0)
        first = [next(seen).position for _ in range(10)]
        server.restart()
        assert first + [row.position for row in seen] == list(range(1, 5001))


# -- a server that is another one ------------------------------------------------------------------------------------------


@pytest.fixture
def replaced():
    """Ours alone: it is replaced by an older copy, or promoted."""
    with PostgresServer() as made:
        yield made


def test_a_server_that_came_back_older_is_noticed_and_begins_a_new_history(replaced, tmp_path):
    dsn, old = replaced.make_database(), replaced.directory / "old"
    with opened(dsn, history="before") as store:
        store.append(rows(1, 5))
        replaced.stop()
        shutil.copytree(replaced.data, old, copy_function=copy_owned)
        copy_owned(replaced.data, old)
        replaced.start()
        list(store.rows(0))
        store.append(rows(6, 9))
        replaced.stop()
        shutil.rmtree(replaced.data)
        old.rename(replaced.data)
        replaced.start()
        with pytest.raises((StorageUnreachable, StorageCorrupt)):
            store.append(rows(10, 10))
        with pytest.raises(StorageCorrupt, match="row 9 was committed") as error:
            list(store.rows(0))
        assert not retryable(error.value)
    again = PostgresStore(dsn, "a")
    found = again.open("after")
    assert (found.history, found.lost, len(list(again.rows(0)))) == ("after", True, 5)
    again.close()


def copy_owned(source, target):
    if not Path(source).is_dir():
        shutil.copy2(source, target)
    else:
        for path in [Path(target), *Path(target).rglob("*")]:
            found = (Path(source) / path.relative_to(target)).stat()
            os.chown(path, found.st_uid, found.st_gid)
            path.chmod(found.st_mode)
    return target


def test_a_promoted_standby_begins_a_new_history_unless_commits_waited_for_it(replaced):
    """A running process sees by itself that all it was told of is there, and keeps its history."""
    dsn = replaced.make_database()
    with opened(dsn, "alive", "before") as alive, opened(dsn, "stopped", "before") as stopped:
        alive.append(rows(1, 2))
        stopped.append(rows(1, 2))
        stopped.close()
        replaced.stop()
        (replaced.data / "standby.signal").touch()
        os.chown(replaced.data / "standby.signal", *(2 * [(replaced.data / "PG_VERSION").stat().st_uid]))
        replaced.start()
        with pytest.raises(StorageFull):  # connected anew to a server that only reads: nothing else to do than wait
            alive.probe()
        assert replaced.sql("SELECT pg_promote()") == [(True,)]
        eventually(lambda: can(alive.probe))
        alive.append(rows(3, 3))
        assert len(list(alive.rows(0))) == 3
    for name, history, lost in (("alive", "before", False), ("stopped", "after", True)):
        store = PostgresStore(dsn, name)
        found = store.open("after")
        assert (found.history, found.lost) == (history, lost), name
        store.close()


def can(work):
    try:
        work()
    except StorageFull:
        return False
    return True


def test_a_server_without_fsync_is_refused_under_power(replaced):
    dsn = replaced.make_database()
    replaced.sql("ALTER SYSTEM SET fsync = off")
    replaced.restart()
    with pytest.raises(StorageRefused, match="fsync=off") as error:
        PostgresStore(dsn, "a").open("h")
    assert "process" in error.value.hint
    with opened(dsn, durability="process") as store:
        store.append(rows(1, 1))


# -- what is refused -------------------------------------------------------------------------------------------------------


def test_passwords_are_in_no_error(server, monkeypatch, caplog):
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    secret = "s3cret%2Fword"
    tail = f"/postgres?host={server.directory}"
    for dsn, expected in (
        (f"postgresql://flame:{secret}@{tail}", StorageRefused),
        (f"postgresql://flame:{server.password}@/nowhere?host={server.directory}", StorageRefused),
        (f"postgresql://flame:{secret}@127.0.0.1:1/postgres", StorageUnreachable),
        (f"postgresql://flame:{secret}@/postgres?host=/nowhere", StorageUnreachable),
        (f"postgresql://flame:{secret}@host:port/postgres", StorageRefused),
        (f"postgresql://flame@/postgres?host={server.directory}&password={secret}", StorageRefused),
    ):
        with pytest.raises(expected) as error:
            PostgresStore(dsn, "a").open("h")
        shows = "".join(traceback.format_exception(error.value)) + error.value.hint + caplog.text
        for hidden in ("s3cret", server.password):
            assert hidden not in shows


@pytest.mark.parametrize("name", ["", "Sessions", "a b", "a'b", "x" * 33, "-a"])
def test_names_are_plain(name):
    with pytest.raises(StorageRefused):
        PostgresStore("postgresql://nowhere/x", name)


def test_journals_of_one_database_do_not_see_each_other(database):
    with opened(database, "sessions-0") as one, opened(database, "sessions-1") as two:
        one.append(rows(1, 3))
        two.append(rows(1, 1, "s"))
        one.save_snapshot(3, [Row(0, "", 1, b"x")], [("s", 99)])
        assert (list(one.rows(3)), list(two.rows(0)), two.snapshot()[0]) == ([], rows(1, 1, "s"), 0)
        one.append(rows(4, 4))
        two.append(rows(2, 2))


def test_a_position_that_is_taken_is_not_written_over(database):
    with opened(database) as store:
        store.append(rows(1, 2))
        with pytest.raises(Fenced, match="duplicate key"):
            store.append([Row(2, "", 1, b"other")])
        assert list(store.rows(0)) == rows(1, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_commits_nothing_and_is_over_when_there_is_room(server):
    small = server.directory / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", small], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    owner = server.data.stat().st_uid
    try:
        os.chown(small, owner, owner)
        server.sql(f"CREATE TABLESPACE small LOCATION '{small}'")
        server.sql("CREATE DATABASE tiny TABLESPACE small")
        with opened(server.dsn("tiny")) as store:
            store.append(rows(1, 2))
            filler = small / "filler"
            with filler.open("wb") as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            for batch in (rows(3, 40, size=100_000), rows(3, 3, size=60_000)):
                with pytest.raises(StorageFull) as error:
                    store.append(batch)
                assert retryable(error.value)
                assert not isinstance(error.value, StorageUnreachable)
            with pytest.raises(StorageFull):
                store.probe()
            assert list(store.rows(0)) == rows(1, 2)
            filler.unlink()
            store.probe()
            store.append(rows(3, 40, size=100_000))
            assert len(list(store.rows(0))) == 40
        server.sql("DROP DATABASE tiny")
        server.sql("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
