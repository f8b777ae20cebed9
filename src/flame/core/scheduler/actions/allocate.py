"""Put executors on free capacity, as many as fit: first every session's minimum, then what else they could use."""

from __future__ import annotations

from flame.core.model.resources import fits
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.order import Line
from flame.core.scheduler.proposal import DemandState, NodeState, Proposal


def allocate(proposal: Proposal, policy: Policy) -> None:
    """Place until nobody who may have more fits anywhere."""
    full: set[object] = set()  # shapes that fit nowhere any more; within an action capacity only shrinks
    _fill(proposal, policy, full, minimum=True)
    _fill(proposal, policy, full, minimum=False)


def _fill(proposal: Proposal, policy: Policy, full: set[object], *, minimum: bool) -> None:
    def hungry(demand: DemandState) -> bool:
        if minimum and demand.count + demand.promised >= demand.view.min:
            return False
        return not demand.view.hold and demand.unmet > 0 and proposal.room(demand)

    line = Line(policy, [demand for demand in proposal.demands.values() if hungry(demand)])
    while (demand := line.pop()) is not None:
        # The limits of an application are shared: another session may have used them up meanwhile.
        if hungry(demand) and place_one(proposal, policy, demand, full):
            line.push(demand)


def place_one(proposal: Proposal, policy: Policy, demand: DemandState, full: set[object]) -> bool:
    """One executor on the best node, or the promise of room that is draining; False when no node will take it."""
    shape = shape_of(demand)
    if shape in full:
        return False
    best: tuple[float, NodeState, dict[str, int]] | None = None
    for node in proposal.nodes.values():
        devices = proposal.has_room(node, demand.view.resources)
        if devices is None or not policy.fits(node, demand):
            continue
        score = policy.score(node, demand)
        if best is None or score > best[0]:
            best = score, node, devices
    if best is not None:
        proposal.place(demand, best[1], best[2])
        return True
    for node in proposal.nodes.values():
        if fits(demand.view.resources, node.later) and policy.fits(node, demand) and node.view.coming:
            proposal.promise(demand, node)
            return True
    full.add(shape)
    return False


def shape_of(demand: DemandState) -> object:
    """What decides whether a demand fits on a node; the application too, as user-supplied plugins may look at it."""
    return demand.view.app, demand.view.shim, tuple(demand.view.resources.items())
