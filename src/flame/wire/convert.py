"""Our values <-> the messages of `flame.v1`.

The edge where milliseconds, whole CPUs and decimal task ids live. Going out every metadata, spec and status is filled (the Rust client
needs them), `batch_size` is 1 and `id == name`; coming in and going out, absent bytes stay apart from empty ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flame.core.base.errors import InvalidArgument
from flame.core.model import messages as m
from flame.wire.v1 import types_pb2 as pb

MILLI = 1000
MAX_INT64 = 2**63 - 1
DEFAULT_RESOURCES: Mapping[str, int] = {"cpu": 1000, "memory": 1 << 30, "gpu": 0}
"""What a session gets that asks for nothing, unless the cluster says otherwise."""


def ms(at: float | None) -> int:
    """Seconds since the epoch -> milliseconds; None -> 0."""
    return round(at * MILLI) if at else 0


def metadata(name: str) -> pb.Metadata:
    return pb.Metadata(id=name, name=name)


def event(value: m.EventInfo) -> pb.Event:
    return pb.Event(code=value.code, message=value.message, creation_time=ms(value.at))


# -- resources --------------------------------------------------------------------------------------------------------


def resources(value: Mapping[str, int]) -> pb.ResourceRequirement:
    """Milli-CPU and milli-GPU become whole ones, rounded up: half a CPU is shown as one."""
    return pb.ResourceRequirement(
        cpu=-(-value.get("cpu", 0) // MILLI), memory=value.get("memory", 0), gpu=-(-value.get("gpu", 0) // MILLI)
    )


def to_resources(value: pb.ResourceRequirement) -> dict[str, int]:
    """Raises InvalidArgument for sizes that no machine has."""
    found = {"cpu": value.cpu * MILLI, "memory": value.memory, "gpu": value.gpu * MILLI}
    for name, amount in found.items():
        if not 0 <= amount <= MAX_INT64:
            raise InvalidArgument(f"resreq: {name} is out of range: {amount}")
    return {name: amount for name, amount in found.items() if amount}


# -- applications -----------------------------------------------------------------------------------------------------


def app_spec(value: m.AppSpec) -> pb.ApplicationSpec:
    spec = pb.ApplicationSpec(
        shim=pb.Shim.Name(value.shim),
        labels=value.labels,
        arguments=value.arguments,
        environments=[pb.Environment(name=name, value=text) for name, text in value.environments.items()],
        max_instances=value.max_instances,
        delay_release=round(value.delay_release),
    )
    for name in ("description", "image", "command", "url", "installer"):
        if (text := getattr(value, name)) is not None:
            setattr(spec, name, text)
    if value.working_directory:
        spec.working_directory = value.working_directory
    for name in ("input", "output", "common_data"):
        if (text := getattr(value, f"schema_{name}")) is not None:
            setattr(spec.schema, name, text)
    return spec


def to_app_spec(value: pb.ApplicationSpec) -> m.AppSpec:
    """Absent `max_instances` and `delay_release` become the defaults; an empty working directory is an absent one."""
    has = value.HasField
    default = m.AppSpec()
    if value.shim not in (pb.Host, pb.Wasm):
        raise InvalidArgument(f"unknown shim {value.shim}", hint="known: 0 (Host), 1 (Wasm)")
    if value.delay_release < 0:
        raise InvalidArgument(f"delay_release must not be negative, got {value.delay_release}")
    return m.AppSpec(
        shim=value.shim,
        description=value.description if has("description") else None,
        labels=tuple(value.labels),
        image=value.image if has("image") else None,
        command=value.command if has("command") else None,
        arguments=tuple(value.arguments),
        environments={entry.name: entry.value for entry in value.environments},
        working_directory=value.working_directory or None,
        max_instances=value.max_instances if has("max_instances") else default.max_instances,
        delay_release=float(value.delay_release) if has("delay_release") else default.delay_release,
        schema_input=value.schema.input if value.schema.HasField("input") else None,
        schema_output=value.schema.output if value.schema.HasField("output") else None,
        schema_common_data=value.schema.common_data if value.schema.HasField("common_data") else None,
        url=value.url if has("url") else None,
        installer=value.installer if has("installer") else None,
    )


def application(value: m.AppInfo) -> pb.Application:
    return pb.Application(
        metadata=metadata(value.name),
        spec=app_spec(value.spec),
        status=pb.ApplicationStatus(state=pb.ApplicationState.Name(value.state), creation_time=ms(value.created)),
    )


# -- sessions ---------------------------------------------------------------------------------------------------------


def session_spec(value: m.SessionSpec) -> pb.SessionSpec:
    spec = pb.SessionSpec(
        application=value.application,
        min_instances=value.min_instances,
        batch_size=1,
        priority=max(0, value.priority),
        resreq=resources(value.resources or DEFAULT_RESOURCES),
    )
    if value.common_data is not None:
        spec.common_data = value.common_data
    if value.max_instances is not None:
        spec.max_instances = value.max_instances
    return spec


def to_session_spec(value: pb.SessionSpec) -> m.SessionSpec:
    """`batch_size` is ignored; an absent `resreq` is empty resources: the cluster's default. A gRPC session belongs to nobody, so it
    is detached."""
    return m.SessionSpec(
        application=value.application,
        common_data=value.common_data if value.HasField("common_data") else None,
        min_instances=value.min_instances,
        max_instances=value.max_instances if value.HasField("max_instances") else None,
        priority=value.priority,
        resources=to_resources(value.resreq) if value.HasField("resreq") else {},
        detached=True,
    )


def session(value: m.SessionInfo, *, events: bool = False) -> pb.Session:
    """`events`: only Get and List tell them."""
    status = pb.SessionStatus(
        state=pb.SessionState.Name(value.state),
        creation_time=ms(value.created),
        pending=value.pending,
        running=value.running,
        succeed=value.succeed,
        failed=value.failed,
        cancelled=value.cancelled,
        events=map(event, value.events) if events else (),
    )
    if value.completed is not None:
        status.completion_time = ms(value.completed)
    return pb.Session(metadata=metadata(value.id), spec=session_spec(value.spec), status=status)


# -- tasks ------------------------------------------------------------------------------------------------------------


def task(value: m.TaskInfo) -> pb.Task:
    spec = pb.TaskSpec(session_id=value.session)
    if value.input is not None:
        spec.input = value.input
    if value.output is not None:
        spec.output = value.output
    status = pb.TaskStatus(
        state=pb.TaskState.Name(value.state), creation_time=ms(value.created), events=map(event, value.events)
    )
    if value.completed is not None:
        status.completion_time = ms(value.completed)
    return pb.Task(metadata=metadata(str(value.no)), spec=spec, status=status)


def to_task_no(text: str) -> int:
    """The number a task id spells. Raises InvalidArgument unless it is a signed 64-bit integer."""
    try:
        no = int(text) if text.isascii() and len(text) <= 20 and "_" not in text else MAX_INT64 + 1
    except ValueError:
        no = MAX_INT64 + 1
    if not -(2**63) <= no <= MAX_INT64:
        raise InvalidArgument(f"invalid task id <{text[:64]}>", hint="a task id is a decimal number from 1")
    return no


# -- executors and nodes ----------------------------------------------------------------------------------------------


def executor(value: m.ExecutorInfo) -> pb.Executor:
    status = pb.ExecutorStatus(state=pb.ExecutorState.Name(value.state))
    if value.session is not None:
        status.session_id = value.session
    return pb.Executor(
        metadata=metadata(value.id),
        spec=pb.ExecutorSpec(node=value.node, resreq=resources(value.resources), shim=pb.Shim.Name(value.shim)),
        status=status,
    )


def node(value: m.NodeInfo) -> pb.Node:
    return pb.Node(
        metadata=metadata(value.name),
        spec=pb.NodeSpec(hostname=value.name),
        status=pb.NodeStatus(
            state=pb.NodeState.Name(value.state),
            capacity=resources(value.capacity),
            allocatable=resources(value.allocatable),
            info=pb.NodeInfo(arch=value.arch, os=value.os),
        ),
    )


def to_register_node(value: pb.Node, executors: Iterable[pb.Executor]) -> m.RegisterNode:
    """A node as its agent reports it, with the executors it still runs. Raises InvalidArgument without a name."""
    name = value.metadata.name or value.metadata.id or value.spec.hostname
    if not name:
        raise InvalidArgument("the node has no name", hint="set metadata.name")
    return m.RegisterNode(
        name=name,
        capacity=to_resources(value.status.capacity),
        allocatable=to_resources(value.status.allocatable),
        arch=value.status.info.arch,
        os=value.status.info.os,
        running=tuple(
            m.Placed(
                id=entry.metadata.id,
                session=entry.status.session_id,
                resources=to_resources(entry.spec.resreq),
                shim=entry.spec.shim,
            )
            for entry in executors
            if entry.status.state != pb.ExecutorReleased
        ),
    )
