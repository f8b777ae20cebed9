"""Everything that processes say to each other, as values.

One file on purpose: it is the map of the system. The reactors and peers of `core` speak these values; `wire.codec` turns
them into `flame.plane.v1` protobuf and back, field by field and by name. Commands are imperatives, facts are past participles.

Units: times are seconds since the epoch (float); resources are int64 by name (`cpu` in milli-CPU, `memory` in bytes,
`gpu` in milli-GPU); a *run* is five integers `first, count, epoch, lease, attempt` naming consecutive tasks of one hand-out.
`lengths` is a little-endian u32 array, one per task (`ABSENT` = no payload); `blob` is the payloads end to end.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

ABSENT = 0xFFFFFFFF
"""Length of a payload that is not there; an empty payload has length 0."""

RUN = 5
"""Integers per run: first task number, count, epoch, lease, attempt."""

BY_HAND = "by-hand"
"""Hello feature, and node, of an executor that somebody started by hand: no agent reports its end, the allocator does not know it."""

AWAY = "away"
"""Hello feature of an executor whose manager is on another machine: it is given more ahead, and sends less often."""

NATIVE = "flame.native=1"
"""Label of applications whose service runs in the executor process; others get a process of their own behind the gRPC shim."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """Base of everything that crosses a process boundary."""


# -- nouns -------------------------------------------------------------------------------------------------------------


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


# -- every connection --------------------------------------------------------------------------------------------------


class Hello(Message):
    """First message of every connection. `role` is client, executor, manager or agent."""

    role: str
    magic: str = "FLAME"
    version_min: int = 1
    version_max: int = 1
    features: tuple[str, ...] = ()
    token: str = ""
    client_id: str = ""  # a client's own id, or an executor's placement id
    history: str = ""  # of the last Welcome, "" on the first connection
    session: str = ""  # executors: the session they serve
    held: tuple[int, ...] = ()  # executors reconnecting: runs they hold
    python: str = ""  # "3.11"


class Welcome(Message):
    version: int
    epoch: int
    history: str
    durability: str  # memory, process, power
    cluster: str = "flame"
    release: str = ""
    features: tuple[str, ...] = ()
    python: str = ""
    shard: int = 0  # which of `shards` this is
    shards: tuple[str, ...] = ()  # addresses of all session managers, when there are several


class Failure(Message):
    """The answer to a request that could not be done; `code` is a key of `core.base.errors.BY_CODE`."""

    code: str
    message: str
    hint: str = ""
    retry_after: float = 0.0  # seconds; 0: nobody can tell
    room: int = 0  # of a full queue: tasks that a smaller frame may have; 0: nobody said


class Done(Message):
    """The answer to a request that has nothing to tell."""


# -- client -> session manager: sessions and applications ---------------------------------------------------------------


class OpenSession(Message):
    """`mode`: create (the id must be new), open (must exist) or either. Answer: SessionInfo."""

    id: str
    spec: SessionSpec | None
    mode: str = "create"
    owned: bool = False  # closes when the owner is gone for owner_grace


class CloseSession(Message):
    """`mode`: strict (an error while tasks run), drain (Pending cancelled, running finish), finish (everything finishes first) or
    cancel (running tasks are cancelled too). Answer: SessionInfo, once closed."""

    id: str
    mode: str = "drain"


class DeleteSession(Message):
    id: str


class GetSession(Message):
    id: str  # an id or a numeric alias


class ListSessions(Message):
    pass


class SessionList(Message):
    sessions: tuple[SessionInfo, ...]


class RegisterApp(Message):
    name: str
    spec: AppSpec
    if_absent: bool = False


class UpdateApp(Message):
    name: str
    spec: AppSpec


class UnregisterApp(Message):
    name: str


class GetApp(Message):
    name: str


class ListApps(Message):
    pass


class AppList(Message):
    apps: tuple[AppInfo, ...]


class ListNodes(Message):
    pass


class NodeList(Message):
    nodes: tuple[NodeInfo, ...]


class ListExecutors(Message):
    pass


class ExecutorList(Message):
    executors: tuple[ExecutorInfo, ...]


class GetStatus(Message):
    pass


class Status(Message):
    release: str
    epoch: int
    history: str
    durability: str
    started: float
    sessions_open: int
    sessions_closed: int
    pending: int
    running: int
    nodes_ready: int
    nodes: int
    executors: int
    storage: str  # ok, or why the store cannot write
    allocator: bool  # is the allocator connected
    memory: int = 0  # resident bytes of the session manager


class Explain(Message):
    """Why does `object` (a session, or session/task) wait? Answer: Explanation."""

    object: str


class Explanation(Message):
    object: str
    reasons: tuple[EventInfo, ...]


class WhoAmI(Message):
    """Answer: Identity."""


# -- client -> session manager -> allocator: who may do what, and nodes. `by` is set by the session manager. ----------------


class CreateToken(Message):
    """`role`: viewer, user, operator, admin, account (of the service account `system:serviceaccount:NAMESPACE:NAME`, which is its name), or
    join (lets one machine join, once). `ttl`: seconds; 0: it does not expire.
    Answer: TokenCreated."""

    name: str
    role: str
    tenant: str = "default"
    ttl: float = 0.0
    by: str = ""


class TokenCreated(Message):
    """The only message that carries a token in clear."""

    info: TokenInfo
    token: str


class RevokeToken(Message):
    """By id. Every connection that uses it ends. Answer: Done, once committed."""

    id: str
    by: str = ""


class ListTokens(Message):
    pass


class TokenList(Message):
    tokens: tuple[TokenInfo, ...]


class SetTenant(Message):
    """Create it, or change its weight and limits. Answer: Done."""

    tenant: TenantInfo
    by: str = ""


class DropTenant(Message):
    """Its tokens are revoked. Refused while it has open sessions."""

    name: str
    by: str = ""


class ListTenants(Message):
    pass


class TenantList(Message):
    tenants: tuple[TenantUse, ...]


class SetNode(Message):
    """`cordon`: place nothing new there; `drain`: and let what runs leave at its next task boundary. Both false: use it again."""

    name: str
    cordon: bool = False
    drain: bool = False
    by: str = ""


class JoinNode(Message):
    """A machine wants in, with a join token as its identity. `request`: a certificate signing request (PEM). Answer: NodeAdmitted."""

    name: str
    request: bytes = b""
    hosts: tuple[str, ...] = ()


class NodeAdmitted(Message):
    """`certificate`, `authority`: PEM; `addresses`: where agents reach the allocator."""

    name: str
    certificate: bytes
    authority: bytes
    addresses: tuple[str, ...]


class RedeemToken(Message):
    """Session manager to allocator: a join token is used up for this node. Answer: Done."""

    id: str
    node: str


class Identities(Message):
    """Allocator to session managers: all tenants and tokens, at every change."""

    tenants: tuple[TenantInfo, ...]
    tokens: tuple[TokenInfo, ...]


# -- objects: workloads, classes, quotas, settings ---------------------------------------------------------------------


class PutObject(Message):
    """Write one object; `body` is JSON. `mode`: create, replace (a resourceVersion in the body must be the stored one), apply (create, or
    change what was applied before), merge (RFC 7386) or json (RFC 6902) for a patch of what is there. `subresource`: "", status or scale.
    Answer: ObjectPut."""

    mode: str
    kind: str
    namespace: str = ""  # of kinds that have one; empty: `default`
    name: str = ""
    body: bytes = b""
    subresource: str = ""
    dry_run: bool = False
    tenant: str = ""  # empty: the caller's own
    by: str = ""
    subject: str = ""  # tenant/name: bindings decide; empty: the role did. Set by the session manager


class ObjectPut(Message):
    """`body`: the object as it is now (or would be)."""

    body: bytes
    change: str  # created, configured, unchanged
    warnings: tuple[str, ...] = ()


class GetObject(Message):
    kind: str
    namespace: str = ""
    name: str = ""
    tenant: str = ""
    subject: str = ""  # as in PutObject


class Object(Message):
    """`body` is JSON."""

    body: bytes


class ListObjects(Message):
    """`labels`, `fields`: selectors as Kubernetes writes them; `limit` 0: all; `after`: where the page before ended."""

    kind: str
    namespace: str = ""  # empty: all
    labels: str = ""
    fields: str = ""
    limit: int = 0
    after: str = ""
    tenant: str = ""
    subject: str = ""  # as in PutObject


class ObjectList(Message):
    bodies: tuple[bytes, ...]
    version: int  # resourceVersion of the list: a watch from here misses nothing
    after: str = ""
    remaining: int = 0


class DeleteObject(Message):
    """`grace`: seconds instead of the object's own; `version`: only this resourceVersion (0: any). Answer: ObjectPut."""

    kind: str
    namespace: str = ""
    name: str = ""
    dry_run: bool = False
    grace: float | None = None
    version: int = 0
    tenant: str = ""
    by: str = ""
    subject: str = ""  # as in PutObject


