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


def _wrong_flavored(name: str) -> str:
    """The same, where a GPU may be of one model only: `requests.nvidia.com/gpu@NVIDIA A100`."""
    return wrong_quota(name.partition("@")[0])


def _tree_amounts(doc: str) -> MapOf:
    return MapOf(doc, item=Quantity(), key=_wrong_flavored)


TREE_QUOTA = Kind(
    name="FlameQuota",
    group="flame.xflops.cn",
    version="v1alpha1",
    plural="flamequotas",
    short=("fq",),
    namespaced=False,
    subresources=("status",),
    columns=(
        Column("Tenant", "spec.tenant"),
        Column("Parent", "spec.parent"),
        Column("Guaranteed", "spec.guaranteed"),
        Column("Hard", "spec.hard"),
        Column("Used", "status.used"),
        AGE,
    ),
    schema=top(
        "FlameQuota",
        "flame.xflops.cn/v1alpha1",
        {
            "spec": Object(
                "A node of the quota tree.",
                required=True,
                fields={
                    "tenant": Text("Whose use it counts; none: the tenant of its own name."),
                    "parent": Text("The quota above it, whose other children it borrows from; none: it is at the top."),
                    "guaranteed": _tree_amounts("What it gets back from those who borrowed it."),
                    "hard": _tree_amounts("What it never passes; beyond what is guaranteed it borrows."),
                    "lend": _tree_amounts("Of what is guaranteed and unused, what others may borrow; none: all."),
                },
            ),
            "status": Object("What is so.", open=True),
        },
        namespaced=False,
        doc="What a tenant is guaranteed, may borrow, and never passes: one node of the quota tree.",
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

KINDS = (RESOURCE_QUOTA, PRIORITY_CLASS, NAMESPACE, TREE_QUOTA)
