"""What Flame's own API answers, as types: the OpenAPI document is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from flame.core.base.quantity import format_milli
from flame.core.model import messages as m
from flame.core.model.states import NodeState, SessionState, TaskState

TASKS = {
    TaskState.PENDING: "Pending", TaskState.RUNNING: "Running", TaskState.SUCCEED: "Succeed", TaskState.FAILED: "Failed",
    TaskState.CANCELLED: "Cancelled",
}  # fmt: skip


class Reason(msgspec.Struct):
    """Why something is as it is. `reason` is one word, `count` how often it was so, `at` and `last` when first and last."""

    reason: str
    message: str
    code: int
    count: int
    at: str
    last: str


class SessionShape(msgspec.Struct):
    """A session. `number` is its short name; `rate`: tasks that ended per second lately, null: not known yet."""

    id: str
    number: int
    application: str
    state: str
    created: str
    completed: str | None
    tenant: str
    priority: int
    slots: int
    pending: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    closing: bool
    rate: float | None = None


class SessionsShape(msgspec.Struct):
    """A page, newest first. `next`: give it as `after` for the next page; 0 at the end."""

    sessions: list[SessionShape]
    total: int
    next: int


class TaskShape(msgspec.Struct):
    """A task. `input` and `output` are base64, and null in lists."""

    session: str
    no: int
    state: str
    attempt: int
    created: str
    completed: str | None
    events: list[Reason]
    input: str | None = None
    output: str | None = None


class TasksShape(msgspec.Struct):
    """A page, ascending. `next`: give it as `start` for the next page; 0 at the end."""

    tasks: list[TaskShape]
    next: int


class NodeShape(msgspec.Struct):
    """A node. Amounts as Kubernetes writes them."""

    name: str
    state: str
    cordoned: bool
    capacity: dict[str, str]
    allocatable: dict[str, str]
    labels: dict[str, str]
    devices: list[DeviceShape]
    architecture: str
    last_heartbeat: str


class DeviceShape(msgspec.Struct):
    """An accelerator. `memory`: bytes."""

    uuid: str
    model: str
    memory: int


class StatusShape(msgspec.Struct):
    """The whole cluster. `storage` is ok, or why nothing can be written."""

    release: str
    epoch: int
    durability: str
    started: str
    sessions_open: int
    sessions_closed: int
    pending: int
    running: int
    nodes: int
    nodes_ready: int
    executors: int
    storage: str
    allocator: bool


class WhoShape(msgspec.Struct):
    """Who the token is of."""

    name: str
    role: str
    tenant: str
    kind: str


class LineShape(msgspec.Struct):
    """What a task printed."""

    task: int
    stream: str
    text: str
    at: str


class ApplicationShape(msgspec.Struct):
    """A registered application."""

    name: str
    description: str
    labels: list[str]
    created: str


class CauseShape(msgspec.Struct):
    """Why a workload does not run, and what would change that."""

    kind: str
    reason: str
    message: str
    next: str


class DiagnosisShape(msgspec.Struct):
    """`ok`: nothing is wrong; `causes`: the most likely first."""

    ok: bool
    summary: str
    phase: str
    causes: list[CauseShape]


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def perhaps(at: float | None) -> str | None:
    return None if at is None else clock(at)


def reasons(found: Sequence[m.EventInfo]) -> list[Reason]:
    return [Reason(e.reason, e.message, e.code, e.count, clock(e.at), clock(e.last or e.at)) for e in found]


def session(info: m.SessionInfo, rate: float | None = None) -> SessionShape:
    return SessionShape(
        info.id, info.alias, info.spec.application, "Open" if info.state == SessionState.OPEN else "Closed", clock(info.created),
        perhaps(info.completed), info.spec.tenant, info.spec.priority, info.slots, info.pending, info.running, info.succeed,
        info.failed, info.cancelled, info.closing, rate,
    )  # fmt: skip


def task(info: m.TaskInfo, input: str | None = None, output: str | None = None) -> TaskShape:
    return TaskShape(
        info.session, info.no, TASKS[TaskState(info.state)], info.attempt, clock(info.created), perhaps(info.completed),
        reasons(info.events), input, output,
    )  # fmt: skip


def node(info: m.NodeInfo) -> NodeShape:
    state = {NodeState.READY: "Ready", NodeState.NOT_READY: "NotReady"}.get(NodeState(info.state), "Unknown")
    devices = [DeviceShape(d.uuid, d.model, d.memory) for d in info.devices]
    return NodeShape(
        info.name, state, info.cordoned, amounts(info.capacity), amounts(info.allocatable), dict(info.labels), devices, info.arch,
        clock(info.last_heartbeat),
    )  # fmt: skip


def amounts(found: Mapping[str, int]) -> dict[str, str]:
    return {name: format_milli(amount) if name in ("cpu", "gpu") else str(amount) for name, amount in found.items()}


def status(found: m.Status) -> StatusShape:
    return StatusShape(
        found.release, found.epoch, found.durability, clock(found.started), found.sessions_open, found.sessions_closed,
        found.pending, found.running, found.nodes, found.nodes_ready, found.executors, found.storage, found.allocator,
    )  # fmt: skip
