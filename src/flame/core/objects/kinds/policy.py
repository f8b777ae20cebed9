"""What decides who goes first and how much there is for whom: PriorityClass, ResourceQuota, Namespace."""

from __future__ import annotations

from flame.core.objects.kinds.common import AGE, Column, Kind, ignored, top
from flame.core.objects.kinds.container import wrong_resource
from flame.core.objects.schema import Boolean, Integer, ListOf, MapOf, Object, Quantity, Text

COUNTED = (
    "pods",
    "services",
    "persistentvolumeclaims",
    "configmaps",
    "resourcequotas",
    "replicationcontrollers",
    "secrets",
)
"""Objects that a quota counts by their plural name."""


def wrong_quota(name: str) -> str:
    """What is wrong with the name of a quota's resource; empty: nothing."""
    if name in COUNTED or name.startswith("count/"):
        return ""
    bare = name.removeprefix("requests.").removeprefix("limits.")
    if bare == "storage":
        return ""
    wrong = wrong_resource(bare)
    if wrong:
        known = f"requests.NAME and limits.NAME of cpu, memory or nvidia.com/gpu, and {', '.join(COUNTED)}"
        return f"unknown resource {name[:80]!r}; known: {known}"
    return ""


_HARD = MapOf("Most there may be, by resource.", item=Quantity(), key=wrong_quota)

RESOURCE_QUOTA = Kind(
    name="ResourceQuota",
    group="",
    version="v1",
    plural="resourcequotas",
    short=("quota",),
    subresources=("status",),
    columns=(Column("Hard", "spec.hard"), Column("Used", "status.used"), AGE),
    schema=top(
        "ResourceQuota",
        "v1",
        {
            "spec": Object(
                "Bounds.",
                required=True,
                fields={
                    "hard": _HARD,
                    "scopes": ListOf("Which pods count.", item=Text(), unused=True),
                    "scopeSelector": ignored("Which pods count."),
                },
            ),
            "status": Object(
                "What is so.",
                open=True,
                fields={"hard": _HARD, "used": MapOf("What is used.", item=Quantity(), key=wrong_quota)},
            ),
        },
        doc="The most that a namespace may use.",
    ),
)

PRIORITY_CLASS = Kind(
    name="PriorityClass",
    group="scheduling.k8s.io",
    version="v1",
    plural="priorityclasses",
    short=("pc",),
    namespaced=False,
    immutable=("value", "preemptionPolicy"),
    columns=(
        Column("Value", "value", "integer"),
        Column("Global-Default", "globalDefault", "boolean"),
        AGE,
        Column("PreemptionPolicy", "preemptionPolicy"),
        Column("Description", "description"),
    ),
    schema=top(
        "PriorityClass",
        "scheduling.k8s.io/v1",
        {
            "value": Integer("The higher, the sooner.", required=True, minimum=-(2**31), maximum=1_000_000_000),
            "globalDefault": Boolean("Of workloads that name no class? One class at most.", default=False),
            "description": Text("For people.", default=""),
            "preemptionPolicy": Text(
                "May its workloads evict lower ones?",
                choices=("PreemptLowerPriority", "Never"),
                default="PreemptLowerPriority",
            ),
        },
        namespaced=False,
        doc="How important a workload is.",
    ),
)

NAMESPACE = Kind(
    name="Namespace",
    group="",
    version="v1",
    plural="namespaces",
    short=("ns",),
    namespaced=False,
    columns=(Column("Status", "status.phase"), AGE),
    schema=top(
        "Namespace",
        "v1",
        {
            "spec": Object("Nothing to say.", fields={"finalizers": ListOf("Set by Kubernetes.", item=Text())}),
            "status": Object("What is so.", open=True, fields={"phase": Text("Active or Terminating.")}),
        },
        namespaced=False,
        doc="A space of names.",
    ),
)

KINDS = (RESOURCE_QUOTA, PRIORITY_CLASS, NAMESPACE)
