"""The session manager's process: a reactor, its journal, the plane's listeners, the connection to the allocator.

Nothing slow runs in its loop. When the store cannot write, everything uncommitted is forgotten and read again from the store; until it
can write, only what changes nothing is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from flame.core.base.errors import FlameError, ProtocolError, StorageCorrupt, StorageFull, StorageUnreachable
from flame.core.model import messages as m
from flame.core.model.access import LOCAL
from flame.core.model.reactor import (
    Audit,
    Choked,
    Effect,
    Joined,
    Keep,
    Lost,
    Peer,
    ReadLines,
    Received,
    Recorded,
    Send,
)
from flame.core.sessions import records as r
from flame.core.sessions.reactor import Admit, Fetch, Fetched, Sessions, Settings, StorageChanged
from flame.manager.admission import admission
from flame.manager.apps import built_in_apps
from flame.manager.audit import AuditLog
from flame.manager.desk_lines import LocalDesk
from flame.manager.logbook import LogBook
from flame.ops.config import ClusterConfig
from flame.ops.limits import ENTER, LEAVE, START, limit
from flame.platform.memory import keep_small, one_arena, resident_bytes, trim
from flame.shell.address import Address
from flame.shell.candidacy import Candidacy, led_at
from flame.shell.driver import PROBE_EVERY, Clock, Driver, retryable
from flame.shell.gate import Gate
from flame.shell.listener import Public
from flame.shell.plane import Dialler, Handler, Plane
from flame.store.engines import make_store
from flame.store.port import Row

if TYPE_CHECKING:
    from flame.shell.carrier import Remote

log = logging.getLogger("flame.manager")

COMPACT_CHECK = 2.0
"""Seconds between two looks at how many rows there are behind the snapshot."""
TRIM_TASKS, TRIM_PAUSE = 50_000, 0.1
"""After a session of so many tasks has closed, its memory is given back to the system."""
ALLOCATOR: Peer = 1
"""The allocator's peer number; connections count from 1000."""


@dataclass
class ManagerConfig:
    cluster: ClusterConfig
    address: Address
    allocator: Address
    shard: int = 0
    shards: tuple[str, ...] = ()
    """Addresses of all session managers, when there are several, and which of them this is."""
    listeners: list[tuple[socket.socket, Gate]] = field(default_factory=list)
    """Listening sockets with who comes that way, made by the supervisor so that a restart keeps them."""
    compat: Address | None = None
    """Where published clients that can send no token are served."""
    public: Public | None = None
    """How it listens beyond this machine."""
    gate: Gate = field(default_factory=Gate)
    """Who comes by TLS."""
    release: str = ""
    may_wait: bool = False
    """Stand by while another process leads, instead of giving up."""
    waits: Callable[[], None] = lambda: None
    """Called when it stands by."""
    ready: Callable[[int, str | None], None] = lambda epoch, compat: None
    """Called once the plane is open: epoch, and host:port of the compat listener."""


def encode_row(record: r.Record) -> tuple[str, int, bytes]:
    return r.session_of(record), r.VERSION, r.encode_record(record)


def decode_row(row: Row) -> r.Record:
    """Raises StorageCorrupt for a version or a tag this release does not know."""
    if row.version != r.VERSION:
        raise StorageCorrupt(
            f"row {row.position} has version {row.version}; this release reads {r.VERSION}", hint="upgrade step by step"
        )
    try:
        return r.decode_record(row.body)
    except msgspec.DecodeError as error:
        raise StorageCorrupt(f"row {row.position} cannot be read: {error}") from None


