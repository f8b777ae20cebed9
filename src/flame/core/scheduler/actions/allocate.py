"""Put placements on free capacity, as many as fit: first everybody's minimum, then what else they could use.

A gang is placed whole or not at all. When it would fit once something that already leaves has left, that room is set aside for it.
"""

from __future__ import annotations

from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.order import Line, aged
from flame.core.scheduler.proposal import DemandState, NodeState, Proposal, Undo
from flame.core.scheduler.settings import SchedulingSettings


def allocate(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """Place until nobody who may have more fits anywhere."""
    full: set[object] = set()  # shapes that fit nowhere any more; within an action capacity only shrinks
    _fill(proposal, policy, settings, full, minimum=True)
    _fill(proposal, policy, settings, full, minimum=False)


def _fill(
    proposal: Proposal, policy: Policy, settings: SchedulingSettings, full: set[object], *, minimum: bool
) -> None:
    def hungry(demand: DemandState) -> bool:
        if minimum and demand.count + demand.promised >= demand.view.min:
            return False
        return not demand.view.hold and demand.unmet > 0 and proposal.room(demand)

    waiting = [demand for demand in proposal.demands.values() if hungry(demand)]
    line = Line(policy, proposal, waiting, settings.aging)
    while (demand := line.pop()) is not None:
        # The limits of an application are shared: another session may have used them up meanwhile.
        if not hungry(demand):
            continue
        if place_some(proposal, policy, demand, full):
            line.push(demand)
        elif aged(demand, proposal.now, settings.aging):
            hold_back(proposal, policy, demand)


def place_some(
    proposal: Proposal, policy: Policy, demand: DemandState, full: set[object], *, later: bool = True
) -> bool:
    """As many as must come together on the best nodes, or (`later`) the promise of room that is draining; False when no nodes take them."""
    shape = shape_of(proposal, demand)
    if shape in full:
        return False
    count = demand.together
    if _all(proposal, policy, demand, count, now=True) or (later and _all(proposal, policy, demand, count, now=False)):
        return True
    full.add(shape)
    return False


def hold_back(proposal: Proposal, policy: Policy, demand: DemandState) -> None:
    """Who has waited too long gets what there is kept for it, until there is enough: a stream of small ones cannot starve it."""
    while demand.unmet and (node := best_node(proposal, policy, demand, now=False)) is not None:
        proposal.promise(demand, node)


def _all(proposal: Proposal, policy: Policy, demand: DemandState, count: int, *, now: bool) -> bool:
    undo: list[Undo] = []
    coming = now
    for _ in range(count):
        node = best_node(proposal, policy, demand, now=now)
        if node is None:
            break
        coming = coming or bool(node.view.coming)
        devices = proposal.has_room(node, demand) if now else None
        undo.append(proposal.place(demand, node, devices or {}) if now else proposal.promise(demand, node))
    if len(undo) == count and coming:
        return True
    for take_back in reversed(undo):
        take_back()
    return False


def best_node(proposal: Proposal, policy: Policy, demand: DemandState, *, now: bool) -> NodeState | None:
    """The node with the highest score that has room now, or (not `now`) will have it once what drains has left."""
    best: NodeState | None = None
    most = 0.0
    for node in proposal.nodes.values():
        if now:
            if proposal.has_room(node, demand) is None:
                continue
        elif not proposal.will_have_room(node, demand):
            continue
        if not proposal.allows(demand, node) or not policy.fits(node, demand):
            continue
        score = policy.score(node, demand)
        if best is None or score > most:
            best, most = node, score
    return best


def shape_of(proposal: Proposal, demand: DemandState) -> object:
    """What decides whether a demand fits on a node; the application too, as user-supplied plugins may look at it."""
    view = demand.view
    if not view.workload:
        return view.app, view.shim, tuple(view.resources.items())
    rules = view.rules
    among = bool(rules.near or rules.apart or rules.spread or proposal.any_apart)
    who = (view.namespace, frozenset(view.labels.items()), view.session) if among or proposal.quotas.by_model else ()
    return rules, demand.together, tuple(view.resources.items()), who
