"""Let go what nobody needs: executors idle for too long, above the maximum, or on nodes that lent slots overdraw."""

from __future__ import annotations

from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.proposal import DemandState, Proposal


def release(proposal: Proposal) -> None:
    for demand in proposal.demands.values():
        if demand.view.placements:
            _release_excess(proposal, demand)
            _release_idle(proposal, demand)
    _settle_overdrafts(proposal)


def _release_excess(proposal: Proposal, demand: DemandState) -> None:
    """More than the maximum: a limit was lowered, or more were adopted than known."""
    limit = demand.view.max
    if limit is None or demand.count <= limit:
        return
    for placement in newest(proposal, demand)[: demand.count - limit]:
        proposal.drain(demand, placement, "above max_instances")


def _release_idle(proposal: Proposal, demand: DemandState) -> None:
    for placement in newest(proposal, demand):
        if placement.idle_since is None or not demand.above_min():
            continue
        due = placement.idle_since + demand.view.delay_release
        if due <= proposal.now:
            proposal.drain(demand, placement, f"idle for {demand.view.delay_release:g} s")
        else:
            proposal.recheck_at(due)


def _settle_overdrafts(proposal: Proposal) -> None:
    """A service took its lent slot back: the newest executor above its session's minimum leaves."""
    for name in list(proposal.memory.overdrawn):
        node = proposal.nodes[name]
        while any(amount < 0 for amount in node.later.values()):
            here = [
                (placement, demand)
                for demand in proposal.demands.values()
                if demand.above_min()
                for placement in proposal.staying(demand)
                if placement.node == node.name and placement.resources
            ]
            if not here:
                return
            placement, demand = max(here, key=lambda pair: (pair[0].since, pair[0].id))
            proposal.drain(demand, placement, "a lent slot was taken back")


def newest(proposal: Proposal, demand: DemandState) -> list[PlacementView]:
    """Placements that stay, newest first."""
    return sorted(proposal.staying(demand), key=lambda p: (-p.since, p.id))
