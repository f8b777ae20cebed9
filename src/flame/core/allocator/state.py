"""What the allocator knows. Records change `known` and `events`; everything else is rebuilt from who connects."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from flame.core.allocator.holdings import Holdings, no_parse
from flame.core.allocator.records import (
    EventNoted,
    NodeCordoned,
    NodeReleased,
    NodeSeen,
    Record,
    TenantDropped,
    TenantKept,
    TokenKept,
    TokenRevoked,
)
from flame.core.allocator.settings import AllocatorSettings
from flame.core.model.lifecycle import NODE, PLACEMENT
from flame.core.model.messages import (
    DemandChanged,
    EventInfo,
    Identity,
    Message,
    NodeInfo,
    PlacementGone,
    RegisterNode,
    TenantInfo,
    TokenInfo,
)
from flame.core.model.reactor import COMMITTED, NOW, Effect, Peer, Persist, Send
from flame.core.model.resources import Gpu, add, sub
from flame.core.model.states import ExecutorState, NodeState, PlacementState
from flame.core.objects.records import ObjectGone, ObjectKept, ObjectsSeen
from flame.core.objects.settings import Parse
from flame.core.scheduler.hooks import Policy
from flame.core.workloads.job import Job

NO_CHARGE: Mapping[str, int] = MappingProxyType({})


@dataclass(slots=True)
class Placement:
    """An executor process that exists or is about to. What it holds of its node is `held()`, until it is gone."""

    id: str
    session: str
    app: str
    node: str
    resources: Mapping[str, int]
    since: float
    token: str = ""
    address: str = ""
    """Of the session manager it was started for: the only one it can serve."""
    devices: Mapping[str, int] = field(default_factory=dict)
    shim: int = 0
    state: PlacementState = PlacementState.RESERVED
    pid: int = 0
    executor: ExecutorState = ExecutorState.VOID
    idle_since: float | None = None
    lent: bool = False
    known_by: Peer | None = None
    """The connection of the manager that was told of it, or named it when it came back."""
    charged: tuple[tuple[str, ...], Mapping[str, int]] = field(default=((), NO_CHARGE))
    """The quotas that count it, and what."""
    rank: int | None = None
    """Of a replica of a workload; None: an executor of a session."""
    told: tuple[float, str] | None = None
    """Its agent was told to end it, with this grace and reason: said again to an agent that comes back."""
    zombie: bool = False
    """Everybody was told that it is gone, but its process still runs: it is being stopped and nobody hears of it again."""

    def step(self, command: str) -> None:
        self.state = PLACEMENT.step(self.state, command)

    def held(self) -> Mapping[str, int]:
        """What it takes from its node: a service that lent its slot keeps everything but the CPU."""
        return {name: n for name, n in self.resources.items() if name != "cpu"} if self.lent else self.resources


@dataclass(slots=True)
class Node:
    """A node that an agent registered on connection `peer`; None while no agent is there."""

    info: RegisterNode
    peer: Peer | None
    state: NodeState
    last_beat: float
    devices: tuple[Gpu, ...] = ()
    placements: dict[str, Placement] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    shown_beat: float = 0.0
    """The heartbeat that is shown: not every one is."""
    check_at: float = 0.0
    """When its heartbeat is looked at next."""
    lost_at: float = 0.0
    """When the connection of its agent broke, while `peer` is None."""
    overdraft: Mapping[str, int] = field(default_factory=dict)
    """How far `used` may exceed what there is: lenders came back, or the node shrank. Only ever falls until the next such event."""

    def step(self, command: str) -> None:
        self.state = NODE.step(self.state, command)

    def free(self) -> dict[str, int]:
        return sub(self.info.allocatable, self.used)

    def hold(self, amounts: Mapping[str, int]) -> None:
        self.used = add(self.used, amounts)

    def give(self, amounts: Mapping[str, int]) -> None:
        self.used = sub(self.used, amounts)
        if self.overdraft:
            over = {name: -amount for name, amount in self.free().items() if amount < 0}
            self.overdraft = {name: min(over[name], n) for name, n in self.overdraft.items() if name in over}

    def overdraw(self) -> None:
        """Accept that more is used than there is: this was not the scheduler's doing."""
        self.overdraft = {name: -amount for name, amount in self.free().items() if amount < 0}


