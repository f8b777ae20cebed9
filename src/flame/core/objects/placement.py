"""Reads where a workload's replicas may go: from `spec.scheduling` and from the pod template, both of which must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.core.base.quantity import quantity_units
from flame.core.model.rules import NodeTerm, PlacementRules, PodTerm, PreferredNodes, Requirement, Spread, Toleration
from flame.core.objects.selectors import read_labels, read_term

_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def read_placement(spec: Mapping[str, Any]) -> PlacementRules:
    """The rules of a workload's spec. Where scheduling and template ask for different values of one label no node fits, and a reason can
    say so: both stay."""
    scheduling = spec.get("scheduling") or {}
    pod = spec["template"]["spec"]
    halves = (scheduling, pod)
    affinities = [half.get("affinity") or {} for half in halves]
    gpu = scheduling.get("gpu") or {}
    return PlacementRules(
        node_selector=tuple(sorted({pair for half in halves for pair in (half.get("nodeSelector") or {}).items()})),
        tolerations=tuple(
            dict.fromkeys(_toleration(item) for half in halves for item in half.get("tolerations") or ())
        ),
        required_nodes=_required([a.get("nodeAffinity") or {} for a in affinities], pod.get("nodeName") or ""),
        preferred_nodes=tuple(
            PreferredNodes(item["weight"], read_term(item["preference"]))
            for affinity in affinities
            for item in (affinity.get("nodeAffinity") or {}).get(_PREFERRED) or ()
        ),
        near=_pods(affinities, "podAffinity"),
        apart=_pods(affinities, "podAntiAffinity"),
        spread=tuple(_spread(item) for half in halves for item in half.get("topologySpreadConstraints") or ()),
        gpu_model=gpu.get("model") or "",
        gpu_memory=quantity_units(gpu["memory"]) if gpu.get("memory") is not None else 0,
    )


def _toleration(item: Mapping[str, Any]) -> Toleration:
    seconds = item.get("tolerationSeconds")
    return Toleration(
        key=item.get("key") or "",
        operator=item.get("operator") or "Equal",
        value=item.get("value") or "",
        effect=item.get("effect") or "",
        seconds=None if seconds is None else float(max(0, seconds)),
    )


def _required(affinities: list[Mapping[str, Any]], node: str) -> tuple[NodeTerm, ...]:
    """Terms are alternatives; where several places ask, one term of each must match: every combination is a term."""
    together: tuple[NodeTerm, ...] = ()
    for affinity in affinities:
        terms = tuple(read_term(term) for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())
        together = _both(together, terms)
    if node:
        together = _both(together, (NodeTerm(fields=(Requirement("metadata.name", "In", (node,)),)),))
    return together


def _both(left: tuple[NodeTerm, ...], right: tuple[NodeTerm, ...]) -> tuple[NodeTerm, ...]:
    if not left or not right:
        return left or right
    return tuple(NodeTerm(a.expressions + b.expressions, a.fields + b.fields) for a in left for b in right)


def _pods(affinities: list[Mapping[str, Any]], name: str) -> tuple[PodTerm, ...]:
    found: list[PodTerm] = []
    for affinity in affinities:
        part = affinity.get(name) or {}
        found += [_pod_term(term, 0) for term in part.get(_REQUIRED) or ()]
        found += [_pod_term(item["podAffinityTerm"], item["weight"]) for item in part.get(_PREFERRED) or ()]
    return tuple(found)


def _pod_term(term: Mapping[str, Any], weight: int) -> PodTerm:
    return PodTerm(
        selector=read_labels(term.get("labelSelector")),
        topology_key=term["topologyKey"],
        namespaces=tuple(term.get("namespaces") or ()),
        namespace_selector=read_labels(term.get("namespaceSelector")),
        weight=weight,
    )


def _spread(item: Mapping[str, Any]) -> Spread:
    return Spread(
        max_skew=item["maxSkew"],
        topology_key=item["topologyKey"],
        hard=item["whenUnsatisfiable"] == "DoNotSchedule",
        selector=read_labels(item.get("labelSelector")),
        min_domains=item.get("minDomains") or 1,
    )
