"""The allocator's process: a reactor, its journal, a listener for agents and managers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from flame.core.allocator import records as r
from flame.core.allocator.reactor import Allocator
from flame.core.allocator.settings import AllocatorSettings
from flame.core.base.errors import FlameError, StorageCorrupt, StorageFull
from flame.core.model import messages as m
from flame.core.model.access import PREFIX
from flame.core.model.reactor import Choked, Effect, Event, Joined, Lost, Peer, Received, Recorded, Send
from flame.core.scheduler.plugins import make_policy
from flame.core.scheduler.settings import SchedulingSettings
from flame.ops.config import ClusterConfig
from flame.shell.driver import PROBE_EVERY, Driver
from flame.shell.gate import UNIX
from flame.shell.listener import MachineServer, Public
from flame.shell.plane import Handler, Plane
from flame.store.memory import MemoryStore
from flame.store.port import Row, Store
from flame.store.sqlite import SqliteStore

log = logging.getLogger("flame.allocator")

COMPACT_ROWS = 2000
COMPACT_CHECK = 30.0


@dataclass
class AllocatorConfig:
    cluster: ClusterConfig
    listener: socket.socket
    public: Public | None = None
    """How it listens beyond this machine."""
    ready: Callable[[int], None] = lambda epoch: None


def encode_row(record: r.Record) -> tuple[str, int, bytes]:
    return "", r.VERSION, r.encode_record(record)


def decode_row(row: Row) -> r.AnyRecord:
    if row.version != r.VERSION:
        raise StorageCorrupt(f"row {row.position} has version {row.version}; this release reads {r.VERSION}")
    try:
        return r.decode_record(row.body)
    except msgspec.DecodeError as error:
        raise StorageCorrupt(f"row {row.position} cannot be read: {error}") from None


class _Timed:
    """The reactor, telling it what its last cycle cost (the core has no clock)."""

    def __init__(self, reactor: Allocator) -> None:
        self._reactor = reactor

    def handle(self, event: Event, now: float) -> list[Effect]:
        begin = time.perf_counter()
        effects = self._reactor.handle(event, now)
        self._reactor.cycle_cost = time.perf_counter() - begin
        return effects

    def deadline(self) -> float | None:
        return self._reactor.deadline()


class AllocatorProcess(Handler):
    def __init__(self, config: AllocatorConfig) -> None:
        self.config = config
        cluster = config.cluster
        durable = cluster.durability != "memory"
        path = cluster.data_dir / "allocator.db"
        self.store: Store = SqliteStore(path, cluster.durability) if durable else MemoryStore()
        self.reactor = Allocator(
            lambda kind: str(uuid.uuid4()),
            lambda: PREFIX + secrets.token_urlsafe(32),
            AllocatorSettings(default_resources=cluster.resources),
            make_policy(SchedulingSettings(plugins=tuple(cluster.policies))),
        )
        self.plane = Plane(self, first=1000)
        self.loop = asyncio.get_running_loop()
        self.driver = self._make_driver()
        self.stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_driver(self) -> Driver:
        return Driver(
            _Timed(self.reactor), self.store, encode=encode_row, send=self._send, close=self._close, perform=self._perform,
            failed=self._store_failed, loop=self.loop,
        )  # fmt: skip

    async def run(self) -> None:
        opened = self.store.open(secrets.token_hex(8))
        covered, snapshot = self.store.snapshot()
        now = self.driver.clock()
        for row in snapshot:
            self.reactor.handle(Recorded(covered, decode_row(row)), now)
        last = covered
        for row in self.store.rows(covered):
            self.reactor.handle(Recorded(row.position, decode_row(row)), now)
            last = row.position
        self.driver.position = last
        self.reactor.begin(now)
        self.plane.serve(self.config.listener, UNIX)
        remote = await self._serve_machines()
        self.config.ready(opened.epoch)
        task = self.loop.create_task(self._compact_by_itself())
        self._tasks.add(task)
        await self.stopping.wait()
        task.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.driver.settled(), 2)
        if remote is not None:
            await remote.stop()
        self.plane.stop()
        self.driver.stop()
        self.store.close()

    async def _serve_machines(self) -> MachineServer | None:
        if self.config.public is None:
            return None
        from flame.shell.listener import AGENTS

        server = MachineServer(self.plane, ("agent", "manager"))
        await server.start(self.config.public.bound(AGENTS), self.config.public.credentials(require_client=True))
        return server

    async def _compact_by_itself(self) -> None:
        while True:
            await asyncio.sleep(COMPACT_CHECK)
            if self.driver.position - self.store.snapshot()[0] > COMPACT_ROWS:
                with contextlib.suppress(StorageFull):
                    await self.driver.compact(self.reactor.snapshot())

    def joined(self, peer: Peer, hello: m.Hello, identity: m.Identity | None) -> None:
        self.driver.handle(Joined(peer, hello, identity))

    def received(self, peer: Peer, request: int, message: m.Message) -> None:
        self.driver.handle(Received(peer, request, message))

    def lost(self, peer: Peer) -> None:
        self.driver.handle(Lost(peer))

    def choked(self, peer: Peer, full: bool) -> None:
        self.driver.handle(Choked(peer, full))

    def _send(self, send: Send) -> None:
        self.plane.send(send.peer, send.message, send.request)

    def _close(self, peer: Peer, reason: str) -> None:
        log.warning("peer %d dropped: %s", peer, reason)
        self.plane.close(peer)

    def _perform(self, effect: Effect) -> None:
        raise AssertionError(f"no way to do {effect}")

    def _store_failed(self, error: FlameError) -> None:
        """Placing goes on without its journal; agents and managers know everything that matters. It is written again when it can be."""
        if not isinstance(error, StorageFull):
            self.stopping.set()
            raise error
        task = self.loop.create_task(self._write_again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_again(self) -> None:
        position = self.driver.position
        self.reactor.book.storage = "storage full: tenants, tokens and cordons cannot be kept"
        self.driver.stop()
        forgetful, self.store = self.store, MemoryStore()
        self.driver = self._make_driver()
        self.driver.position = position
        while True:
            await asyncio.sleep(PROBE_EVERY)
            with contextlib.suppress(StorageFull):
                await asyncio.to_thread(forgetful.probe)
                break
        await self.driver.settled()
        self.driver.stop()
        self.store = forgetful
        position = self.driver.position
        self.driver = self._make_driver()
        self.driver.position = position
        await self.driver.compact(self.reactor.snapshot())
        self.reactor.book.storage = ""
