"""Where a replica may run and where it would rather run: what Kubernetes calls node selector, tolerations, affinity and topology spread.

Plain values, all of them hashable, and the questions that can be answered from labels and taints alone. What needs the whole cluster
(how many of whose replicas run in which domain) is the scheduler's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from flame.core.model.messages import Taint

Labels: TypeAlias = Mapping[str, str]

IN, NOT_IN, EXISTS, DOES_NOT_EXIST, GT, LT = "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"
NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"


@dataclass(frozen=True)
class Requirement:
    """One claim about one label. `operator`: In, NotIn, Exists, DoesNotExist, Gt or Lt; the last two compare whole numbers."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """NotIn and DoesNotExist hold where the label is missing; Gt and Lt need a whole number on both sides."""
        found = labels.get(self.key)
        match self.operator:
            case "In":
                return found is not None and found in self.values
            case "NotIn":
                return found is None or found not in self.values
            case "Exists":
                return found is not None
            case "DoesNotExist":
                return found is None
        left, right = _whole(found), _whole(self.values[0] if self.values else None)
        if left is None or right is None:
            return False
        return left > right if self.operator == GT else left < right

    def __str__(self) -> str:
        """As a selector is written: `a=b`, `a in (b,c)`, `!a`, `a>3`."""
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "NotIn" if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case "In" | "NotIn":
                word = "in" if self.operator == IN else "notin"
                return f"{self.key} {word} ({','.join(self.values)})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
        return f"{self.key}{'>' if self.operator == GT else '<'}{','.join(self.values)}"


@dataclass(frozen=True)
class LabelSelector:
    """All requirements together (`matchLabels` become In); without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


@dataclass(frozen=True)
class NodeTerm:
    """One of several ways in which a node may fit. `fields`: claims about metadata.name. A term without claims matches no node."""

    expressions: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels, name: str = "") -> bool:
        if not self.expressions and not self.fields:
            return False
        about = {"metadata.name": name}
        return all(r.matches(labels) for r in self.expressions) and all(r.matches(about) for r in self.fields)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in (*self.expressions, *self.fields))


@dataclass(frozen=True)
class PreferredNodes:
    """Nodes that the term matches gain `weight` (1 to 100)."""

    weight: int
    term: NodeTerm


@dataclass(frozen=True)
class Toleration:
    """`operator`: Exists or Equal. An empty key with Exists tolerates every taint, an empty effect every effect. `seconds`: how long a
    NoExecute taint is borne; None: for ever."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    seconds: float | None = None

    def matches(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.value == taint.value


@dataclass(frozen=True)
class PodTerm:
    """Other replicas to be near to, or away from, within one domain of `topology_key`.

    selector:   which; None matches none
    namespaces: where they are looked for; empty, without `namespace_selector`: in the workload's own namespace
    weight:     1 to 100 where this is a preference; 0 where it is required
    """

    selector: LabelSelector | None
    topology_key: str
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    weight: int = 0

    def matches(self, labels: Labels, namespace: str, own: str, namespace_labels: Labels) -> bool:
        """Does it speak of a replica with these labels in `namespace`, asked by a workload of namespace `own`?"""
        if self.selector is None or not self.selector.matches(labels):
            return False
        if not self.namespaces and self.namespace_selector is None:
            return namespace == own
        chosen = self.namespace_selector is not None and self.namespace_selector.matches(namespace_labels)
        return namespace in self.namespaces or chosen


@dataclass(frozen=True)
class Spread:
    """Between any two domains of `topology_key` the number of matching replicas differs by at most `max_skew`.

    hard: DoNotSchedule; otherwise ScheduleAnyway, a preference
    min_domains: fewer domains than this count as if one were empty
    """

    max_skew: int
    topology_key: str
    hard: bool
    selector: LabelSelector | None = None
    min_domains: int = 1


@dataclass(frozen=True)
class PlacementRules:
    """Everything a workload says about where its replicas go.

    node_selector:   label, value; all must be there
    required_nodes:  one of these must match; empty: no restriction
    preferred_nodes: with weights
    near, apart:     pod affinity and anti-affinity, required ones and (with a weight) preferred ones
    """

    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    required_nodes: tuple[NodeTerm, ...] = ()
    preferred_nodes: tuple[PreferredNodes, ...] = ()
    near: tuple[PodTerm, ...] = ()
    apart: tuple[PodTerm, ...] = ()
    spread: tuple[Spread, ...] = ()
    gpu_model: str = ""
    """The GPU model that is asked for, compared without regard to case, as a part of the device's name; empty: any."""
    gpu_memory: int = 0
    """Bytes a device has at least; 0: any."""

    @property
    def required_near(self) -> tuple[PodTerm, ...]:
        return tuple(term for term in self.near if not term.weight)

    @property
    def required_apart(self) -> tuple[PodTerm, ...]:
        return tuple(term for term in self.apart if not term.weight)


ANYWHERE = PlacementRules()


def selector_refusal(rules: PlacementRules, labels: Labels) -> str:
    """Which labels of the node selector this node lacks, as `node-type=gpu`; empty when it has all."""
    return ",".join(f"{key}={value}" for key, value in rules.node_selector if labels.get(key) != value)


def affinity_refusal(rules: PlacementRules, labels: Labels, name: str = "") -> str:
    """What required node affinity asks for when this node does not match it; empty when it does."""
    if not rules.required_nodes or any(term.matches(labels, name) for term in rules.required_nodes):
        return ""
    return " or ".join(str(term) for term in rules.required_nodes)


def untolerated(tolerations: tuple[Toleration, ...], taints: Iterable[Taint], effects: tuple[str, ...]) -> list[Taint]:
    """The taints of one of these effects that no toleration bears."""
    return [t for t in taints if t.effect in effects and not any(bears.matches(t) for bears in tolerations)]


def taint_refusal(rules: PlacementRules, taints: Iterable[Taint]) -> str:
    """The first taint that keeps the workload off this node, as `key=value:NoSchedule`; empty when none does."""
    found = untolerated(rules.tolerations, taints, (NO_SCHEDULE, NO_EXECUTE))
    if not found:
        return ""
    taint = found[0]
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"


def node_preference(rules: PlacementRules, labels: Labels, taints: Iterable[Taint] = (), name: str = "") -> int:
    """The weights of all preferences this node meets, less 100 for every PreferNoSchedule taint it would have to bear."""
    liked = sum(p.weight for p in rules.preferred_nodes if p.term.matches(labels, name))
    return liked - 100 * len(untolerated(rules.tolerations, taints, (PREFER_NO_SCHEDULE,)))


def _whole(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