@dataclass(slots=True)
class Tally:
    """What a tenant was given so far: dominant-share-seconds per weight. It outlives sessions."""

    weight: int = 1
    served: float = 0.0
    active: bool = False


@dataclass(slots=True)
class Demand:
    """What a session wants. `manager` is None while its session manager is away."""

    wish: DemandChanged
    manager: Peer | None
    resources: Mapping[str, int]
    placements: dict[str, Placement] = field(default_factory=dict)
    reasons: tuple[EventInfo, ...] = ()
    told: tuple[EventInfo, ...] = ()
    served: float = 0.0
    unit: float = 0.0
    accrued_at: float = 0.0
    active: bool = False
    tally: Tally = field(default_factory=Tally)
    job: Job | None = None
    """The workload that wants it; None: a session does."""

    def accrue(self, now: float) -> None:
        """Book the slot time since the last time, here and with the tenant; call before the number of placements changes."""
        given = len(self.placements) * self.unit * max(0.0, now - self.accrued_at)
        self.served += given
        self.tally.served += given * max(1, self.wish.weight) / max(1, self.tally.weight)
        self.accrued_at = now


@dataclass(slots=True)
class Manager:
    peer: Peer
    address: str = ""
    epoch: int = 0
    joined: bool = False
    shard: int = 0


