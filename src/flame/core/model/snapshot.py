"""What the scheduler reads (a Snapshot) and what it answers (a Plan). Values; the scheduler changes only its own copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flame.core.model.messages import Taint
from flame.core.model.resources import Gpu, Resources
from flame.core.model.rules import ANYWHERE, PlacementRules


@dataclass(frozen=True, slots=True)
class PlacementView:
    """A placement that is not gone.

    since:      when it was made
    idle_since: since when it waits for a task, None: it does not
    rate:       GPUs it has (a CPU counts as a hundredth), whose time since `saved` (its start, or its last checkpoint) is lost with it
    safe_until: not evicted before
    overdue:    its owner had waited for too long when it started: nobody else who has may take it
    """

    id: str
    node: str
    resources: Resources
    since: float
    draining: bool = False
    idle_since: float | None = None
    devices: Mapping[str, int] = field(default_factory=dict)
    rate: float = 0.0
    saved: float = 0.0
    safe_until: float = 0.0
    overdue: bool = False

    def cost(self, now: float) -> float:
        """What its eviction loses, in GPU-seconds."""
        return self.rate * max(0.0, now - self.saved)


@dataclass(frozen=True, slots=True)
class DemandView:
    """What one session or workload wants, and what it has.

    want:      executors it could use now, those it has included; replicas it should have
    idle:      executors it has that wait for a task
    rank:      of its priority class, higher first
    served:    dominant-share-seconds per weight it was given so far
    workload:  its placements are replicas: they end only when they must
    floor:     of what serves and has run: as many replicas come back before anybody of its rank or lower gets their room
    gang:      fewer placements than this are of no use: all of them at once or none
    labels, namespace, rules: where its placements may be, and what others' rules see of them
    quotas, charge: the quotas that count it, and what one placement is charged, by the quota's names
    preempts:  may it have room that lower ranks use
    waiting:   since when, in seconds since the epoch; 0: it does not
    explained: is it known why?
    """

    session: str
    app: str
    resources: Resources
    want: int
    idle: int = 0
    min: int = 0
    max: int | None = None
    app_max: int = 1_000_000
    shim: int = 0
    priority: int = 0
    rank: int = 0
    created: float = 0.0
    weight: int = 1
    tenant: str = "default"
    hold: bool = False
    delay_release: float = 60.0
    served: float = 0.0
    placements: tuple[PlacementView, ...] = ()
    workload: bool = False
    floor: int = 0
    gang: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "default"
    rules: PlacementRules = ANYWHERE
    quotas: tuple[str, ...] = ()
    charge: Mapping[str, int] = field(default_factory=dict)
    preempts: bool = True
    waiting: float = 0.0
    explained: bool = False


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node. `free` is below zero where returned slots overdraw it; `coming` is what draining placements will give back."""

    name: str
    ready: bool
    allocatable: Resources
    free: Resources
    coming: Resources = field(default_factory=dict)
    shim: int = 0
    devices: tuple[Gpu, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    replicas: int = 0
    """Of workloads that are here."""
    max_replicas: int = 0
    """Of workloads at once; 0: no limit."""


@dataclass(frozen=True, slots=True)
class QuotaView:
    """One node of the quota tree. Amounts by name, `NAME@MODEL` for GPUs of one model only.

    hard:       never more than this; a name that is missing has no limit
    guaranteed: it gets this much back from those who borrowed it
    lend:       of what it is guaranteed and does not use, what others may borrow; a name that is missing: all of it
    """

    name: str
    parent: str = ""
    hard: Mapping[str, int] = field(default_factory=dict)
    guaranteed: Mapping[str, int] = field(default_factory=dict)
    lend: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over everything, also over the demands that a snapshot leaves out.

    capacity:  of all nodes that are ready
    used:      by quota and resource
    shares:    by tenant: dominant shares of all placements that stay, not divided by weights
    workloads: that have placements
    lowest:    the lowest rank among the demands that are left out and have placements; None: there are none
    apart:     does any workload want to be apart from others?
    """

    capacity: Resources
    used: Mapping[str, Mapping[str, int]]
    shares: Mapping[str, float]
    workloads: int = 0
    lowest: int | None = None
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. `weights`: of tenants, 1 where none is given; `served`: what tenants were given so far, per weight.

    demands: those for which something may have to be done; others: workloads that have what they want, and matter only as neighbours and
    as victims; totals: of both. None: `demands` are all there are, and are summed up.
    """

    now: float
    nodes: tuple[NodeView, ...]
    demands: tuple[DemandView, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    served: Mapping[str, float] = field(default_factory=dict)
    quotas: tuple[QuotaView, ...] = ()
    max_workloads: int | None = None
    """That have placements at once."""
    preemption: bool = True
    gpu_strategy: str = "binpack"
    reserved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Workload -> nodes on which room was freed for it, one entry a replica: what the plan before said."""
    others: tuple[DemandView, ...] = ()
    totals: Totals | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something waits: a number and a word for programs, a sentence for people."""

    code: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NewPlacement:
    """Start an executor of `session` on `node`, on these devices (uuid -> thousandths)."""

    session: str
    node: str
    devices: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Drain:
    """Let this placement leave at its next task boundary."""

    placement: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cycle decided. `reserved`: as in Snapshot, for the next cycle; `recheck`: when time alone may change the answer,
    None: never."""

    placements: tuple[NewPlacement, ...] = ()
    drains: tuple[Drain, ...] = ()
    reasons: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    reserved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recheck: float | None = None
    unexplained: frozenset[str] = frozenset()