class WatchObjects(Message):
    """What changed after `since`: answered as soon as there is something, or empty after `wait` seconds (at most 60)."""

    kind: str
    since: int
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    wait: float = 30.0
    tenant: str = ""
    subject: str = ""  # as in PutObject


class ObjectChange(Message):
    """`change`: ADDED, MODIFIED or DELETED."""

    change: str
    version: int
    body: bytes


class ObjectChanges(Message):
    changes: tuple[ObjectChange, ...]
    version: int  # ask from here on


class DebugObject(Message):
    """Why it does not run, most likely cause first. Answer: Object with a Diagnosis (`core.workloads.diagnosis`)."""

    kind: str
    namespace: str = ""
    name: str = ""
    tenant: str = ""


class CallReplica(Message):
    """Something that only the node of a replica can do. `verb`: logs (from byte `offset`, waiting `wait` seconds for more), exec
    (`body`: JSON
    {"command": [...], "tty": bool}; answers with an id), write (`body` to its input), read (its output from `offset`), close.
    `id`: of the exec.
    Answer: ReplicaAnswer."""

    verb: str
    name: str
    namespace: str = ""
    container: str = ""
    id: str = ""
    body: bytes = b""
    offset: int = 0
    limit: int = 1 << 20
    wait: float = 0.0
    previous: bool = False
    tenant: str = ""
    by: str = ""
    subject: str = ""  # as in PutObject


