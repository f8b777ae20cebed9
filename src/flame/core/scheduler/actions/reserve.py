"""Room that was freed for a workload, or is its floor's, stays with it until it starts: only a higher rank that starts at once
may take it."""

from __future__ import annotations

from flame.core.scheduler.actions.allocate import place_some
from flame.core.scheduler.actions.floors import below_floor, keep_floor
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.order import Line, aged, rank_of
from flame.core.scheduler.proposal import DemandState, Proposal, Undo
from flame.core.scheduler.settings import SchedulingSettings


def reserve(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """Start what has all its room now, and set the room of the others aside again."""
    bound = settings.aging
    for holder in _holders(proposal, bound):
        if below_floor(holder):
            _start_above(proposal, policy, settings, holder)
            keep_floor(proposal, policy, holder)
            continue
        if holder.view.hold or holder.unmet == 0:
            continue
        if not aged(holder, proposal.now, bound):
            _start_above(proposal, policy, settings, holder)
        undo = _promise(proposal, policy, holder)
        nodes = tuple(proposal.reserved.get(holder.view.session, ()))
        for take_back in reversed(undo):
            take_back()
        if not proposal.room(holder) or not place_some(proposal, policy, holder, set(), later=False):
            for name in nodes:
                proposal.promise(holder, proposal.nodes[name])


def _holders(proposal: Proposal, bound: float) -> list[DemandState]:
    """The highest rank first, floors before others of their rank, however long those have waited."""
    named = [proposal.demands[name] for name in proposal.snapshot.reserved if name in proposal.demands]
    line = [holder for holder in named if not below_floor(holder)]
    line.sort(key=lambda holder: -rank_of(holder, proposal.now, bound))
    floors = [demand for demand in proposal.demands.values() if below_floor(demand)]
    for floor in sorted(floors, key=lambda floor: (floor.view.rank, -floor.view.created)):
        at = next((at for at, other in enumerate(line) if other.view.rank <= floor.view.rank), len(line))
        line.insert(at, floor)
    return line


def _promise(proposal: Proposal, policy: Policy, holder: DemandState) -> list[Undo]:
    undo: list[Undo] = []
    for name in proposal.snapshot.reserved[holder.view.session]:
        node = proposal.nodes.get(name)
        if node is None or holder.unmet == 0 or not proposal.room(holder, later=True):
            continue
        if proposal.will_take(node, holder) and policy.fits(node, holder):
            undo.append(proposal.promise(holder, node))
    return undo


def _start_above(proposal: Proposal, policy: Policy, settings: SchedulingSettings, holder: DemandState) -> None:
    def outranks(other: DemandState) -> bool:
        view = other.view
        waits = view.workload and not view.hold and other.unmet > 0 and proposal.room(other)
        return waits and view.rank > holder.view.rank and view.session not in proposal.snapshot.reserved

    line = Line(policy, proposal, [other for other in proposal.demands.values() if outranks(other)], settings.aging)
    full: set[object] = set()
    while (other := line.pop()) is not None:
        if outranks(other) and place_some(proposal, policy, other, full, later=False):
            line.push(other)
