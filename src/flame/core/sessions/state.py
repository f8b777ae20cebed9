"""What the session manager knows, and the small verbs every part of it uses.

Durable state (sessions, tables, apps) changes only in `apply.py`. The rest (executors, peers, queues, timers) is rebuilt from who connects.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flame.core.base.errors import NotFound
from flame.core.base.ids import shown
from flame.core.model import access
from flame.core.model.messages import (
    AppInfo,
    ClusterChanged,
    DemandChanged,
    EventInfo,
    Hello,
    Identity,
    Message,
    SessionSpec,
    TenantInfo,
    TokenInfo,
    Welcome,
)
from flame.core.model.reactor import COMMITTED, NOW, Effect, Peer, Persist, Send
from flame.core.model.states import ExecutorState, SessionState
from flame.core.sessions.queue import RunQueue
from flame.core.sessions.records import EventHappened, Record
from flame.core.sessions.table import Load, TaskTable

__all__ = ["COMMITTED", "NOW", "Core", "Executor", "Fetch", "Handout", "Session", "Settings", "Submitter"]


@dataclass(frozen=True)
class Settings:
    """Limits and times of the session manager; seconds unless said otherwise."""

    default_resources: Mapping[str, int] = field(default_factory=lambda: {"cpu": 1000, "memory": 1 << 30})
    """Of a session that names none."""
    credit: float = 0.004
    """Work handed to an executor ahead, in measured task time."""
    credit_away: float = 0.02
    """The same for an executor on another machine: frames take longer to it, and fewer large ones cost less."""
    long_task: float = 0.02
    """A task that runs longer has nothing prefetched behind it; executors report it after this time."""
    adopt_grace: float = 1.0
    """How long a restarted manager waits for executors to come back before it hands their tasks out again."""
    settle: float = 1.0
    """How long a lost executor's tasks wait for the agent's report."""
    owner_grace: float = 60.0
    """How long an owned session outlives its client."""
    cancel_grace: float = 1.0
    """Between the cooperative signal and the end of the executor process."""
    start_limit: float = 60.0
    """How long a granted executor may take to connect, and a gRPC service to listen."""
    enter_limit: float = 60.0
    """How long a service may take to enter a session."""
    leave_limit: float = 10.0
    """How long an executor may take to leave once its last task has ended."""
    shim_slack: float = 10.0
    """The gRPC shim keeps these limits itself and says more: for its services ours come this much later."""
    max_losses: int = 3
    """Executors one task may kill before it fails."""
    retry_limit: int = 5
    """Failed binds of a session before it gets no new executors."""
    max_backoff: float = 30.0
    idle_check: float = 0.01
    """A lower demand, and idle executors, are told to the allocator after this pause."""
    shard: int = 0
    shards: tuple[str, ...] = ()
    """Addresses of all session managers, when there are several, and which of them this is."""
    max_queued: int | None = 50_000_000
    """Tasks of all tenants that have not ended; None: no limit."""
    max_bytes: int | None = None
    """Bytes of their payloads; None: no limit."""
    max_sessions: int | None = None
    """Closed sessions beyond this many in all are dropped, oldest first; None keeps them."""


class Fetch(Effect):
    """Read these journal rows and say Fetched(token, records) with them, in this order."""

    token: int
    positions: tuple[int, ...]


PROTOCOL = 1


class Handout:
    """One run of tasks given to one executor: [next, end) are still with it."""

    __slots__ = ("end", "epoch", "lease", "next")

    def __init__(self, first: int, end: int, epoch: int, lease: int) -> None:
        self.next, self.end, self.epoch, self.lease = first, end, epoch, lease


class Executor:
    """One process that serves one session."""

    __slots__ = (
        "away", "blocked", "handouts", "id", "idle_since", "idle_told", "killed", "leaving", "lost_at", "mean", "node", "outstanding",
        "peer", "recalling", "seq", "session", "started", "state", "token",
    )  # fmt: skip

    def __init__(self, id: str, session: str, token: str, node: str) -> None:
        self.id, self.session, self.token, self.node = id, session, token, node
        self.peer: Peer | None = None
        self.state = ExecutorState.VOID
        self.handouts: dict[tuple[int, int], Handout] = {}
        #: tasks with it; always the sum over handouts
        self.outstanding = 0
        #: measured seconds a task; 0 until the first is done
        self.mean = 0.0
        #: last recorded frame
        self.seq = 0
        #: the task that runs longer than 20 ms, or 0
        self.started = 0
        self.recalling = False
        self.blocked = False
        self.leaving = False
        self.away = False
        #: it dies by our hand: its current task is not to blame
        self.killed = False
        self.lost_at = 0.0
        self.idle_since = 0.0
        self.idle_told = False

    @property
    def usable(self) -> bool:
        return (
            self.peer is not None
            and self.state == ExecutorState.BOUND
            and not (self.leaving or self.blocked or self.started or self.recalling)
        )


class Submitter:
    """A client that submitted tasks to a session and gets their results."""

    __slots__ = ("client", "cursor", "fetching", "frames", "has", "last", "wants")

    def __init__(self, client: str, wants: bool) -> None:
        self.client = client
        #: index into the table's outcomes: what is before has been sent (or it has it)
        self.cursor = 0
        #: last submit key, and the answers to the latest ones
        self.last = 0
        self.frames: deque[tuple[int, int, int]] = deque(maxlen=128)  # seq, first, count
        #: does it want Results pushed (gRPC clients watch instead)
        self.wants = wants
        self.fetching = False
        #: after a reconnect: pairs of tasks whose results it has
        self.has: list[tuple[int, int]] = []


class Session:
    __slots__ = (
        "adopt_until", "alias", "archive", "blobs", "closed", "closers", "created", "delayed", "demand", "demand_due", "events",
        "executors", "failures", "held", "id", "mode", "owner", "peak", "queue", "queued", "reasons", "recovered", "running",
        "spec", "state", "submitters", "table", "totals", "watchers",
    )  # fmt: skip

    def __init__(self, id: str, alias: int, spec: SessionSpec, created: float, owner: str) -> None:
        self.id, self.alias, self.spec, self.created, self.owner = id, alias, spec, created, owner
        self.state = SessionState.OPEN
        #: how it is closing; "" while it is not
        self.mode = ""
        self.closed: float | None = None
        self.table = TaskTable()
        #: journal position of the columns once they left memory, else 0
        self.archive = 0
        #: shared bytes by digest, while the session is open
        self.blobs: dict[str, bytes] = {}
        #: counters of an archived session
        self.totals: tuple[int, ...] = ()
        self.events: deque[EventHappened] = deque(maxlen=1000)
        # volatile from here
        self.queue = RunQueue()
        #: pending tasks in the queue (cancelled ones in its ranges do not count)
        self.queued = 0
        self.executors: dict[str, Executor] = {}
        self.submitters: dict[str, Submitter] = {}
        #: tasks reported started -> executor id
        self.running: dict[int, str] = {}
        #: tasks that pause before a retry -> when they wake
        self.delayed: dict[int, float] = {}
        self.watchers: dict[int, list[tuple[Peer, int]]] = {}
        #: who waits for the session to be closed: peer, request
        self.closers: list[tuple[Peer, int]] = []
        self.demand: DemandChanged | None = None
        self.demand_due = False
        #: the most executors it could have used since the demand was last looked at
        self.peak = 0
        self.failures = 0
        self.held = False
        self.adopt_until = 0.0
        #: tasks the journal had when the manager started
        self.recovered = 0
        self.reasons: tuple[EventInfo, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        return self.totals if self.archive else tuple(self.table.counts)


class Core:
    """State of the reactor. Parts (`intake`, `dispatch`, ...) are functions over it; `out` collects the effects of one event."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = 0.0
        self.epoch = 0
        self.history = ""
        self.position = 0
        self.leases = 0
        self.sessions: dict[str, Session] = {}
        self.aliases: dict[int, str] = {}
        self.last_alias = 0
        self.apps: dict[str, AppInfo] = {}
        self.executors: dict[str, Executor] = {}
        #: connections: executor peers, clients by id, what was said at hello
        self.peers: dict[Peer, Hello] = {}
        self.who: dict[Peer, Identity] = {0: access.LOCAL}  # 0: the process itself
        self.serving: dict[Peer, Executor] = {}
        self.clients: dict[str, Peer] = {}
        self.choked: dict[Peer, bool] = {}
        self.allocator: Peer | None = None
        #: executors that said hello before their grant was known: placement -> peer
        self.strangers: dict[str, Peer] = {}
        self.watches: dict[tuple[Peer, int], tuple[str, int]] = {}
        #: as the allocator told; None until it has: then no token can be judged
        self.tokens: dict[str, TokenInfo] | None = None  # by digest
        self.tenants: dict[str, TenantInfo] = {}
        self.loads: dict[str, Load] = {}
        #: questions that the allocator answers: number -> peer, request, message
        self.relayed: dict[int, tuple[Peer, int, Message]] = {}
        self.last_relay = 0
        self.cluster = ClusterChanged((), ())
        self.storage = "ok"
        self.durability = "memory"
        self.release = ""
        self.started_at = 0.0
        self.fetches: dict[int, Callable[[list[Record]], None]] = {}
        self._fetch = 0
        self.timers: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._timer = 0
        self.out: list[Effect] = []
        #: sessions touched by this event: fed and measured once at its end
        self.touched: dict[str, Session] = {}
        self.apply: Callable[[Core, Record, int], None] = _no_apply

    # -- effects -------------------------------------------------------------------------------------------------------

    def persist(self, record: Record) -> int:
        """Make it so, now in memory and with the next commit on disk. Returns the journal position."""
        self.position += 1
        self.out.append(Persist(record))
        self.apply(self, record, self.position)
        return self.position

    def send(self, peer: Peer | None, message: Message, request: int = 0, when: int = COMMITTED) -> None:
        if peer is not None and peer in self.peers:
            self.out.append(Send(peer, message, request, when))

    def welcome(self, peer: Peer) -> None:
        """Said to clients at once, to executors when they are let in: then they say again what they have."""
        settings = self.settings
        welcome = Welcome(
            PROTOCOL,
            self.epoch,
            self.history,
            self.durability,
            release=self.release,
            shard=settings.shard,
            shards=settings.shards,
        )
        self.send(peer, welcome, when=NOW)

    def tell(self, message: Message) -> None:
        """To the allocator, when it is connected; it hears everything again when it comes back."""
        if self.allocator is not None:
            self.out.append(Send(self.allocator, message, 0, NOW))

    def fetch(self, positions: tuple[int, ...], then: Callable[[list[Record]], None]) -> None:
        self._fetch += 1
        self.fetches[self._fetch] = then
        self.out.append(Fetch(self._fetch, positions))

    def timer(self, at: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(core, *args)` when `at` has come. Timers are never taken back: what they call looks first."""
        self._timer += 1
        heapq.heappush(self.timers, (at, self._timer, call, args))

    def touch(self, session: Session) -> None:
        self.touched[session.id] = session

    # -- lookups -------------------------------------------------------------------------------------------------------

    @property
    def next_alias(self) -> int:
        """Numbers of several session managers never meet."""
        count = max(1, len(self.settings.shards))
        alias = self.last_alias + 1
        return alias + (self.settings.shard - (alias - 1)) % count

    def load(self, tenant: str) -> Load:
        """The counters of a tenant."""
        found = self.loads.get(tenant)
        if found is None:
            found = self.loads[tenant] = Load()
        return found

    def session(self, peer: Peer, id: str) -> Session:
        """What this peer means by an id or a numeric alias. Raises NotFound, also for what it may not see."""
        who = self.who[peer]
        found = access.lookup(who, id, self.sessions)
        if found is None and len(id) < 19 and id.isdecimal():
            found = self.sessions.get(self.aliases.get(int(id), ""))
            if found is not None and not access.reaches(who, found.spec.tenant):
                found = None
        if found is None:
            raise NotFound(f"session {shown(id)} not found", hint="`flmctl list -s` shows the sessions")
        return found

    def event(self, session: Session, code: int, reason: str, message: str) -> None:
        self.persist(EventHappened(session.id, code, reason, message, self.now))


def _no_apply(core: Core, record: Record, position: int) -> None:
    raise NotImplementedError
