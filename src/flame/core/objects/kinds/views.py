"""What the engine knows and nobody writes: FlameAgent, Node, Pod, Event."""

from __future__ import annotations

from flame.core.objects.kinds.common import AGE, Column, Kind, conditions, top
from flame.core.objects.kinds.pod import POD_SPEC
from flame.core.objects.kinds.workload import GROUP, VERSION
from flame.core.objects.schema import Boolean, Field, Integer, ListOf, MapOf, Object, Quantity, Text

_AMOUNTS = MapOf(item=Quantity())
_TAINTS = ListOf(
    "What keeps replicas away.",
    item=Object(
        fields={"key": Text(required=True), "value": Text(), "effect": Text(required=True), "timeAdded": Text()}
    ),
)

AGENT = Kind(
    name="FlameAgent",
    group=GROUP,
    version=VERSION,
    plural="flameagents",
    short=("fa",),
    namespaced=False,
    writable=False,
    subresources=("status",),
    columns=(
        Column("Status", "status.phase"),
        Column("CPU", "status.capacity.cpu"),
        Column("Memory", "status.capacity.memory"),
        Column("GPU", "status.capacity[nvidia.com/gpu]"),
        Column("Workloads", "status.workloads", "integer"),
        Column("Heartbeat", "status.lastHeartbeatTime", "date"),
        AGE,
    ),
    schema=top(
        "FlameAgent",
        f"{GROUP}/{VERSION}",
        {
            "spec": Object(
                "How it was set.",
                open=True,
                fields={
                    "nodeName": Text("Its node."),
                    "unschedulable": Boolean("Is nothing new placed there?"),
                    "taints": _TAINTS,
                    "maxConcurrentWorkloads": Integer("Replicas at once; none: no limit."),
                },
            ),
            "status": Object(
                "What is so.",
                open=True,
                fields={
                    "phase": Text("Ready, NotReady or Lost."),
                    "capacity": _AMOUNTS,
                    "allocatable": _AMOUNTS,
                    "allocated": _AMOUNTS,
                    "workloads": Integer("Replicas it runs."),
                    "lastHeartbeatTime": Text("When it was last heard of."),
                    "conditions": conditions(),
                },
            ),
        },
        namespaced=False,
        doc="An agent: what its node has, whether it lives, and what it runs.",
    ),
)

NODE = Kind(
    name="Node",
    group="",
    version="v1",
    plural="nodes",
    short=("no",),
    namespaced=False,
    writable=False,
    columns=(
        Column("Status", "status.phase"),
        Column("CPU", "status.allocatable.cpu", wide=True),
        Column("Memory", "status.allocatable.memory", wide=True),
        AGE,
    ),
    schema=top(
        "Node",
        "v1",
        {
            "spec": Object(open=True, fields={"unschedulable": Boolean(), "taints": _TAINTS}),
            "status": Object(
                open=True, fields={"capacity": _AMOUNTS, "allocatable": _AMOUNTS, "conditions": conditions()}
            ),
        },
        namespaced=False,
        doc="A machine that replicas run on.",
    ),
)

POD = Kind(
    name="Pod",
    group="",
    version="v1",
    plural="pods",
    short=("po",),
    writable=False,
    columns=(
        Column("Ready", "status.ready"),
        Column("Status", "status.phase"),
        Column("Restarts", "status.restarts", "integer"),
        AGE,
        Column("Node", "spec.nodeName", wide=True),
    ),
    schema=top(
        "Pod",
        "v1",
        {
            "spec": POD_SPEC,
            "status": Object(
                open=True, fields={"phase": Text("Pending, Running, Succeeded or Failed."), "conditions": conditions()}
            ),
        },
        doc="One replica of a workload.",
    ),
)

EVENT = Kind(
    name="Event",
    group="",
    version="v1",
    plural="events",
    short=("ev",),
    writable=False,
    columns=(
        Column("Last Seen", "lastTimestamp", "date"),
        Column("Type", "type"),
        Column("Reason", "reason"),
        Column("Object", "involvedObject.name"),
        Column("Message", "message"),
        Column("Count", "count", "integer", wide=True),
    ),
    schema=top(
        "Event",
        "v1",
        {
            "involvedObject": Object(
                "What it is about.",
                required=True,
                open=True,
                fields={"kind": Text(), "namespace": Text(), "name": Text(), "uid": Text(), "apiVersion": Text()},
            ),
            "reason": Text("One word."),
            "message": Text("The same for people."),
            "type": Text("How bad it is.", choices=("Normal", "Warning")),
            "count": Integer("How often."),
            "firstTimestamp": Text("When first."),
            "lastTimestamp": Text("When last."),
            "eventTime": Text("When."),
            "source": Object("Who says so.", open=True),
            "reportingComponent": Text("Who says so."),
            "reportingInstance": Text("Which one."),
            "action": Text("What was done."),
            "related": Field("What else it is about."),
            "series": Field("How it goes on."),
        },
        doc="Something that happened to an object.",
    ),
)

KINDS = (AGENT, NODE, POD, EVENT)
