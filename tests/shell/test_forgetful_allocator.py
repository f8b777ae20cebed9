"""An allocator on a full disk goes on in memory, and back to its journal, without a message lost on either way."""

from __future__ import annotations

import asyncio

from flame.allocation.process import AllocatorConfig, AllocatorProcess
from flame.core.allocator import records as r
from flame.core.base.errors import StorageFull
from flame.core.model import messages as m
from flame.core.model.reactor import Effect, Persist, Send
from flame.ops.config import ClusterConfig
from flame.shell.address import Address, listen

AGENT = 1001


def kept_then_said(word: str) -> list[Effect]:
    return [Persist(r.NodeCordoned(word, True)), Send(AGENT, m.GetSession(word))]


async def until(true) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


class Disk:
    """A store that cannot write while it is full."""

    def __init__(self, store, monkeypatch):
        self.full = True
        for name in ("append", "probe"):
            monkeypatch.setattr(store, name, self._guarded(getattr(store, name)))

    def _guarded(self, method):
        def guarded(*words):
            if self.full:
                raise StorageFull("no room")
            return method(*words)

        return guarded


def test_nothing_that_is_to_be_said_is_lost_between_journal_and_memory(tmp_path, monkeypatch):
    """An agent that never heard of a placement left its processors taken for a minute."""
    said: list[m.Message] = []

    async def main():
        ready = asyncio.Event()
        door = listen(Address(path=str(tmp_path / "allocator")))
        cluster = ClusterConfig(data_dir=tmp_path, durability="power")
        process = AllocatorProcess(AllocatorConfig(cluster, door, ready=lambda epoch: ready.set()))
        process._send = lambda send: said.append(send.message)
        process.driver = process._make_driver()
        disk = Disk(process._kept, monkeypatch)
        running = asyncio.ensure_future(process.run())
        await ready.wait()
        process.driver.perform(kept_then_said("as the disk fills up"))
        await until(lambda: process._forgetful)
        in_memory = process.driver
        assert in_memory.store is not process._kept
        settled = in_memory.settled

        async def settled_and_then_more():
            await settled()
            in_memory.perform(kept_then_said("as it goes back"))

        in_memory.settled = settled_and_then_more
        disk.full = False
        await until(lambda: not process._forgetful)
        assert process.driver.store is process._kept
        process.stopping.set()
        await running
        door.close()

    asyncio.run(main())
    assert said == [m.GetSession("as the disk fills up"), m.GetSession("as it goes back")]
