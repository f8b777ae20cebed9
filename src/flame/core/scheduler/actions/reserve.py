"""Room that was freed for a workload stays with it until it starts: whoever comes meanwhile does not get it."""

from __future__ import annotations

from flame.core.scheduler.actions.allocate import place_some
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.proposal import DemandState, Proposal, Undo


def reserve(proposal: Proposal, policy: Policy) -> None:
    """Start what has all its room now, and set the room of the others aside again. A higher rank that waits is not held up by that."""
    held: list[tuple[DemandState, list[Undo]]] = []
    for name, nodes in proposal.snapshot.reserved.items():
        demand = proposal.demands.get(name)
        if demand is None or demand.view.hold or _outranked(proposal, demand):
            continue
        undo: list[Undo] = []
        for node_name in nodes:
            node = proposal.nodes.get(node_name)
            fine = node is not None and demand.unmet > 0 and proposal.room(demand)
            if node is not None and fine and proposal.will_have_room(node, demand) and policy.fits(node, demand):
                undo.append(proposal.promise(demand, node))
        if undo:
            held.append((demand, undo))
    for demand, undo in held:
        nodes = tuple(proposal.reserved[demand.view.session])
        for take_back in reversed(undo):
            take_back()
        if not place_some(proposal, policy, demand, set(), later=False):
            for node_name in nodes:
                proposal.promise(demand, proposal.nodes[node_name])


def _outranked(proposal: Proposal, holder: DemandState) -> bool:
    return any(
        other.view.workload and other.view.rank > holder.view.rank and other.unmet > 0 and not other.view.hold
        and other.view.session not in proposal.snapshot.reserved and proposal.room(other)
        for other in proposal.demands.values()
    )  # fmt: skip
