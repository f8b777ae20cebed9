"""Where pods go, as core/v1 writes it: node selector, tolerations, affinity, topology spread."""

from __future__ import annotations

from collections.abc import Iterator

from flame.core.objects import syntax
from flame.core.objects.kinds.common import (
    NODE_OPERATORS,
    LabelText,
    expressions,
    ignored,
    label_selector,
)
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem
from flame.core.objects.schema import Body, Field, Integer, ListOf, MapOf, Object, Text

NODE_SELECTOR = MapOf("Labels a node must have.", item=LabelText(), key=syntax.wrong_key)


def _toleration(value: Body, path: str) -> Iterator[Problem]:
    operator = value.get("operator") or "Equal"
    if operator == "Exists" and value.get("value"):
        yield Problem(join(path, "value"), "operator Exists takes no value", "leave it out, or use operator Equal")
    if not value.get("key") and operator != "Exists":
        yield Problem(join(path, "operator"), "without a key only Exists is legal", "it then tolerates every taint")
    if value.get("tolerationSeconds") is not None and value.get("effect") != "NoExecute":
        yield Problem(join(path, "tolerationSeconds"), "has a meaning with effect NoExecute only")


TOLERATIONS = ListOf(
    "Taints of nodes that are borne.",
    keys=("key", "operator", "value", "effect"),
    unique=False,
    item=Object(
        checks=(_toleration,),
        fields={
            "key": Text("The taint's key; empty with Exists: every taint.", default=""),
            "operator": Text("How the value is compared.", choices=("Exists", "Equal"), default="Equal"),
            "value": Text("The taint's value.", default=""),
            "effect": Text(
                "The taint's effect; empty: every one.",
                choices=("", "NoSchedule", "PreferNoSchedule", "NoExecute"),
                default="",
            ),
            "tolerationSeconds": Integer("Seconds a NoExecute taint is borne; none: for ever."),
        },
    ),
)


def _term(value: Body, path: str) -> Iterator[Problem]:
    if not value.get("matchExpressions") and not value.get("matchFields"):
        yield Problem(path, "a term without claims matches no node", "give matchExpressions")


_NODE_TERM = Object(
    "Claims that must hold together.",
    checks=(_term,),
    fields={
        "matchExpressions": expressions("Claims about the node's labels.", NODE_OPERATORS),
        "matchFields": expressions("Claims about metadata.name.", ("In", "NotIn")),
    },
)

_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
_WEIGHT = Integer("How much it counts.", required=True, minimum=1, maximum=100)

_NODE_AFFINITY = Object(
    "Which nodes.",
    fields={
        _REQUIRED: Object(
            "One of the terms must match.",
            fields={"nodeSelectorTerms": ListOf("Any of them.", item=_NODE_TERM, required=True, least=1)},
        ),
        _PREFERRED: ListOf(
            "Nodes that would be better.",
            item=Object(
                fields={"weight": _WEIGHT, "preference": Object(required=True, fields=_NODE_TERM.fields)},
            ),
        ),
    },
)

_POD_TERM_FIELDS: dict[str, Field] = {
    "labelSelector": label_selector("Which pods; none: no pods."),
    "topologyKey": Text("Node label whose values are the domains.", required=True, empty=False),
    "namespaces": ListOf("Where pods are looked for; empty: in the own namespace.", item=Text()),
    "namespaceSelector": label_selector("The same by labels of namespaces."),
    "matchLabelKeys": ignored("Keys taken from the own labels."),
    "mismatchLabelKeys": ignored("Keys taken from the own labels, negated."),
}
_POD_TERM = Object("Pods to be near to, or away from.", fields=_POD_TERM_FIELDS)


def _pod_affinity(doc: str) -> Object:
    return Object(
        doc,
        fields={
            _REQUIRED: ListOf("All of these must hold.", item=_POD_TERM),
            _PREFERRED: ListOf(
                "What would be better.",
                item=Object(
                    fields={"weight": _WEIGHT, "podAffinityTerm": Object(required=True, fields=_POD_TERM_FIELDS)}
                ),
            ),
        },
    )


AFFINITY = Object(
    "Nodes and neighbours that are required or preferred.",
    fields={
        "nodeAffinity": _NODE_AFFINITY,
        "podAffinity": _pod_affinity("Be where these are."),
        "podAntiAffinity": _pod_affinity("Be where these are not."),
    },
)


def _spread(value: Body, path: str) -> Iterator[Problem]:
    if value.get("minDomains") is not None and value["whenUnsatisfiable"] != "DoNotSchedule":
        yield Problem(join(path, "minDomains"), "has a meaning with whenUnsatisfiable DoNotSchedule only")


SPREAD = ListOf(
    "How evenly replicas are spread.",
    keys=("topologyKey", "whenUnsatisfiable"),
    item=Object(
        checks=(_spread,),
        fields={
            "maxSkew": Integer("By how much domains may differ.", required=True, minimum=1),
            "topologyKey": Text("Node label whose values are the domains.", required=True, empty=False),
            "whenUnsatisfiable": Text("Rule or wish?", choices=("DoNotSchedule", "ScheduleAnyway"), required=True),
            "labelSelector": label_selector("Which pods count; none: no pods."),
            "minDomains": Integer("Domains there should be.", minimum=1),
            "matchLabelKeys": Field("Keys taken from the own labels.", unused=True),
            "nodeAffinityPolicy": Text("Do other nodes count?", choices=("Honor", "Ignore"), unused=True),
            "nodeTaintsPolicy": Text("Do tainted nodes count?", choices=("Honor", "Ignore"), unused=True),
        },
    ),
)
