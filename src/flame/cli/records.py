"""Sessions, tasks, applications, nodes and executors as records (for JSON and YAML) and as columns (for tables)."""

from __future__ import annotations

from typing import Any

from flame.cli.output import Column, clock
from flame.core.base.quantity import format_duration, format_resources, format_size
from flame.core.model import messages as m
from flame.core.model.states import ExecutorState, NodeState, SessionState, TaskState

SHIMS = ("Host", "Wasm")
APP_STATES = ("Enabled", "Disabled")
NODE_WORDS = {NodeState.UNKNOWN: "Unknown", NodeState.READY: "Ready", NodeState.NOT_READY: "NotReady"}


def session_state(state: int) -> str:
    return SessionState(state).name.capitalize()


def task_state(state: int) -> str:
    return TaskState(state).name.capitalize()


def resources_text(resources: Any) -> str:
    """`cpu=1,mem=1Gi,gpu=0`, or `-`."""
    if not resources:
        return "-"
    cpu, gpu = resources.get("cpu", 0) / 1000, resources.get("gpu", 0) / 1000
    return f"cpu={cpu:g},mem={format_size(resources.get('memory', 0))},gpu={gpu:g}"


def event(value: m.EventInfo) -> dict[str, Any]:
    return {"code": value.code, "message": value.message, "creation_time": value.at, "reason": value.reason}


def session(value: m.SessionInfo) -> dict[str, Any]:
    """The keys of `view -s -o json`, and ours after them. Times are epoch seconds."""
    return {
        "id": value.id,
        "application": value.spec.application,
        "common_data": value.spec.common_data,
        "creation_time": value.created,
        "state": session_state(value.state),
        "pending": value.pending,
        "running": value.running,
        "succeed": value.succeed,
        "failed": value.failed,
        "events": [event(one) for one in value.events],
        "priority": value.spec.priority,
        "resreq": format_resources(value.spec.resources) if value.spec.resources else None,
        "cancelled": value.cancelled,
        "completion_time": value.completed,
        "alias": value.alias,
        "slots": value.slots,
        "resources": dict(value.spec.resources),
        "min_instances": value.spec.min_instances,
        "max_instances": value.spec.max_instances,
    }


SESSION = (
    Column("ID", lambda r: r["id"]),
    Column("State", lambda r: r["state"]),
    Column("App", lambda r: r["application"]),
    Column("Slots", lambda r: r["slots"]),
    Column("Resources", lambda r: resources_text(r["resources"]), wide=True),
    Column("Priority", lambda r: r["priority"]),
    Column("Pending", lambda r: r["pending"]),
    Column("Running", lambda r: r["running"]),
    Column("Succeed", lambda r: r["succeed"]),
    Column("Failed", lambda r: r["failed"]),
    Column("Cancelled", lambda r: r["cancelled"], wide=True),
    Column("Created", lambda r: clock(r["creation_time"])),
    Column("Alias", lambda r: r["alias"], wide=True),
)
SESSION_CLASSIC = tuple(column for column in SESSION if column.title != "Priority")


def task(value: m.TaskInfo) -> dict[str, Any]:
    return {
        "id": str(value.no),
        "ssn_id": value.session,
        "state": task_state(value.state),
        "input": value.input,
        "output": value.output,
        "events": [event(one) for one in value.events],
        "attempt": value.attempt,
        "creation_time": value.created,
        "completion_time": value.completed,
    }


def app(value: m.AppInfo) -> dict[str, Any]:
    spec = value.spec
    return {
        "name": value.name,
        "state": APP_STATES[value.state],
        "creation_time": value.created,
        "shim": SHIMS[spec.shim],
        "description": spec.description,
        "labels": list(spec.labels),
        "image": spec.image,
        "url": spec.url,
        "installer": spec.installer,
        "command": spec.command,
        "arguments": list(spec.arguments),
        "environments": dict(spec.environments),
        "working_directory": spec.working_directory,
        "max_instances": spec.max_instances,
        "delay_release": spec.delay_release,
        "schema": {"input": spec.schema_input, "output": spec.schema_output, "common_data": spec.schema_common_data},
    }


APP = (
    Column("Name", lambda r: r["name"]),
    Column("State", lambda r: r["state"]),
    Column("Shim", lambda r: r["shim"]),
    Column("Tags", lambda r: ", ".join(r["labels"]) or "-"),
    Column("Created", lambda r: clock(r["creation_time"])),
    Column("Command", lambda r: r["command"] or "-"),
    Column("Installer", lambda r: r["installer"] or "-", wide=True),
    Column("Delay Release", lambda r: duration(r["delay_release"]), wide=True),
)


def duration(seconds: float) -> str:
    """`1m`, `1h 5m`; `-` for none."""
    words = format_duration(seconds)
    spaced = "".join(
        f"{char} " if char.isalpha() and not words[i + 1 : i + 2].isalpha() else char for i, char in enumerate(words)
    )
    return spaced.strip() if seconds else "-"


def node(value: m.NodeInfo) -> dict[str, Any]:
    return {
        "name": value.name,
        "state": NODE_WORDS[NodeState(value.state)],
        "capacity": dict(value.capacity),
        "allocatable": dict(value.allocatable),
        "arch": value.arch,
        "os": value.os,
        "labels": dict(value.labels),
        "driver": value.driver,
        "last_heartbeat": value.last_heartbeat,
    }


def cpus(resources: dict[str, int]) -> str:
    return f"{resources.get('cpu', 0) / 1000:g}"


NODE = (
    Column("NAME", lambda r: r["name"]),
    Column("HOSTNAME", lambda r: r["name"]),
    Column("STATUS", lambda r: r["state"]),
    Column("CPU", lambda r: cpus(r["capacity"])),
    Column("MEMORY", lambda r: format_size(r["capacity"].get("memory", 0))),
    Column("GPU", lambda r: f"{r['capacity'].get('gpu', 0) / 1000:g}", wide=True),
    Column("ARCH", lambda r: r["arch"]),
    Column("OS", lambda r: r["os"]),
)


def executor(value: m.ExecutorInfo) -> dict[str, Any]:
    return {
        "id": value.id,
        "state": ExecutorState(value.state).name.capitalize(),
        "session": value.session,
        "node": value.node,
        "resources": dict(value.resources),
        "shim": SHIMS[value.shim],
        "pid": value.pid,
    }


EXECUTOR = (
    Column("ID", lambda r: r["id"]),
    Column("State", lambda r: r["state"]),
    Column("Session", lambda r: r["session"] or "-"),
    Column("Node", lambda r: r["node"]),
    Column("Resources", lambda r: resources_text(r["resources"]), wide=True),
    Column("Pid", lambda r: r["pid"] or "-", wide=True),
)
