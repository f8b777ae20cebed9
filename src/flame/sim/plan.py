"""What one seed does: the cluster, the clients' scripts, and the faults with their times."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from flame.core.allocator.settings import AllocatorSettings
from flame.core.model.messages import AppSpec, RegisterNode, SessionSpec
from flame.core.sessions.state import Settings
from flame.sim.jobs import JobScript, draw_jobs
from flame.sim.tasks import BLOCK, FAIL, LONG, MEDIUM, POISON, RETRY, SHORT

FAULTS = {
    "cut": 6,
    "trap": 12,
    "commit": 2,
    "manager": 4,
    "executor": 4,
    "allocator": 2,
    "agent": 2,
    "power": 1,
    "disk full": 1,
    "hiccups": 1,
    "compact": 3,
    "choke": 2,
}
"""Kinds of faults and how often each is drawn."""
TRAPS = (
    "Submit", "Submit", "Submitted", "Submitted", "Results", "Resume", "Assign", "Completed", "Completed", "Recorded",
    "Recorded", "Recall", "Recalled", "Started", "Enter", "Entered", "Leave", "Granted", "DemandChanged", "ExecutorChanged",
    "StartPlacement", "PlacementStarted", "PlacementExited", "PlacementGone", "RegisterNode", "CloseSession", "SessionInfo",
)  # fmt: skip
"""A trap is a fault at the worst moment: just after a message of this kind has left."""
JOB_TRAPS = (
    "PutObject", "ObjectPut", "DeleteObject", "StartReplica", "StartReplica", "ReplicaChanged", "ReplicaChanged", "StopPlacement",
    "PlacementExited",
)  # fmt: skip
"""More of them where there are workloads."""
SPAN = 0.6
"""Seconds during which faults happen; then everything is healed and must come to rest."""

AWAY = 5.0
"""Seconds for which an agent may be away before what its node runs is given up, where there are workloads."""


@dataclass
class Script:
    """One client. `bursts`: (pause after it, tasks as (kind, limit)); `impatient`: it closes before its results are there;
    `looks`: it also watches, lists and gets tasks."""

    session: str
    spec: SessionSpec
    app: AppSpec
    owned: bool
    bursts: list[tuple[float, list[tuple[int, int]]]]
    cancels: list[bool]
    close: str
    impatient: bool
    looks: bool


@dataclass
class Plan:
    """Everything that is drawn before time begins."""

    durability: str
    codec: bool
    nodes: list[list[RegisterNode]]
    scripts: list[Script]
    jobs: list[JobScript]
    faults: list[tuple[float, str]]
    traps: tuple[str, ...] = TRAPS
    spawn_failures: float = 0.0
    enter_failures: float = 0.0
    slow_executors: float = 0.0
    sessions: Settings = field(default_factory=Settings)
    allocator: AllocatorSettings = field(default_factory=AllocatorSettings)


def draw(rng: Random, seed: int) -> Plan:
    """The plan of a seed. Small on purpose: many short histories find more than a few long ones."""
    agents, jobs = rng.choice([1, 1, 2]), draw_jobs(seed)
    nodes = [[_node(rng, f"n{n}", AWAY if jobs else 0.0)] for n in range(agents)]
    app = AppSpec(delay_release=rng.choice([0.0, 0.05, 0.5, 20.0]), max_instances=rng.choice([2, 8, 1_000_000]))
    scripts: list[Script] = []
    for s in range(rng.choice([1, 1, 2, 3])):
        spec, owned = _spec(rng), rng.random() < 0.3
        for _ in range(rng.choice([1, 1, 1, 2])):
            scripts.append(_script(rng, f"s{s}", spec, app, owned))
    calm = rng.random() < 0.1
    count = 0 if calm else rng.choice([1, 2, 2, 3, 4, 6, 8])
    # Half of the seeds know only two kinds of faults: the same one again and again finds what a mixture never does.
    known = list(FAULTS) if rng.random() < 0.5 else rng.sample(list(FAULTS), 2)
    kinds = rng.choices(known, [FAULTS[kind] for kind in known], k=count)
    faults = sorted((SPAN * rng.random(), kind) for kind in kinds)
    return Plan(
        durability=rng.choice(["power", "process"]),
        codec=rng.random() < 0.1,
        nodes=nodes,
        scripts=scripts,
        jobs=jobs,
        faults=faults,
        traps=(*TRAPS, *JOB_TRAPS) if jobs else TRAPS,
        spawn_failures=rng.choice([0.0, 0.0, 0.0, 0.1]),
        enter_failures=rng.choice([0.0, 0.0, 0.0, 0.1]),
        slow_executors=rng.choice([0.0, 0.0, 0.3]),
    )


def _node(rng: Random, name: str, grace: float) -> RegisterNode:
    cpus = rng.choice([1, 2, 2, 3])
    capacity = {"cpu": cpus * 1000, "memory": cpus << 30}
    return RegisterNode(name, capacity, capacity, grace=grace)


def _spec(rng: Random) -> SessionSpec:
    low = rng.choice([0, 0, 0, 1])
    return SessionSpec(
        "app",
        min_instances=low,
        max_instances=rng.choice([None, None, 1, 2]),
        priority=rng.choice([0, 0, 0, 5]),
        resources={"cpu": rng.choice([500, 1000, 1000])},
        timeout=rng.choice([None, None, None, 0.1]),
        retries=rng.choice([0, 0, 1, 2]),
        backoff=0.01,
    )


def _script(rng: Random, session: str, spec: SessionSpec, app: AppSpec, owned: bool) -> Script:
    mix = rng.choice(
        [
            {SHORT: 1},
            {SHORT: 8, MEDIUM: 2, FAIL: 1},
            {SHORT: 6, MEDIUM: 3, LONG: 1, RETRY: 1},
            {SHORT: 5, LONG: 1, POISON: 1, BLOCK: 1, RETRY: 1},
        ]
    )
    bursts = []
    for _ in range(rng.choice([1, 2, 3, 4])):
        size = rng.choice([1, 2, 5, 12])
        kinds = rng.choices(list(mix), list(mix.values()), k=size)
        bursts.append((0.2 * rng.random() ** 2, [(kind, rng.choice([1, 1, 2, 200])) for kind in kinds]))
    return Script(
        session=session,
        spec=spec,
        app=app,
        owned=owned,
        bursts=bursts,
        cancels=[rng.random() < 0.5 for _ in range(rng.choice([0, 0, 0, 1, 2]))],
        close=rng.choice(["drain", "drain", "finish", "cancel"]),
        impatient=rng.random() < 0.2,
        looks=rng.random() < 0.25,
    )
