"""The allocator's process: a reactor, its journal, a listener for agents and managers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
from flame.platform.memory import keep_small, one_arena
from flame.shell.candidacy import Candidacy
from flame.shell.driver import PROBE_EVERY, Clock, Driver
from flame.shell.gate import UNIX
from flame.shell.listener import AGENTS, MachineServer, Public
from flame.shell.plane import Handler, Plane
from flame.store.engines import make_store
from flame.store.memory import MemoryStore
from flame.store.port import Row, Store

log = logging.getLogger("flame.allocator")

COMPACT_ROWS = 2000
COMPACT_CHECK = 30.0


@dataclass
class AllocatorConfig:
    cluster: ClusterConfig
    listener: socket.socket
    public: Public | None = None
    """How it listens beyond this machine."""
    address: str = ""
    """Its unix socket."""
    reached: bool = False
    """Do other machines reach the cluster?"""
    may_wait: bool = False
    """Stand by while another process leads, instead of giving up."""
    waits: Callable[[], None] = lambda: None
    """Called when it stands by."""
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


def _not_kept(error: StorageFull) -> m.Failure:
    """To who asked for a change that is in force, and will be kept with everything else once there is room."""
    return m.Failure(error.code, error.message, "the change is in force but not on disk yet; make room and ask again")


def parse(text: str) -> tuple[Any, Mapping[str, int]]:
    """YAML, once somebody has stored some: reading it takes longer to load than an allocator needs to start."""
    from flame.wire import manifests

    return manifests.parse(text)


class _Timed:
    """The reactor, telling it what its last cycle cost (the core has no clock)."""

    def __init__(self, reactor: Allocator) -> None:
        self._reactor = reactor

    def handle(self, event: Event, now: float) -> list[Effect]:
        begin = (
            time.thread_time()
        )  # of the processor: a process that was stopped, or had to wait, did not work meanwhile
        effects = self._reactor.handle(event, now)
        self._reactor.cycle_cost = time.thread_time() - begin
        return effects

    def deadline(self) -> float | None:
        return self._reactor.deadline()


class AllocatorProcess(Handler):
    def __init__(self, config: AllocatorConfig) -> None:
        self.config = config
        cluster = config.cluster
        self.store: Store = make_store(cluster.storage, cluster.data_dir, "allocator", cluster.durability)
        self._kept = self.store
        self.reactor = Allocator(
            lambda kind: str(uuid.uuid4()),
            lambda: PREFIX + secrets.token_urlsafe(32),
            AllocatorSettings(default_resources=cluster.resources, reached=config.reached),
            make_policy(SchedulingSettings(plugins=tuple(cluster.policies))),
            parse,
        )
        self.plane = Plane(self, first=1000)
        self.loop = asyncio.get_running_loop()
        #: one for the life of the process: a driver that is made anew must not take a wall clock that has jumped
        self.clock = Clock()
        self.driver = self._make_driver()
        self.stopping = asyncio.Event()
        self.failure: FlameError | None = None
        """Why the process ends by itself."""
        self._candidacy: Candidacy | None = None
        self._covered = 0
        #: the store cannot write; until it can, nothing is kept
        self._forgetful = False
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_driver(self) -> Driver:
        return Driver(
            _Timed(self.reactor), self.store, encode=encode_row, send=self._send, close=self._close, perform=self._perform,
            failed=self._store_failed, loop=self.loop, clock=self.clock,
        )  # fmt: skip

    async def _lead(self) -> None:
        """With a shared database only one allocator goes on; the others wait here."""
        config = self.config
        if config.cluster.storage is None:
            return
        reached = [config.address]
        if config.public is not None:
            reached.append(str(config.public.advertised(AGENTS)))
        self._candidacy = Candidacy(config.cluster.storage, "allocator", reached, self._give_up)
        await self._candidacy.run([(config.listener, UNIX)], config.may_wait, config.waits)

    async def run(self) -> None:
        one_arena()
        await self._lead()
        opened = self.store.open(secrets.token_hex(8))
        covered, snapshot = self.store.snapshot()
        now = self.driver.clock()
        for row in snapshot:
            self.reactor.handle(Recorded(covered, decode_row(row)), now)
        last = covered
        for row in self.store.rows(covered):
            self.reactor.handle(Recorded(row.position, decode_row(row)), now)
            last = row.position
        self.driver.position, self._covered = last, covered
        self.reactor.begin(now, opened.epoch)
        gc.freeze()  # what was recovered stays: no collection should look at it again
        self.plane.serve(self.config.listener, UNIX)
        remote = await self._serve_machines()
        self.config.ready(opened.epoch)
        upkeep = [
            self.loop.create_task(work)
            for work in (self._compact_by_itself(), keep_small(lambda: self.driver.position))
        ]
        self._tasks.update(upkeep)
        await self.stopping.wait()
        for task in upkeep:
            task.cancel()
        if self.failure is None:
            with contextlib.suppress(asyncio.TimeoutError, FlameError):
                await asyncio.wait_for(self.driver.settled(), 2)
        if remote is not None:
            await remote.stop()
        self.plane.stop()
        self.driver.stop()
        self._kept.close()
        if self._candidacy is not None:
            await self._candidacy.stop()
        if self.failure is not None:
            raise self.failure

    async def _serve_machines(self) -> MachineServer | None:
        if self.config.public is None:
            return None
        server = MachineServer(self.plane, ("agent", "manager"))
        await server.start(self.config.public.bound(AGENTS), self.config.public.credentials(require_client=True))
        return server

    async def _compact_by_itself(self) -> None:
        while True:
            await asyncio.sleep(COMPACT_CHECK)
            if self.driver.position - self._covered > COMPACT_ROWS and not self._forgetful:
                with contextlib.suppress(FlameError):
                    self._covered = await self.driver.compact(self.reactor.snapshot())

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
            self._give_up(error)
            return
        self.reactor.book.storage = "storage full: tenants, tokens and cordons cannot be kept"
        unsent = self.driver.unsent
        if self.store is not self._kept:
            self._give_up(error)  # memory is never full
            return
        self._use(MemoryStore())
        for send in unsent:  # a request is told; what placing needs goes out
            self._send(Send(send.peer, _not_kept(error), send.request) if send.request else send)
        if not self._forgetful:
            self._forgetful = True
            task = self.loop.create_task(self._write_again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _give_up(self, error: FlameError) -> None:
        log.critical("the store failed: %s", error)
        self.failure = error
        self.stopping.set()

    async def _write_again(self) -> None:
        """Ends with a snapshot: what happened meanwhile is in no row."""
        try:
            while self._forgetful:
                await self._until_writable(self._kept)
                await self.driver.settled()
                forgetful = self.driver
                self._use(self._kept)
                for send in forgetful.unsent:  # what was done since it had settled is in the snapshot
                    self._send(send)
                with contextlib.suppress(StorageFull):
                    self._covered = await self.driver.compact(self.reactor.snapshot())
                    self._forgetful = self.store is not self._kept  # a batch failed meanwhile: once more
        except FlameError as error:
            self._give_up(error)
            return
        self.reactor.book.storage = ""

    async def _until_writable(self, store: Store) -> None:
        while True:
            await asyncio.sleep(PROBE_EVERY)
            with contextlib.suppress(StorageFull):
                await asyncio.to_thread(store.probe)
                return

    def _use(self, store: Store) -> None:
        position = self.driver.position
        self.driver.stop()
        self.store = store
        self.driver = self._make_driver()
        self.driver.position = position
        self.driver.perform(())  # its timer
