"""What everybody speaks about: sessions, tasks, applications, nodes, executors, devices, identities, tenants, tokens."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.model.messages.base import Message


class SessionSpec(Message):
    application: str
    common_data: bytes | None = None
    min_instances: int = 0
    max_instances: int | None = None  # None: no limit
    priority: int = 0
    resources: Mapping[str, int] = {}  # empty: the cluster default
    timeout: float | None = None  # seconds one task may run
    wait_timeout: float | None = None  # seconds one task may wait before it first starts
    retries: int = 0
    backoff: float = 0.1  # seconds before the first retry; doubles, at most 30
    detached: bool = False  # survives its owner
    tenant: str = "default"
    namespace: str = "default"


class EventInfo(Message):
    code: int
    message: str
    at: float
    reason: str = ""
    count: int = 1
    last: float = 0.0


class SessionInfo(Message):
    id: str
    alias: int
    spec: SessionSpec
    state: int  # 0 open, 1 closed
    created: float
    completed: float | None
    pending: int
    running: int
    succeed: int
    failed: int
    cancelled: int
    events: tuple[EventInfo, ...] = ()
    slots: int = 1
    closing: bool = False


class TaskInfo(Message):
    session: str
    no: int
    state: int  # core.model.lifecycle.TaskState
    attempt: int
    created: float
    completed: float | None
    input: bytes | None
    output: bytes | None
    events: tuple[EventInfo, ...] = ()


class AppSpec(Message):
    shim: int = 0  # 0 host, 1 wasm
    description: str | None = None
    labels: tuple[str, ...] = ()
    image: str | None = None
    command: str | None = None
    arguments: tuple[str, ...] = ()
    environments: Mapping[str, str] = {}
    working_directory: str | None = None
    max_instances: int = 1_000_000
    delay_release: float = 60.0
    schema_input: str | None = None
    schema_output: str | None = None
    schema_common_data: str | None = None
    url: str | None = None
    installer: str | None = None


class AppInfo(Message):
    name: str
    spec: AppSpec
    state: int
    created: float


class NodeInfo(Message):
    name: str
    state: int  # 0 unknown, 1 ready, 2 not ready
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    arch: str = ""
    os: str = ""
    last_heartbeat: float = 0.0
    labels: Mapping[str, str] = {}
    driver: str = "agent"
    cordoned: bool = False
    address: str = ""
    devices: tuple[Device, ...] = ()
    taints: tuple[Taint, ...] = ()


class ExecutorInfo(Message):
    id: str
    node: str
    state: int  # core.model.lifecycle.ExecutorState
    session: str | None
    resources: Mapping[str, int] = {}
    shim: int = 0
    pid: int = 0


class Device(Message):
    uuid: str
    model: str
    memory: int
    max_sharers: int = 0  # replicas that may share it; 0: as the cluster says
    enforced: bool = False  # does the device itself hold a sharer to its part of the memory?


class Taint(Message):
    """`effect`: NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Identity(Message):
    """Who is at the other end. `role`: viewer, user, operator or admin; account: none of these, but what is bound to the service account
    that `name` names; executor, agent, manager, join for our own processes.
    `tenant`: `*` for identities of the whole cluster. `kind`: how it was established: local (same user, unix socket), cluster
    (the cluster's token file), token, oidc, certificate, compat. `token`: id of the token, never the token."""

    name: str
    role: str
    tenant: str = "default"
    kind: str = "token"
    token: str = ""
    expires: float | None = None


class TenantInfo(Message):
    """A tenant and its limits; None: no limit. `weight`: its share beside the other tenants."""

    name: str
    weight: int = 1
    max_sessions: int | None = None  # open at once
    max_queued: int | None = None  # tasks not ended
    max_bytes: int | None = None  # payload bytes of tasks not ended
    created: float = 0.0


class TenantUse(Message):
    """What a tenant has now, counted by its session manager."""

    tenant: TenantInfo
    sessions: int = 0
    queued: int = 0
    bytes: int = 0


class TokenInfo(Message):
    """A bearer token without the token. `digest`: SHA-256 of it, in hex; empty in lists that leave the engine."""

    id: str
    name: str
    role: str
    tenant: str
    created: float
    expires: float | None = None
    digest: str = ""
    by: str = ""  # who made it
