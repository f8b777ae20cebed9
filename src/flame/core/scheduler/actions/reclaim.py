"""Find room for those who still wait: idle executors of others first, then executors of those who have too much."""

from __future__ import annotations

from collections.abc import Callable

from flame.core.model.resources import add, fits
from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.order import QUANTUM, Line
from flame.core.scheduler.proposal import DemandState, NodeState, Proposal
from flame.core.scheduler.settings import SchedulingSettings

Victim = tuple[DemandState, PlacementView]
IDLE, SHARE = "idle while another session waits", "another session is below its share"


def reclaim(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """Drain for every waiting demand in order; room that already drains is promised before anything else is drained."""

    def waits(demand: DemandState) -> bool:
        return not demand.view.hold and demand.unmet > 0 and proposal.room(demand)

    if len(proposal.demands) < 2:
        return
    line = Line(policy, [demand for demand in proposal.demands.values() if waits(demand)])
    while (demand := line.pop()) is not None:
        if _make_room(proposal, policy, demand):
            if waits(demand):
                line.push(demand)
        elif _others_run(proposal, demand):
            proposal.recheck_at(proposal.now + settings.recheck)


def _others_run(proposal: Proposal, demand: DemandState) -> bool:
    return any(other.count for other in proposal.demands.values() if other is not demand)


def _make_room(proposal: Proposal, policy: Policy, demand: DemandState) -> bool:
    need = demand.view.resources
    nodes = [
        node for node in proposal.nodes.values() if fits(need, node.view.allocatable) and policy.fits(node, demand)
    ]
    for node in nodes:
        if fits(need, node.later):
            proposal.promise(demand, node)
            return True

    def is_idle(owner: DemandState, placement: PlacementView) -> bool:
        return placement.idle_since is not None

    def is_owed(owner: DemandState, placement: PlacementView) -> bool:
        return policy.preempts(demand, owner, placement, proposal.now)

    for may_take, reason in ((is_idle, IDLE), (is_owed, SHARE)):
        found = _cheapest(proposal, demand, nodes, may_take)
        if found is not None:
            node, victims = found
            for owner, placement in victims:
                proposal.drain(owner, placement, reason)
            proposal.promise(demand, node)
            return True
    return False


def _cheapest(
    proposal: Proposal,
    demand: DemandState,
    nodes: list[NodeState],
    may_take: Callable[[DemandState, PlacementView], bool],
) -> tuple[NodeState, list[Victim]] | None:
    """The node where the fewest placements must go, and which; the owners with the largest lead give first."""
    by_node: dict[str, list[Victim]] = {}
    owners = [owner for owner in proposal.demands.values() if owner is not demand and owner.above_min()]
    for owner in sorted(owners, key=_leads):
        # Newest first: the work of the oldest has the warmest caches.
        for placement in sorted(proposal.staying(owner), key=lambda p: -p.since):
            by_node.setdefault(placement.node, []).append((owner, placement))
    best: tuple[NodeState, list[Victim]] | None = None
    for node in nodes:
        victims = _enough(proposal, demand, node, by_node.get(node.name, []), may_take)
        if victims is not None and (best is None or len(victims) < len(best[1])):
            best = node, victims
    return best


def _leads(owner: DemandState) -> tuple[float, ...]:
    """The tenant that was given most first; priority orders only inside a tenant."""
    lead = owner.tenant.after(None, QUANTUM)
    return -lead, owner.view.priority, -(owner.served + owner.share), -owner.view.created


def _enough(
    proposal: Proposal,
    demand: DemandState,
    node: NodeState,
    offered: list[Victim],
    may_take: Callable[[DemandState, PlacementView], bool],
) -> list[Victim] | None:
    victims: list[Victim] = []
    undo = []
    later = node.later
    for owner, placement in offered:
        if fits(demand.view.resources, later):
            break
        # Each victim is tried in the proposal, so that the question about the next one sees its owner with one less.
        if owner.above_min() and may_take(owner, placement):
            victims.append((owner, placement))
            undo.append(proposal.drain(owner, placement, ""))
            later = add(later, placement.resources)
    for take_back in reversed(undo):
        take_back()
    return victims if victims and fits(demand.view.resources, later) else None
