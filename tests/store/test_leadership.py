"""One leads; the next takes over when it dies, hangs or leaves, and the old one can do no harm."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flame.core.base.errors import InvalidState, StorageRefused
from flame.store.leadership import Leadership, read_leaders
from flame.store.postgres import PostgresStore
from flame.testing.cluster import eventually

PROGRAM = Path(__file__).with_name("pg_leader.py")


class Candidate:
    def __init__(self, dsn, address):
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), dsn, "sessions-0", address], stdout=subprocess.PIPE, text=True
        )
        self._bound = threading.Timer(30, self.process.kill)
        self._bound.start()

    def until(self, word):
        """When it said so (seconds, monotonic), and what came with it."""
        for line in self.process.stdout:
            at, said, *more = line.split()
            if said == word:
                return float(at), more
        raise AssertionError(f"it ended without saying {word!r}")

    def signal(self, number):
        self.process.send_signal(number)
        return time.monotonic()

    def end(self):
        self._bound.cancel()
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def candidates(database):
    with ExitStack() as stack:

        def make(address):
            made = Candidate(database, address)
            stack.callback(made.end)
            return made

        yield make


@contextmanager
def candidacy(dsn, address="a", **more):
    made = Leadership(dsn, "sessions-0", [address], **more)
    try:
        yield made
    finally:
        made.stop()


def journal(dsn):
    """Whose rows there are; taking it ends whoever writes."""
    store = PostgresStore(dsn, "sessions-0")
    store.open("h")
    found = [row.session for row in store.rows(0)]
    store.close()
    return found


def test_a_killed_leader_is_followed_within_half_a_second(database, candidates):
    first = candidates("one:1")
    first.until("wrote")
    second = candidates("two:2")
    second.until("waiting")
    time.sleep(0.5)  # it must not lead while the first does: nothing to wait for
    assert read_leaders(database)["sessions-0"].addresses == ("one:1",)
    killed = first.signal(signal.SIGKILL)
    at, (epoch,) = second.until("leading")
    assert at - killed < 0.5, f"{at - killed:.2f} s"
    assert epoch == "2"
    found = read_leaders(database)["sessions-0"]
    assert (found.addresses, found.epoch) == (("two:2",), 2)
    assert found.age < 1.5


def test_a_paused_leader_is_followed_and_writes_nothing_when_it_wakes_up(database, candidates):
    first = candidates("one:1")
    first.until("wrote")
    second = candidates("two:2")
    second.until("waiting")
    paused = first.signal(signal.SIGSTOP)
    at, _ = second.until("leading")
    assert at - paused < 2.5, f"{at - paused:.2f} s"
    second.until("wrote")
    first.signal(signal.SIGCONT)
    first.until("Fenced")
    second.until("wrote")
    second.end()
    found = journal(database)
    assert found == sorted(found), "the old one wrote behind the new one"
    assert set(found) == {"one:1", "two:2"}


def test_a_paused_leader_hears_that_it_was_deposed(database, candidates):
    first = candidates("one:1")
    first.until("leading")
    first.signal(signal.SIGSTOP)
    with candidacy(database) as other:
        other.acquire()
        first.signal(signal.SIGCONT)
        first.until("lost")
        assert other.leading


def test_who_leaves_is_followed_at_once_and_shows_as_gone(database):
    with candidacy(database, "one:1") as first, candidacy(database, "two:2") as second:
        first.acquire()
        waiting = threading.Thread(target=second.acquire)
        waiting.start()
        assert not second.leading
        first.stop()
        began = time.monotonic()
        waiting.join(5)
        assert time.monotonic() - began < 0.5
        second.stop()
    assert read_leaders(database)["sessions-0"].age > 1e6


def test_waiting_can_be_stopped(database):
    with candidacy(database) as first, candidacy(database) as second:
        first.acquire()
        threading.Timer(0.2, second.stop).start()
        with pytest.raises(InvalidState, match="stopped"):
            second.acquire()


def test_it_can_be_awaited_and_cancelled(database):
    async def main():
        with candidacy(database) as first, candidacy(database) as second:
            await first.acquire_async()
            task = asyncio.create_task(second.acquire_async())
            await asyncio.sleep(0.2)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await first.stop_async()
            await second.acquire_async()
            assert (first.epoch, second.epoch) == (1, 2)

    asyncio.run(main())


def test_a_lost_connection_is_told_once_and_the_role_can_be_taken_again(postgres, database):
    said = []
    with candidacy(database, lost=lambda: said.append(threading.current_thread())) as lead:
        lead.acquire()
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flame-leader sessions-0' "
            "AND datname = $1", database.partition("@/")[2].partition("?")[0],
        )  # fmt: skip
        eventually(lambda: said)
        assert not lead.leading
        assert said[0] is not threading.current_thread()
        lead.acquire()
        assert lead.epoch == 2
    assert len(said) == 1


def test_of_many_candidates_one_leads_at_a_time(database):
    """Each gives the role back when it has seen that it is alone with it."""
    inside, most, errors = [], [], []

    def run(number):
        try:
            with candidacy(database, f"n{number}") as lead:
                lead.acquire()
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.05)
                inside.remove(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (errors, most) == ([], [1] * 5)
    assert read_leaders(database)["sessions-0"].epoch == 5


def test_a_database_without_leaders_has_none(database):
    assert read_leaders(database) == {}


def test_a_server_that_refuses_us_ends_the_candidacy(postgres):
    dsn = f"postgresql://flame:wrong@/postgres?host={postgres.directory}"
    with candidacy(dsn) as lead, pytest.raises(StorageRefused, match="28P01"):
        lead.acquire()