class ReplicaAnswer(Message):
    """`data` begins at `offset`; `ended`: nothing more will come; `code`: exit code of an exec that ended (128 + signal)."""

    data: bytes = b""
    offset: int = 0
    ended: bool = False
    id: str = ""
    code: int | None = None


class GetLogs(Message):
    session: str
    no: int = 0  # 0: every task


class LogList(Message):
    lines: tuple[LogLine, ...]


# -- tasks in frames ---------------------------------------------------------------------------------------------------


class Submit(Message):
    """Tasks of one session, in order. `seq` counts this client's frames from 1: a frame sent twice is the same tasks."""

    session: str
    seq: int
    lengths: bytes
    blob: bytes
    retries: int = -1  # -1: as the session says
    timeout: float = -1.0
    wait_timeout: float = -1.0


class Submitted(Message):
    session: str
    seq: int
    first: int
    count: int


class Results(Message):
    """Terminal tasks. `codes` is empty when all succeeded, else one ResultCode byte each. A payload is the output, or an encoded
    TaskFailure (core.model.payloads) when the code is not 0."""

    session: str
    runs: tuple[int, ...]  # pairs: first, count
    codes: bytes
    lengths: bytes
    blob: bytes


class Resume(Message):
    """After a reconnect: the task ranges (pairs first, count) of this client whose results it has. Answer: Done."""

    session: str
    has: tuple[int, ...]
    owned: bool = False


class GetTask(Message):
    session: str
    no: int


class ListTasks(Message):
    """One page, ascending. Answer: TaskList; ask again from `next` until it is 0."""

    session: str
    start: int = 1
    limit: int = 1000
    payloads: bool = True


class TaskList(Message):
    tasks: tuple[TaskInfo, ...]
    next: int


class WatchTask(Message):
    """Pushes TaskChanged for every later change of state of one task, the terminal one last. Answer: Done. When the task is
    terminal already that one TaskChanged is pushed. `watch` is chosen by the caller and unique on the connection."""

    session: str
    no: int
    watch: int


class Unwatch(Message):
    watch: int


class TaskChanged(Message):
    watch: int
    task: TaskInfo | None  # None: the session is gone


class CancelTasks(Message):
    """Pending tasks end Cancelled at once; running ones get the cooperative signal, and with `kill` their executor dies after the grace.
    Answer: Cancelled."""

    session: str
    runs: tuple[int, ...]  # pairs: first, count
    kill: bool = False


class Cancelled(Message):
    session: str
    runs: tuple[int, ...]  # pairs of tasks that are Cancelled now


class ShareBlob(Message):
    """Keep bytes with the session under their digest (a pickled function). Answer: Done, once committed. The same digest twice is one."""

    session: str
    digest: str
    blob: bytes


class FetchBlob(Message):
    """Answer: Blob."""

    session: str
    digest: str


class Blob(Message):
    blob: bytes


