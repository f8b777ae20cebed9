"""Allocator and agent: nodes, and executors on them."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.model.messages.base import Message
from flame.core.model.messages.nouns import AppSpec, Device, Taint
from flame.core.model.messages.replicas import ReplicaChanged


class Placed(Message):
    """A placement an agent already runs (it tells when it registers)."""

    id: str
    session: str
    resources: Mapping[str, int]
    devices: Mapping[str, int] = {}
    pid: int = 0
    token: str = ""
    shim: int = 0
    address: str = ""  # of the session manager it was started for
    owner: str = ""  # of a replica: the workload's key
    rank: int = 0
    attempt: int = 0
    replica: ReplicaChanged | None = None


class RegisterNode(Message):
    name: str
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    arch: str = ""
    os: str = ""
    labels: Mapping[str, str] = {}
    devices: tuple[Device, ...] = ()
    driver: str = "agent"
    shim: int = 0
    running: tuple[Placed, ...] = ()
    grace: float = 0.0  # seconds its executors are kept when the connection breaks: 0 where only death can break it
    address: str = ""  # where other machines reach what runs there
    taints: tuple[Taint, ...] = ()
    images: tuple[str, ...] = ()  # what `images:` of its settings maps
    runtimes: tuple[str, ...] = ("process",)
    max_workloads: int = 0  # replicas at once; 0: no limit


class Heartbeat(Message):
    node: str
    at: float


class ReleaseNode(Message):
    node: str


class StartPlacement(Message):
    """Start an executor process. It dials `address` and says Hello with `token`. `limits`: the resources that its session asked for by name
    and that are not to be exceeded; empty when it named none."""

    id: str
    node: str
    session: str
    app: str
    spec: AppSpec
    resources: Mapping[str, int]
    devices: Mapping[str, int]  # uuid -> milli-GPU
    address: str
    token: str
    limits: Mapping[str, int] = {}


class AgentTuned(Message):
    """To an agent: how often to say that it lives, and to look what its machine has. Seconds."""

    beat: float
    look: float


class StopPlacement(Message):
    """SIGTERM to the process group now, SIGKILL after `grace` seconds (0: at once)."""

    id: str
    grace: float = 10.0
    reason: str = ""


class PlacementStarted(Message):
    id: str
    pid: int


class PlacementExited(Message):
    """`reason` says why, where more is known than code and signal say. See PlacementGone for the rest."""

    id: str
    exit_code: int | None = None
    signal: int | None = None
    current: tuple[int, ...] = ()
    log: str = ""
    reason: str = ""
