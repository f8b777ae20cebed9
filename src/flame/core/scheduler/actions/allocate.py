"""Put placements on free capacity, as many as fit: first everybody's minimum, then what else they could use.

A gang is placed whole or not at all. When it would fit once something that already leaves has left, that room is set aside for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from flame.core.scheduler.candidates import MANY, Candidates
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.order import Line, aged
from flame.core.scheduler.proposal import DemandState, Proposal, Undo
from flame.core.scheduler.settings import SchedulingSettings


def allocate(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """Place until nobody who may have more fits anywhere."""
    full: set[object] = set()  # shapes that fit nowhere any more; within an action capacity only shrinks
    if any(demand.view.min for demand in proposal.demands.values()):
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
    holds = False  # one at a time: several would keep idle what none of them has enough of
    while (demand := line.pop()) is not None:
        # The limits of an application are shared: another session may have used them up meanwhile.
        if not hungry(demand):
            continue
        if place_some(proposal, policy, demand, full):
            line.push(demand)
        elif not holds and aged(demand, proposal.now, settings.aging) and not lends(proposal, demand, waiting):
            hold_back(proposal, policy, demand)
            holds = True


def place_some(
    proposal: Proposal, policy: Policy, demand: DemandState, full: set[object], *, later: bool = True
) -> bool:
    """As many as must come together on the best nodes, or (`later`) the promise of room that is draining; False when no nodes take them."""
    count = demand.together
    if demand.promised > 0 and demand.count < demand.view.gang:
        return later and _promise(proposal, policy, demand, count)  # all start together: a part has to wait already
    shape = shape_of(proposal, demand)
    if shape in full:
        return False
    lasting = later and lasts(proposal, policy, demand)
    if lasting and proposal.memory.still_full(shape, demand.view.resources, count):
        full.add(shape)
        return False
    found = _place(proposal, policy, demand, count)
    if found == count or (later and _promise(proposal, policy, demand, count)):
        return True
    full.add(shape)
    if lasting:
        proposal.memory.note_full(shape, found)
    return False


def lasts(proposal: Proposal, policy: Policy, demand: DemandState) -> bool:
    """Does it depend on nothing but nodes whether this shape fits, so that the answer holds until they change?"""
    rules = demand.view.rules
    among = rules.near or rules.apart or rules.spread or proposal.any_apart
    return demand.view.workload and not (among or proposal.quotas.by_model or policy.guarded)


def may_evict(proposal: Proposal, demand: DemandState) -> bool:
    return demand.view.workload and demand.view.preempts and proposal.snapshot.preemption


def lends(proposal: Proposal, demand: DemandState, waiting: Iterable[DemandState]) -> bool:
    """May others have meanwhile what it waits for? From who ranks higher it would not get it back."""
    return may_evict(proposal, demand) and all(other.view.rank <= demand.view.rank for other in waiting)


def hold_back(proposal: Proposal, policy: Policy, demand: DemandState) -> None:
    """Who has waited too long gets what there is kept for it, until there is enough: a stream of small ones cannot starve it."""
    while demand.unmet and (node := later_node(proposal, policy, demand, everywhere=True)) is not None:
        proposal.promise(demand, node)


def _place(proposal: Proposal, policy: Policy, demand: DemandState, count: int) -> int:
    """All of `count`, or none; how many there was room for."""
    undo: list[Undo] = []
    while len(undo) < count and (node := best_node(proposal, policy, demand)) is not None:
        undo.append(proposal.place(demand, node, proposal.has_room(node, demand) or {}))
    found = len(undo)
    if found < count:
        for take_back in reversed(undo):
            take_back()
    return found


def _promise(proposal: Proposal, policy: Policy, demand: DemandState, count: int) -> bool:
    """Set all of `count` aside where something leaves already, and else where there is room now."""
    if not any(proposal.nodes[name].view.coming for name in proposal.memory.coming if name in proposal.nodes):
        return False
    undo: list[Undo] = []
    coming = False
    while len(undo) < count and (node := later_node(proposal, policy, demand, everywhere=count > 1)) is not None:
        coming = coming or bool(node.view.coming)
        undo.append(proposal.promise(demand, node))
    if len(undo) == count and coming:
        return True
    for take_back in reversed(undo):
        take_back()
    return False


def best_node(proposal: Proposal, policy: Policy, demand: DemandState) -> NodeState | None:
    """The node with the highest score that has room now."""
    if len(proposal.nodes) > MANY and lasts(proposal, policy, demand):
        shape = demand.view.rules, tuple(demand.view.resources.items())
        candidates = proposal.candidates.get(shape)
        if candidates is None:
            candidates = proposal.candidates[shape] = Candidates(proposal, policy, demand)
        return candidates.best()
    roomy = (node for node in proposal.nodes.values() if proposal.has_room(node, demand) is not None)
    return _highest(proposal, policy, demand, roomy, later=False)


def later_node(proposal: Proposal, policy: Policy, demand: DemandState, *, everywhere: bool) -> NodeState | None:
    """The same once what drains has left: among the nodes where something does, or (`everywhere`) among all."""
    names = proposal.nodes if everywhere else proposal.memory.coming
    nodes = (proposal.nodes[name] for name in names if name in proposal.nodes)
    roomy = (node for node in nodes if proposal.will_have_room(node, demand))
    return _highest(proposal, policy, demand, roomy, later=True)


def _highest(
    proposal: Proposal, policy: Policy, demand: DemandState, nodes: Iterable[NodeState], *, later: bool
) -> NodeState | None:
    """Of these nodes the one with the highest score that will have it; of equals the first."""
    best: NodeState | None = None
    most = 0.0
    for node in nodes:
        if not proposal.allows(demand, node, later=later) or not policy.fits(node, demand):
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