class Book(Holdings):
    """All of it, and the small verbs every part of the allocator uses."""

    def __init__(
        self,
        new_id: Callable[[str], str],
        new_token: Callable[[], str],
        settings: AllocatorSettings,
        policy: Policy,
        parse: Parse = no_parse,
    ) -> None:
        super().__init__(parse, settings.reached)
        self.new_id, self.new_token, self.settings, self.policy = new_id, new_token, settings, policy
        self.now = 0.0
        self.out: list[Effect] = []
        self.roles: dict[Peer, str] = {}
        #: who it is, where a certificate told
        self.who: dict[Peer, Identity] = {}
        self.tenants: dict[str, TenantInfo] = {}
        self.tokens: dict[str, TokenInfo] = {}  # by id
        self.cordoned: dict[str, None] = {}
        #: "" or why nothing can be kept: then nothing that must be kept is taken
        self.storage = ""
        self.managers: dict[Peer, Manager] = {}
        self.nodes: dict[str, Node] = {}
        self.demands: dict[str, Demand] = {}
        self.tallies: dict[str, Tally] = {}  # by tenant
        self.placements: dict[str, Placement] = {}
        self.app_counts: dict[str, int] = {}
        # Ended placements, oldest first: what a manager that was away is told, and what agents may not bring back.
        self.gone: dict[str, PlacementGone] = {}
        self.gone_at: deque[tuple[float, str]] = deque()
        self.session_notes: dict[str, None] = {}  # sessions with events, the first ones noted first
        # Placements a manager named that no agent has registered (yet), with the manager that did.
        self.expected: dict[str, Peer] = {}
        # Sessions with running placements but no demand (yet), and until when they are kept.
        self.orphans: dict[str, float] = {}
        self.known: dict[str, NodeInfo] = {}
        self.events: dict[str, deque[EventInfo]] = {}
        self.timers: list[tuple[float, int, str, str]] = []
        self._timer_count = 0
        self.dirty = False
        self.view_changed = False
        self.reasons_changed: dict[str, None] = {}
        self.noted: Callable[[str, EventInfo, EventInfo | None], None] = lambda about, event, dropped: None
        """Called for every event: what it is about, what it is now, and which older one was forgotten for it."""

    def tally(self, tenant: str) -> Tally:
        found = self.tallies.get(tenant)
        if found is None:
            found = self.tallies[tenant] = Tally()
        info = self.tenants.get(tenant)
        found.weight = info.weight if info is not None else 1
        return found

    def say(self, peer: Peer | None, message: Message, request: int = 0) -> None:
        """Nothing the allocator says waits for its journal: what it says is about the present, not about history."""
        if peer is not None:
            self.out.append(Send(peer, message, request, NOW))

    def promise(self, peer: Peer | None, message: Message, request: int = 0) -> None:
        """Say it once everything persisted so far is committed."""
        if peer is not None:
            self.out.append(Send(peer, message, request, COMMITTED))

    def wake(self, at: float, what: str, key: str = "") -> None:
        """Have `timers.fire` look at `what` at this time; it checks then whether there is still something to do."""
        self._timer_count += 1
        heapq.heappush(self.timers, (at, self._timer_count, what, key))

    def add_demand(self, demand: Demand) -> None:
        self.demands[demand.wish.session] = demand
        if demand.job is None:
            self.fleet.sessions[demand.wish.session] = demand

    def drop_demand(self, key: str) -> Demand | None:
        self.fleet.sessions.pop(key, None)
        return self.demands.pop(key, None)

    def node_changed(self, name: str) -> None:
        """The scheduler sees this node otherwise."""
        self.fleet.node(name)
        self.dirty = True

    def changed(self) -> None:
        """Something the scheduler looks at is different."""
        self.dirty = True

    def viewed(self) -> None:
        """Something that is listed is different."""
        self.view_changed = True

    def persist(self, record: Record) -> None:
        self.out.append(Persist(record))
        self.apply(record)

    def apply(self, record: Record) -> None:
        """The only place where durable state changes, live and at recovery alike."""
        if isinstance(record, ObjectKept | ObjectGone | ObjectsSeen):
            self.commit(record)
        elif isinstance(record, NodeSeen):
            self.known[record.node.name] = record.node
        elif isinstance(record, NodeReleased):
            self.known.pop(record.name, None)
            self.events.pop(f"node/{record.name}", None)
            self.cordoned.pop(record.name, None)
        elif isinstance(record, EventNoted):
            self._note(record)
        elif isinstance(record, TenantKept):
            self.tenants[record.tenant.name] = record.tenant
        elif isinstance(record, TenantDropped):
            self.tenants.pop(record.name, None)
            self.tokens = {id: token for id, token in self.tokens.items() if token.tenant != record.name}
        elif isinstance(record, TokenKept):
            self.tokens[record.token.id] = record.token
        elif isinstance(record, TokenRevoked):
            self.tokens.pop(record.id, None)
        elif isinstance(record, NodeCordoned):
            if record.cordoned:
                self.cordoned[record.name] = None
            else:
                self.cordoned.pop(record.name, None)

    def note(self, about: str, reason: str, code: int, message: str) -> None:
        self.persist(EventNoted(about, reason, code, message, self.now))

    def _note(self, record: EventNoted) -> None:
        ring = self.events.setdefault(record.object, deque(maxlen=self.settings.max_events))
        last = ring[-1] if ring else None
        dropped = ring[0] if len(ring) == ring.maxlen else None
        if last is not None and (last.reason, last.message) == (record.reason, record.message):
            count = last.count + record.count
            ring[-1] = EventInfo(last.code, last.message, last.at, last.reason, count, record.last or record.at)
            dropped = None
        else:
            last_at = record.last or record.at
            ring.append(EventInfo(record.code, record.message, record.at, record.reason, record.count, last_at))
        self.noted(record.object, ring[-1], dropped)
        if record.object.startswith("session/"):
            self.session_notes[record.object] = None
            while len(self.session_notes) > self.settings.max_session_objects:
                oldest = next(iter(self.session_notes))
                del self.session_notes[oldest]
                self.events.pop(oldest, None)
        while len(self.events) > self.settings.max_objects:
            del self.events[next(iter(self.events))]

    def manager_of(self, placement: Placement) -> Peer | None:
        """Who is told about this placement: the manager of its session, else the one that said it knows it; None when both are away."""
        demand = self.demands.get(placement.session)
        if demand is not None and demand.manager is not None:
            return demand.manager
        return placement.known_by if placement.known_by in self.managers else None