class LogLine(Message):
    """A line a task printed."""

    session: str
    no: int
    stream: str  # out, err
    text: str
    at: float = 0.0


class Streamed(Message):
    """One item a generator task yielded, live and unrecorded: the recorded result holds them all."""

    session: str
    no: int
    attempt: int
    index: int
    payload: bytes


# -- executor <-> session manager ---------------------------------------------------------------------------------------


class Enter(Message):
    session: str
    app: str
    spec: AppSpec
    common_data: bytes | None
    resources: Mapping[str, int] = {}


class Entered(Message):
    """`code`: 0, or 10 install failed, 11 shim creation failed, 12 session enter failed, 19 unknown."""

    code: int
    message: str = ""


class Assign(Message):
    """Tasks handed to an executor; not journaled. They stay Pending until started."""

    session: str
    runs: tuple[int, ...]  # RUN integers each
    lengths: bytes
    blob: bytes
    timeout: float = -1.0


class Completed(Message):
    """Results of handed-out tasks. `seq` counts this executor's frames; it keeps the frame until Recorded. `began`, `ended`: when the
    first task of the frame began and the last ended."""

    session: str
    seq: int
    runs: tuple[int, ...]  # RUN integers each
    codes: bytes
    lengths: bytes
    blob: bytes
    began: float
    ended: float


class Recorded(Message):
    """Everything up to `seq` is committed (or fenced); the executor may forget it."""

    seq: int


class Started(Message):
    """A task has been running for 20 ms."""

    session: str
    no: int
    epoch: int
    lease: int
    at: float


class Recall(Message):
    """Give back what has not started. Answered by Recalled."""

    session: str
    runs: tuple[int, ...]


class Recalled(Message):
    """These tasks will not be started here."""

    session: str
    runs: tuple[int, ...]


class CancelRunning(Message):
    session: str
    no: int
    epoch: int
    lease: int


class Blocked(Message):
    """The service waits for tasks of its own session (`waiting`), or does no longer."""

    session: str
    waiting: bool


class Leave(Message):
    """Finish what is running, leave the session, exit."""


class Left(Message):
    pass


# -- session manager <-> allocator ---------------------------------------------------------------------------------------


class DemandChanged(Message):
    """What a session wants placed. `want`: executors it could use now (outstanding tasks, rounded up above 16); `idle`: bound executors
    waiting for a task; `hold`: no new executors (bind failures reached the limit)."""

    session: str
    app: str
    app_spec: AppSpec
    resources: Mapping[str, int]
    want: int
    idle: int
    min_instances: int
    max_instances: int | None
    priority: int
    created: float
    weight: int = 1
    hold: bool = False
    tenant: str = "default"
    namespace: str = "default"
    common_digest: str = ""


class DemandGone(Message):
    """The session is closed: drain what it has."""

    session: str


class ExecutorChanged(Message):
    """How the manager sees a placement: a lifecycle ExecutorState, whether it waits for a task, whether it lent its slot."""

    placement: str
    session: str
    state: int
    idle: bool = False
    lent: bool = False


class KillExecutor(Message):
    """End the process of this placement now (a task timeout, a forced cancel)."""

    placement: str
    reason: str


class Granted(Message):
    """A placement was made for a session; its executor will connect with `token`."""

    placement: str
    session: str
    node: str
    token: str
    resources: Mapping[str, int] = {}


class DrainExecutor(Message):
    """Let this executor leave at its next task boundary."""

    placement: str
    reason: str


class PlacementGone(Message):
    """The process of a placement ended. `current`: the run of the task it was executing, or (). `log`: last lines of stderr and stdout."""

    placement: str
    session: str
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    current: tuple[int, ...] = ()
    log: str = ""


class ClusterChanged(Message):
    """The allocator's whole view, for lists."""

    nodes: tuple[NodeInfo, ...]
    executors: tuple[ExecutorInfo, ...]


class Reasons(Message):
    """Why a session's demand is not (fully) placed; empty when it is."""

    session: str
    reasons: tuple[EventInfo, ...]


class ManagerJoined(Message):
    """A session manager on its connection to the allocator: where executors reach its plane, and what it knows to run."""

    address: str
    epoch: int
    placements: tuple[str, ...] = ()
    shard: int = 0  # of several; one that takes over from another has its number and a later epoch


# -- allocator <-> agent ----------------------------------------------------------------------------------------------------


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


# -- replicas: allocator <-> agent ------------------------------------------------------------------------------------------


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
