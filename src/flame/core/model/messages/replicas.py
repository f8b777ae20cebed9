"""Allocator and agent: replicas of workloads."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.model.messages.base import Message
from flame.core.model.messages.connection import Failure
from flame.core.model.messages.objects import CallReplica, ReplicaAnswer


class ProbeSpec(Message):
    """`kind`: http, tcp, exec. Times in seconds."""

    kind: str
    port: str = ""  # a number or the name of a port
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    headers: Mapping[str, str] = {}
    command: tuple[str, ...] = ()
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success: int = 1
    failure: int = 3


class PortSpec(Message):
    name: str
    port: int  # in the container
    protocol: str = "TCP"
    host_port: int = 0  # 0: the agent finds one


class MountSpec(Message):
    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""


class VolumeSpec(Message):
    """`kind`: empty, claim, host or files. `source`: claim name or path; `files`: name -> content."""

    name: str
    kind: str
    source: str = ""
    files: Mapping[str, bytes] = {}
    read_only: bool = False


class EnvVar(Message):
    name: str
    value: str


class ContainerSpec(Message):
    """Command and args are not yet expanded: `$(VAR)` is the agent's to fill in, since ports are known there only. `limits`:
    resources that must
    not be exceeded."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    working_dir: str = ""
    ports: tuple[PortSpec, ...] = ()
    mounts: tuple[MountSpec, ...] = ()
    requests: Mapping[str, int] = {}
    limits: Mapping[str, int] = {}
    liveness: ProbeSpec | None = None
    readiness: ProbeSpec | None = None
    startup: ProbeSpec | None = None
    pre_stop: tuple[str, ...] = ()
    grace: float | None = None
    pull: str = ""  # of an image, under `oci`: Always, IfNotPresent or Never


class ReplicaSpec(Message):
    """One replica of a workload, ready to run. `restart`: Always, OnFailure or Never; `backoff_limit`: restarts in place; `grace`:
    seconds between
    SIGTERM and SIGKILL; `deadline`: seconds it may run, 0 without end."""

    workload: str
    workload_id: str
    name: str
    namespace: str
    rank: int
    world_size: int
    attempt: int
    containers: tuple[ContainerSpec, ...]
    init: tuple[ContainerSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    labels: Mapping[str, str] = {}
    restart: str = "Always"
    backoff_limit: int = 5
    grace: float = 30.0
    rendezvous: str = ""  # host:port of rank 0
    runtime: str = "process"  # or oci
    tenant: str = "default"
    deadline: float = 0.0


class StartReplica(Message):
    """Start a replica; `endpoint` and `token` let it open sessions. `devices`: uuid -> milli-GPU; `shared`: of those, which it shares."""

    id: str
    node: str
    owner: str
    spec: ReplicaSpec
    resources: Mapping[str, int]
    devices: Mapping[str, int] = {}
    gpu_memory: Mapping[str, int] = {}  # uuid -> bytes it may use of a shared device
    endpoint: str = ""
    token: str = ""


class ContainerStatus(Message):
    """`state`: waiting, running or terminated; `last`: how the run before this one ended."""

    name: str
    state: str = "waiting"
    reason: str = ""
    message: str = ""
    ready: bool = False
    restarts: int = 0
    pid: int = 0
    exit_code: int | None = None
    signal: int | None = None
    started: float = 0.0
    finished: float = 0.0
    last: str = ""
    init: bool = False


class ReplicaChanged(Message):
    """How a replica is. `phase`: Pending, Running, Succeeded or Failed (the last two: nothing of it runs any more); `ports`: name
    -> port on the
    node; `log`: last lines, when it failed."""

    id: str
    phase: str
    ready: bool = False
    reason: str = ""
    message: str = ""
    containers: tuple[ContainerStatus, ...] = ()
    ports: Mapping[str, int] = {}
    log: str = ""
    started: float = 0.0


class AskAgent(Message):
    """What a client called, for the agent of a replica; `number` names it in the answer."""

    number: int
    placement: str
    call: CallReplica


class AgentAnswered(Message):
    number: int
    answer: ReplicaAnswer | None = None
    failure: Failure | None = None
