"""What workloads say about where their replicas go: selectors, taints, affinity and topology spread, as Kubernetes reads them."""

from __future__ import annotations

from collections.abc import Callable

from flame.core.model.rules import (
    PodTerm,
    Spread,
    affinity_refusal,
    node_preference,
    selector_refusal,
    taint_refusal,
)
from flame.core.model.snapshot import DemandView
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState, Proposal

Domains = dict[str, int]


class Rules:
    """Always on: a rule that a user wrote is never bent."""

    name = "rules"

    def __init__(self) -> None:
        self._counts: dict[object, tuple[int, Domains]] = {}
        self._of: Proposal | None = None

    def fits(self, node: NodeState, demand: DemandState) -> bool | None:
        rules, view = demand.view.rules, node.view
        if view.taints and taint_refusal(rules, view.taints):
            return False
        if not demand.view.workload:
            return True
        if selector_refusal(rules, view.labels) or affinity_refusal(rules, view.labels, node.name):
            return False
        if not (rules.near or rules.apart or rules.spread or node.proposal.any_apart):
            return True
        return not self._neighbours_refuse(node, demand)

    def score(self, node: NodeState, demand: DemandState) -> float | None:
        rules = demand.view.rules
        if not (rules.preferred_nodes or node.view.taints or rules.near or rules.apart or rules.spread):
            return None
        if rules.near or rules.apart or rules.spread:
            node.proposal.everybody()
        liked = float(node_preference(rules, node.view.labels, node.view.taints, node.name))
        for term in rules.near:
            liked += term.weight * bool(self._among(node, demand, term))
        for term in rules.apart:
            liked -= term.weight * bool(self._among(node, demand, term))
        for spread in rules.spread:
            liked -= 0.0 if spread.hard else self._in_domain(node, demand, spread)
        return liked

    def _neighbours_refuse(self, node: NodeState, demand: DemandState) -> str:
        """Why those who are there already keep it off this node; empty when they do not."""
        rules, mine = demand.view.rules, demand.view
        node.proposal.everybody()
        for term in rules.required_near:
            first = not any(self._domains(node.proposal, demand, term).values())
            alone = first and term.matches(mine.labels, mine.namespace, mine.namespace)
            if term.topology_key not in node.view.labels or not (alone or self._among(node, demand, term)):
                return f"near {term.selector} by {term.topology_key}"
        for term in rules.required_apart:
            if self._among(node, demand, term):
                return f"apart from {term.selector} by {term.topology_key}"
        for other in node.proposal.demands.values():
            for term in other.view.rules.required_apart if other is not demand else ():
                theirs = other.view.namespace
                if term.matches(mine.labels, mine.namespace, theirs) and self._has(node, other, term.topology_key):
                    return f"{other.view.session} wants to be apart from it"
        for spread in rules.spread:
            if spread.hard and self._skew(node, demand, spread) > spread.max_skew:
                return f"spread over {spread.topology_key} with skew {spread.max_skew}"
        return ""

    def _has(self, node: NodeState, other: DemandState, key: str) -> bool:
        """Does `other` have a replica in the domain of this node?"""
        domain = node.view.labels.get(key)
        nodes = node.proposal.nodes
        return domain is not None and any(
            count and name in nodes and nodes[name].view.labels.get(key) == domain
            for name, count in node.proposal.residents.get(other.view.session, {}).items()
        )

    def _among(self, node: NodeState, demand: DemandState, term: PodTerm) -> int:
        domain = node.view.labels.get(term.topology_key)
        return 0 if domain is None else self._domains(node.proposal, demand, term).get(domain, 0)

    def _domains(self, proposal: Proposal, demand: DemandState, term: PodTerm) -> Domains:
        own = demand.view.namespace
        return self._count(
            proposal, (own, term), term.topology_key, lambda view: term.matches(view.labels, view.namespace, own)
        )

    def _in_domain(self, node: NodeState, demand: DemandState, spread: Spread) -> int:
        counts = self._spread(node.proposal, demand, spread)
        return counts.get(node.view.labels.get(spread.topology_key, ""), 0)

    def _skew(self, node: NodeState, demand: DemandState, spread: Spread) -> int:
        """Between this node's domain with one more and the emptiest domain that it may use."""
        if spread.topology_key not in node.view.labels:
            return spread.max_skew + 1
        counts, rules = self._spread(node.proposal, demand, spread), demand.view.rules
        usable = {
            other.view.labels[spread.topology_key]
            for other in node.proposal.nodes.values()
            if spread.topology_key in other.view.labels
            and not selector_refusal(rules, other.view.labels)
            and not affinity_refusal(rules, other.view.labels, other.name)
        }
        least = min((counts.get(domain, 0) for domain in usable), default=0)
        if len(usable) < spread.min_domains:
            least = 0
        return self._in_domain(node, demand, spread) + 1 - least

    def _spread(self, proposal: Proposal, demand: DemandState, spread: Spread) -> Domains:
        mine = demand.view

        def counts(view: DemandView) -> bool:
            if spread.selector is None:
                return view.session == mine.session
            return view.namespace == mine.namespace and spread.selector.matches(view.labels)

        who = mine.session if spread.selector is None else mine.namespace
        return self._count(proposal, (who, spread), spread.topology_key, counts)

    def _count(self, proposal: Proposal, about: object, key: str, matches: Callable[[DemandView], bool]) -> Domains:
        """Replicas by domain, kept until somebody comes or goes."""
        if self._of is not proposal:
            self._of, self._counts = proposal, {}
        at, found = self._counts.get(about, (-1, {}))
        if at == proposal.changes:
            return found
        found = {}
        for session, nodes in proposal.residents.items():
            if matches(proposal.demands[session].view):
                for name, count in nodes.items():
                    domain = proposal.nodes[name].view.labels.get(key) if name in proposal.nodes else None
                    if domain is not None and count:
                        found[domain] = found.get(domain, 0) + count
        self._counts[about] = proposal.changes, found
        return found
