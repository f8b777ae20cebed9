"""What the scheduler reads (a Snapshot) and what it answers (a Plan). Values; the scheduler changes only its own copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flame.core.model.resources import Gpu, Resources


@dataclass(frozen=True, slots=True)
class PlacementView:
    """A placement that is not gone. `since`: when it was made; `idle_since`: since when it waits for a task, None: it does not."""

    id: str
    node: str
    resources: Resources
    since: float
    draining: bool = False
    idle_since: float | None = None
    devices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DemandView:
    """What one session wants, and what it has.

    want:    executors it could use now, those it has included
    idle:    executors it has that wait for a task
    rank:    of its priority class, higher first
    served:  dominant-share-seconds per weight it was given so far
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. `weights`: of tenants, 1 where none is given; `served`: what tenants were given so far, per weight."""

    now: float
    nodes: tuple[NodeView, ...]
    demands: tuple[DemandView, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    served: Mapping[str, float] = field(default_factory=dict)


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
    """What a cycle decided. `recheck`: when time alone may change the answer, None: never."""

    placements: tuple[NewPlacement, ...] = ()
    drains: tuple[Drain, ...] = ()
    reasons: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    recheck: float | None = None