class ManagerProcess(Handler):
    """Owns everything above; `run` returns when it is told to stop."""

    def __init__(self, config: ManagerConfig) -> None:
        self.config = config
        cluster = config.cluster
        #: also the name of its journal
        self.role = f"sessions-{config.shard}"
        self._candidacy: Candidacy | None = None
        self.store = make_store(cluster.storage, cluster.data_dir, self.role, cluster.durability)
        self.plane = Plane(self, first=1000)
        self.loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.logs = LogBook(config.cluster.data_dir / "logs" / "tasks")
        self.audit = AuditLog(
            config.cluster.data_dir / "logs" / f"audit{f'-{config.shard}' if config.shard else ''}.jsonl"
        )
        self.desk = LocalDesk(self)
        self.allocator = self._dial()
        self.stopping = asyncio.Event()
        self.sealed = False
        self._servers: list[Any] = []
        self.failure: FlameError | None = None
        """Why the process ends by itself; its supervisor decides what to do about it."""
        self.reactor: Sessions
        self.driver: Driver
        self._recovery = 0
        self._trimming = False
        self._covered = 0
        self._gone: list[tuple[str, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        one_arena()
        await self._lead()
        opened = self.store.open(secrets.token_hex(8))
        if opened.lost:
            log.warning("the machine went down under `process` durability: a new history %s begins", opened.history)
        self._load()
        self._begin(opened.epoch, opened.history)
        self._register_built_ins()
        for sock, gate in self.config.listeners:
            self.plane.serve(sock, gate)
        self.allocator.start()
        await self.driver.settled()
        if self.config.public is None:  # those on this machine need not wait for gRPC
            self.config.ready(opened.epoch, None)
        compat = await self._serve_grpc()
        if compat or self.config.public is not None:
            self.config.ready(opened.epoch, compat)
        self._spawn(self._compact_by_itself())
        self._spawn(keep_small(lambda: self.driver.position))
        await self.stopping.wait()
        await self._stop()
        if self.failure is not None:
            raise self.failure

    async def _lead(self) -> None:
        """With a shared database only one process of a role goes on; the others wait here."""
        config = self.config
        if config.cluster.storage is None:
            return
        reached = [self._address()]
        if config.public is not None:
            reached.append(str(config.public.advertised()))
        self._candidacy = Candidacy(config.cluster.storage, self.role, reached, self._give_up)
        await self._candidacy.run(config.listeners, config.may_wait, config.waits)

    async def _serve_grpc(self) -> str | None:
        """After the plane: loading grpc takes longer than everything before. Returns where the compat listener is."""
        config = self.config
        if config.public is not None:
            from flame.manager.grpc.server import ClientServer
            from flame.shell.listener import MACHINES, MachineServer

            public, gate = config.public, config.gate
            clients = ClientServer(
                self.desk, gate, lambda context: self.plane.take_call(context, gate), lambda: self.driver.settled(),
                public.credentials(require_client=config.cluster.client_certificates),
            )  # fmt: skip
            machines = MachineServer(self.plane, ("agent",))
            self._servers += [clients, machines]
            await clients.start(public.bound())
            await machines.start(public.bound(MACHINES), public.credentials(require_client=True))
        if config.compat is None:
            return None
        from flame.manager.grpc.server import CompatServer

        server = CompatServer(self.desk, self._compat_credentials if config.compat.tls else None)
        self._servers.append(server)
        await server.start(config.compat.host, config.compat.port)
        return server.address

    def _compat_credentials(self) -> Any:
        from flame.security.tls import server_credentials

        certs = self.config.cluster.data_dir / "certs"
        return server_credentials(certs / "server.pem", certs / "ca.pem", False)

    async def _stop(self) -> None:
        for server in self._servers:
            await server.stop()
        if self.failure is None:
            with contextlib.suppress(asyncio.TimeoutError, FlameError):
                await asyncio.wait_for(self.driver.settled(), 5)
        self.allocator.stop()
        self.plane.stop()
        self.driver.stop()
        for task in self._tasks:
            task.cancel()
        self.logs.close()
        self.audit.close()
        self.store.close()
        if self._candidacy is not None:
            await self._candidacy.stop()

    def _load(self) -> None:
        """Snapshot, then what it left on disk, then the rows behind it. Raises StorageCorrupt."""
        cluster = self.config.cluster
        settings = Settings(
            shard=self.config.shard, shards=self.config.shards,
            default_resources=cluster.resources, retry_limit=cluster.retry_limits, max_sessions=cluster.max_sessions,
            start_limit=limit(START, Settings.start_limit), enter_limit=limit(ENTER, Settings.enter_limit),
            leave_limit=limit(LEAVE, Settings.leave_limit),
        )  # fmt: skip
        self.reactor = Sessions(
            settings, address=self._address(), release=self.config.release, durability=self.store.durability
        )
        self.driver = Driver(
            self.reactor, self.store, encode=self._encode, send=self._send, close=self._close, perform=self._perform,
            failed=self._store_failed, loop=self.loop, clock=self.clock,
        )  # fmt: skip
        covered, snapshot = self.store.snapshot()
        now = self.clock()
        for row in snapshot:
            self.reactor.handle(Recorded(covered, decode_row(row)), now)
        missing = self.reactor.missing()
        for position, row in zip(missing, self.store.read(missing), strict=True):
            self.reactor.reload(position, decode_row(row))
        last = self._covered = covered
        for row in self.store.rows(covered):
            record = decode_row(row)
            self.reactor.handle(Recorded(row.position, record), now)
            self._note(record, row.position)
            last = row.position
        self.reactor.core.position = self.driver.position = last

    def _address(self) -> str:
        """Where executors reach this plane: on this machine, and from others."""
        where = [str(self.config.address)]
        if self.config.public is not None:
            from flame.shell.listener import MACHINES

            where.append(str(self.config.public.advertised(MACHINES)))
        return ",".join(where)

    def _begin(self, epoch: int, history: str) -> None:
        self.epoch, self.history = epoch, history
        self.driver.perform(self.reactor.begin(epoch, history, self.clock()))

    def _register_built_ins(self) -> None:
        for name, spec in built_in_apps(self.config.cluster.delay_release).items():
            self.driver.handle(Received(0, 0, m.RegisterApp(name, spec, if_absent=True)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the plane ---------------------------------------------------------------------------------------------------------

    def joined(self, peer: Peer, hello: m.Hello, identity: m.Identity | None) -> None:
        if hello.role not in ("client", "executor"):
            self.plane.connections[peer].refuse(
                ProtocolError(f"the session manager has nothing for a {hello.role[:64]!r}")
            )
            return
        if self.sealed and hello.role == "executor":
            self.plane.close(peer)  # it keeps what it has and comes again
            return
        self.driver.handle(Joined(peer, hello, identity))

    def received(self, peer: Peer, request: int, message: m.Message) -> None:
        if self.sealed and type(message) not in READS:
            full = self.reactor.core.storage
            self._send(
                Send(
                    peer, m.Failure("storage_full", full, "the engine goes on by itself when it can write"), request, 0
                )
            )
            return
        self.driver.handle(Received(peer, request, message))

    def lost(self, peer: Peer) -> None:
        self.driver.handle(Lost(peer))

    def choked(self, peer: Peer, full: bool) -> None:
        self.driver.handle(Choked(peer, full))

    def _send(self, send: Send) -> None:
        if send.peer == ALLOCATOR:
            self.allocator.send(send.message, send.request)
        elif send.peer in self.desk.lines:
            self.desk.lines[send.peer].deliver(send.request, send.message)
        else:
            message = send.message
            if type(message) is m.Status:
                message = msgspec.structs.replace(message, memory=resident_bytes())
            self.plane.send(send.peer, message, send.request)

    def _close(self, peer: Peer, reason: str) -> None:
        log.warning("peer %d dropped: %s", peer, reason)
        if not self.desk.dismiss(peer):
            self.plane.close(peer)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Fetch():
                self._spawn(self._fetch(effect))
            case Keep():
                self.logs.write(effect.line)
            case ReadLines():
                lines = self.logs.read(effect.session, effect.no)
                self._send(Send(effect.peer, m.LogList(tuple(lines)), effect.request, 0))
            case Audit():
                self.audit.write(effect)
            case Admit():
                self._spawn(self._admit(effect))
            case _:
                raise AssertionError(f"no way to do {effect}")

    async def _admit(self, effect: Admit) -> None:
        """Sign the request of a machine that joins."""
        try:
            answer: m.Message = await asyncio.to_thread(admission, self.config.cluster, effect.join)
        except FlameError as error:
            answer = m.Failure(error.code, error.message, error.hint)
        self._send(Send(effect.peer, answer, effect.request, 0))

    async def _fetch(self, effect: Fetch) -> None:
        driver = self.driver
        try:
            await driver.settled()
        except FlameError:
            return  # the reactor that asked is gone with its memory
        while True:
            try:
                rows = await asyncio.to_thread(self.store.read, effect.positions)
                break
            except StorageUnreachable:
                await asyncio.sleep(PROBE_EVERY)
            if driver is not self.driver:
                return
        if driver is self.driver:
            driver.handle(Fetched(effect.token, tuple(decode_row(row) for row in rows)))

    # -- the allocator -------------------------------------------------------------------------------------------------------

    def _dial(self) -> Dialler:
        return Dialler(
            self._allocators(),
            self._hello,
            self._from_allocator,
            self._allocator_up,
            self._allocator_down,
            self._remote,
        )

    def _allocators(self) -> Any:
        """Ours; with a shared database whichever leads."""
        storage = self.config.cluster.storage
        return (self.config.allocator,) if storage is None else lambda: led_at(storage, "allocator")

    def _remote(self, address: Address) -> Remote:
        from flame.shell.carrier import Remote

        certs = self.config.cluster.data_dir / "certs"
        return Remote(address, certs / "ca.pem", certs / "manager.pem")

    def _hello(self) -> m.Hello:
        return m.Hello("manager", client_id=f"manager-{self.epoch}")

    def _allocator_up(self) -> None:
        self.driver.handle(Joined(ALLOCATOR, m.Hello("allocator"), LOCAL))

    def _allocator_down(self) -> None:
        self.driver.handle(Lost(ALLOCATOR))

    def _from_allocator(self, request: int, message: m.Message) -> None:
        self.driver.handle(Received(ALLOCATOR, request, message))

    # -- the store -----------------------------------------------------------------------------------------------------------

    def _encode(self, record: r.Record) -> tuple[str, int, bytes]:
        self._note(record, self.driver.position)
        return encode_row(record)

    def _note(self, record: r.Record, position: int) -> None:
        """Rows of a deleted session go with the next snapshot; a large closed one leaves memory to give back."""
        if isinstance(record, r.SessionDeleted):
            self._gone.append((record.id, position))
            self.logs.drop(record.id)
        elif isinstance(record, r.SessionArchived) and sum(record.saved.counts) > TRIM_TASKS:
            self._trim_soon()

    def _trim_soon(self) -> None:
        if not self._trimming:
            self._trimming = True
            self.loop.call_later(TRIM_PAUSE, self._trim)

    def _trim(self) -> None:
        self._trimming = False
        trim()

    def _store_failed(self, error: FlameError) -> None:
        """Drop the memory, read it again; answer only reads until a probe can write. What else goes wrong there ends the process."""
        if not retryable(error):
            self._give_up(error)
            return
        self.sealed = True
        kind = "unreachable" if isinstance(error, StorageUnreachable) else "full"
        said = f"storage {kind}: {error.message}" if isinstance(error, StorageFull) else error.message
        self.reactor.core.storage = said
        self._recovery += 1
        self._spawn(self._recover(said, self._recovery))

    def _give_up(self, error: FlameError) -> None:
        log.critical("the store failed: %s", error)
        self.failure = error
        self.stopping.set()

    async def _recover(self, said: str, turn: int) -> None:
        """`turn`: a failure that comes meanwhile begins another recovery and ends this one."""
        self.allocator.stop()
        self.driver.stop()
        self._gone.clear()
        while True:
            self.plane.drop_all()
            self.desk.drop()
            try:
                await asyncio.to_thread(self.store.read, ())  # is it there at all?
                if turn != self._recovery:
                    return
                self.plane.drop_all()  # who came meanwhile was not heard
                self.desk.drop()
                self._load()
                break
            except FlameError as error:
                if not retryable(error):
                    self._give_up(error)
                    return
            await asyncio.sleep(PROBE_EVERY)
        core = self.reactor.core
        core.epoch, core.history = self.epoch, self.history
        self.driver.handle(StorageChanged(said))
        while self.sealed:
            await asyncio.sleep(PROBE_EVERY)
            try:
                await asyncio.to_thread(self.store.probe)
                self.sealed = turn != self._recovery
            except FlameError as error:
                if not retryable(error):
                    self._give_up(error)
            if turn != self._recovery or self.failure is not None:
                return
        log.warning("the store can write again")
        self.driver.handle(StorageChanged("ok"))
        self._begin(self.epoch, self.history)
        self._register_built_ins()
        self.plane.drop_all()
        self.allocator = self._dial()  # a new connection: the allocator says again what it granted
        self.allocator.start()
        self._trim_soon()  # the memory before is garbage

    async def _compact_by_itself(self) -> None:
        while True:
            await asyncio.sleep(COMPACT_CHECK)
            if not self.sealed and self.driver.position - self._covered > self.config.cluster.compact_rows:
                await self.compact()

    async def compact(self) -> None:
        """Write a snapshot of now and drop the control rows it covers, while everything goes on."""
        gone, self._gone = self._gone, []
        try:
            self._covered = await self.driver.compact(self.reactor.snapshot(), gone)
        except FlameError as error:
            self._gone = gone + self._gone
            log.warning("no snapshot: %s", error)


READS = frozenset((
    m.GetSession, m.ListSessions, m.GetTask, m.ListTasks, m.GetApp, m.ListApps, m.ListNodes, m.ListExecutors, m.GetStatus,
    m.Explain, m.WatchTask, m.Unwatch, m.GetLogs, m.FetchBlob, m.Resume, m.WhoAmI, m.ListTokens, m.ListTenants, m.Submit,
))  # fmt: skip
"""What the reactor answers while the store cannot write. Submit, too: a frame that was committed before must not be refused, or it would
come again as another one; the reactor itself refuses those that are new."""
