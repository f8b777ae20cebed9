"""An event that breaks the reactor: what it did halfway is never told, and memory is read again from the store."""

from __future__ import annotations

import asyncio
import time

import pytest

from flame.core.base.errors import StorageFull
from flame.core.model import messages as m
from flame.core.model.reactor import Persist, Ticked
from flame.shell.driver import Driver, Torn, retryable
from flame.store.memory import MemoryStore


class Breaks:
    def __init__(self):
        self.seen = 0

    def handle(self, event, now):
        self.seen += 1
        raise KeyError("a bug")

    def deadline(self):
        return None


def test_a_bug_in_an_event_takes_the_crash_path_once(caplog):
    said, failures = [], []

    async def main():
        reactor = Breaks()
        store = MemoryStore()
        store.open("h")
        driver = Driver(
            reactor, store, encode=lambda record: ("", 1, b""), send=said.append, close=lambda peer, why: None,
            perform=said.append, failed=failures.append, loop=asyncio.get_running_loop(),
        )  # fmt: skip
        driver.handle(Ticked())
        driver.handle(Ticked())
        driver.stop()
        assert reactor.seen == 1, "a broken reactor hears nothing more"

    asyncio.run(main())
    assert not said
    (error,) = failures
    assert isinstance(error, Torn)
    assert retryable(error)
    assert "a bug" in caplog.text


class SlowStore(MemoryStore):
    """As on a disk: commits in the writer's thread, and more comes in meanwhile."""

    durability = "power"
    inline = False

    def append(self, rows):
        time.sleep(0.002)
        super().append(rows)


class Talks:
    """Every event is one record."""

    def handle(self, event, now):
        return [Persist(("row",))]

    def deadline(self):
        return None


def test_who_waits_for_a_commit_is_told_while_more_comes_in_all_the_time():
    async def main():
        loop = asyncio.get_running_loop()
        store = SlowStore()
        store.open("h")
        driver = Driver(
            Talks(), store, encode=lambda record: ("", 1, b""), send=print, close=print, perform=print, failed=print, loop=loop
        )  # fmt: skip
        busy = True

        def more():
            driver.handle(Ticked())
            if busy:
                loop.call_soon(more)

        more()
        await asyncio.wait_for(driver.settled(), 10)
        busy = False
        await driver.settled()
        assert not driver.uncommitted
        driver.stop()

    asyncio.run(main())


def test_who_waits_for_a_commit_that_fails_hears_so():
    """Otherwise compaction would wait for ever after a full disk."""

    class Full(MemoryStore):
        def append(self, rows):
            raise StorageFull("no room")

    async def main():
        failed = []
        driver = Driver(
            Breaks(), Full(), encode=lambda record: ("", 1, b"row"), send=lambda send: None, close=lambda peer, why: None,
            perform=lambda effect: None, failed=failed.append, loop=asyncio.get_running_loop(),
        )  # fmt: skip
        driver.perform([Persist(m.Done())])
        with pytest.raises(StorageFull):
            await asyncio.wait_for(driver.compact([m.Done()]), 10)
        assert failed
        driver.stop()

    asyncio.run(main())
