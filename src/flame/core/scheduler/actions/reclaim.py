"""Find room for those who still wait: idle executors of others first, then whoever has too much, is borrowed, or ranks lower.

Executors leave at a task boundary; replicas are evicted, a gang as a whole. What is evicted ranks strictly lower, gives back what it
borrowed, or started after the other had waited beyond the aging bound already, without having waited as long itself. Ranks are fixed,
and who was evicted starts as one that has waited, at the latest after the bound: no two can evict each other in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flame.core.model.resources import Resources, lacking, total
from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.actions.allocate import later_node, may_evict, place_some
from flame.core.scheduler.candidates import MANY
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.order import QUANTUM, Line, aged
from flame.core.scheduler.proposal import DemandState, Proposal, Undo
from flame.core.scheduler.settings import SchedulingSettings

REACH = 8
"""Demands for which room is looked for in one cycle on a large cluster; the others have their turn in the next ones."""
Victim = tuple[DemandState, PlacementView]
MayTake = Callable[[DemandState, PlacementView], bool]
IDLE, SHARE = "idle while another session waits", "another session is below its share"
RANK, QUOTA = "preempted by {} (priority {} over {})", "borrowed capacity goes back to {}"
YOUNGER = "it started while {} had waited for too long"


def reclaim(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """Drain for every waiting demand in order; room that already drains is promised before anything else is drained."""

    def waits(demand: DemandState) -> bool:
        return not demand.view.hold and demand.unmet > 0 and _may_claim(proposal, demand)

    if len(proposal.demands) + len(proposal.snapshot.others) < 2:
        return
    waiting = _askers(proposal, settings, [demand for demand in proposal.demands.values() if waits(demand)])
    if len(waiting) > REACH and len(proposal.nodes) > MANY:
        waiting = [waiting[at] for at in proposal.memory.turns(len(waiting), REACH)]
        proposal.recheck_at(proposal.now + settings.recheck)
    line = Line(policy, proposal, waiting, settings.aging)
    while (demand := line.pop()) is not None:
        if _make_room(proposal, policy, settings, demand):
            if waits(demand):
                line.push(demand)
        elif proposal.others_run(demand):
            proposal.recheck_at(proposal.now + settings.recheck)


def serve_longest(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """Before anybody else gets what became free: the first of those that have waited for too long, if it may evict for that."""

    def waits(demand: DemandState) -> bool:
        return not demand.view.hold and demand.unmet > 0 and aged(demand, proposal.now, settings.aging)

    waiting = [demand for demand in proposal.demands.values() if waits(demand) and may_evict(proposal, demand)]
    demand = Line(policy, proposal, waiting, settings.aging).pop()
    if demand is None or not proposal.room(demand, later=True):
        return
    if not proposal.room(demand) or not place_some(proposal, policy, demand, set(), later=False):
        _make_room(proposal, policy, settings, demand)


def _may_claim(proposal: Proposal, demand: DemandState) -> bool:
    """Nothing but capacity keeps it: or what others borrowed of its quota."""
    if proposal.room(demand, later=True):
        return True
    view = demand.view
    return bool(view.quotas) and proposal.quotas.is_owed(view.quotas, view.charge, demand.together)


def _askers(proposal: Proposal, settings: SchedulingSettings, demands: list[DemandState]) -> list[DemandState]:
    """Of these the ones for whom there is anybody from whom they might get something: executors, lower ranks, borrowers."""
    lowest = proposal.totals.lowest if proposal.totals else None
    givers = [owner for owner in proposal.demands.values() if owner.above_min()]
    sessions = [owner for owner in givers if not owner.view.workload][:2]
    ranks = [owner.view.rank for owner in givers if owner.view.workload]
    lowest = min([*ranks, lowest] if lowest is not None else ranks, default=None)

    def may_find(demand: DemandState) -> bool:
        if any(owner is not demand for owner in sessions) or aged(demand, proposal.now, settings.aging):
            return True
        borrowers = bool(demand.view.quotas) and bool(proposal.quotas)
        return lowest is not None and (lowest < demand.view.rank or borrowers)

    return [demand for demand in demands if may_find(demand)]


def _make_room(proposal: Proposal, policy: Policy, settings: SchedulingSettings, demand: DemandState) -> bool:
    """For as many as must come together, or for none."""
    undo: list[Undo] = []
    for _ in range(demand.together):
        done = _room_for_one(proposal, policy, settings, demand)
        if done is None:
            for take_back in reversed(undo):
                take_back()
            return False
        undo += done
    return True


def _room_for_one(
    proposal: Proposal, policy: Policy, settings: SchedulingSettings, demand: DemandState
) -> list[Undo] | None:
    if proposal.room(demand, later=True):
        node = later_node(proposal, policy, demand, everywhere=True)
        if node is not None:
            return [proposal.promise(demand, node)]
    proposal.everybody()
    for ground in _grounds(proposal, policy, settings, demand):
        found = _cheapest(proposal, policy, demand, ground)
        if found is not None:
            node, victims = found
            undo = [proposal.drain(owner, placement, ground.why(owner)) for owner, placement in victims]
            return [*undo, proposal.promise(demand, node)]
    return None


@dataclass(frozen=True, slots=True)
class _Ground:
    """On what ground a placement may be taken.

    may:   may this one be, now?
    might: could that ever be so? Cheap, and the same for every demand with this `key`
    why:   how it is said
    """

    key: object
    might: MayTake
    may: MayTake
    why: Callable[[DemandState], str]


def _grounds(proposal: Proposal, policy: Policy, settings: SchedulingSettings, demand: DemandState) -> list[_Ground]:
    """The mildest first."""
    mine = demand.view

    def is_idle(owner: DemandState, placement: PlacementView) -> bool:
        return placement.idle_since is not None and not owner.view.workload

    def ranks_lower(owner: DemandState, placement: PlacementView) -> bool:
        view = owner.view
        return bool(policy.guarded) or not view.workload or view.rank < mine.rank or view.priority < mine.priority

    def is_owed(owner: DemandState, placement: PlacementView) -> bool:
        if owner.view.workload and not proposal.snapshot.preemption:
            return False
        return policy.preempts(demand, owner, placement, proposal.now)

    def has_quota(owner: DemandState, placement: PlacementView) -> bool:
        return owner.view.rank <= mine.rank and bool(owner.view.quotas)

    def is_borrowed(owner: DemandState, placement: PlacementView) -> bool:
        if set(owner.view.quotas) & set(mine.quotas) or placement.safe_until > proposal.now:
            return False
        return proposal.quotas.borrows(owner.view.quotas, mine.charge)

    def is_younger(owner: DemandState, placement: PlacementView) -> bool:
        late = placement.since >= mine.waiting + settings.aging and owner.view.rank <= mine.rank
        return late and not placement.overdue and placement.safe_until <= proposal.now

    def may_be_last(owner: DemandState, placement: PlacementView) -> bool:
        quotas = proposal.quotas
        if mine.quotas and quotas.would_borrow(mine.quotas, mine.charge):
            # Who borrows would have to give it back to who does not.
            return is_younger(owner, placement) and quotas.borrows(owner.view.quotas, mine.charge)
        return is_younger(owner, placement)

    def why_owed(owner: DemandState) -> str:
        if owner.view.rank < mine.rank:
            return RANK.format(mine.session, mine.rank, owner.view.rank)
        return SHARE

    grounds: list[_Ground] = []
    if proposal.room(demand, later=True):
        grounds.append(_Ground("idle", is_idle, is_idle, lambda owner: IDLE))
        grounds.append(_Ground(("owed", mine.rank, mine.priority), ranks_lower, is_owed, why_owed))
        if aged(demand, proposal.now, settings.aging) and may_evict(proposal, demand):
            key = "younger", mine.session
            grounds.append(_Ground(key, is_younger, may_be_last, lambda owner: YOUNGER.format(mine.session)))
    if mine.quotas and proposal.quotas.is_owed(mine.quotas, mine.charge, demand.together):
        grounds.append(
            _Ground(("borrowed", mine.rank), has_quota, is_borrowed, lambda owner: QUOTA.format(mine.session))
        )
    return grounds


def _cheapest(
    proposal: Proposal, policy: Policy, demand: DemandState, ground: _Ground
) -> tuple[NodeState, list[Victim]] | None:
    """The node where least must go, and what: by the highest rank among it, what is lost with it, and how many they are."""
    by_node, most = _offers(proposal), _most(proposal, ground)
    best: tuple[NodeState, list[Victim]] | None = None
    least: tuple[float, ...] = ()
    for name, amounts in most.items():
        node = proposal.nodes.get(name)
        if node is None or not _could(demand.view.resources, node, amounts) or not policy.fits(node, demand):
            continue
        victims = _enough(proposal, demand, node, by_node[name], ground)
        if victims is None:
            continue
        price = (
            max(owner.view.rank for owner, _ in victims),
            sum(placement.cost(proposal.now) for _, placement in victims),
            len(victims),
        )
        if best is None or price < least:
            best, least = (node, victims), price
    return best


def _offers(proposal: Proposal) -> dict[str, list[Victim]]:
    """What is on each node, in the order in which it would go: the lowest rank, executors before replicas, the least loss, the tenant
    that was given most, and of one owner the newest: the work of the oldest has the warmest caches. Made once a cycle: who has left
    meanwhile, or has no more than its minimum, is passed over."""
    if proposal.offers is not None:
        return proposal.offers
    offers: list[tuple[tuple[float, ...], DemandState, PlacementView]] = []
    for owner in proposal.demands.values():
        if not owner.above_min():
            continue
        view = owner.view
        lead = -owner.tenant.after(None, QUANTUM), view.priority, -(owner.served + owner.share), -view.created
        staying = proposal.staying(owner)
        whole = bool(view.gang) and owner.count - 1 < view.gang
        all_of_it = sum(one.cost(proposal.now) for one in staying) if whole else 0.0
        for placement in staying:
            lost = all_of_it if whole else placement.cost(proposal.now)
            offers.append(((view.rank, view.workload, lost, *lead, -placement.since), owner, placement))
    offers.sort(key=lambda offer: offer[0])
    by_node: dict[str, list[Victim]] = {}
    for _, owner, placement in offers:
        by_node.setdefault(placement.node, []).append((owner, placement))
    proposal.offers = by_node
    proposal.offered.clear()
    return by_node


def _most(proposal: Proposal, ground: _Ground) -> dict[str, Resources]:
    """Node -> what could be had there on this ground at the very most. Found once a cycle: it becomes less while others take."""
    most = proposal.offered.get(ground.key)
    if most is None:
        most = proposal.offered[ground.key] = {}
        for name, offered in _offers(proposal).items():
            if sums := total(one.resources for owner, one in offered if ground.might(owner, one)):
                most[name] = sums
    return most


def _could(need: Resources, node: NodeState, most: Resources) -> bool:
    """Would there be enough if all that left?"""
    later = node.later
    return all(later.get(name, 0) + most.get(name, 0) >= amount for name, amount in need.items())


def _enough(
    proposal: Proposal, demand: DemandState, node: NodeState, offered: list[Victim], ground: _Ground
) -> list[Victim] | None:
    """Who must leave this node so that one placement of the demand fits, also into its quotas as far as that is possible here; with a
    gang all of it goes, wherever it is."""
    need = demand.view.resources

    def fits_then() -> bool:
        return proposal.will_take(node, demand) and proposal.room(demand, later=True)

    if fits_then():
        return None  # it is not for room that it is kept from here
    taken: list[list[Victim]] = []
    undo: list[Undo] = []
    gone: set[str] = set()
    short = lacking(need, node.later)
    for owner, placement in offered:
        if taken and fits_then():
            break
        if owner is demand or not ground.might(owner, placement):
            continue
        if short and not any(placement.resources.get(name) for name in short):
            continue  # its end would free nothing of what is missing
        if placement.id in gone or placement.id in owner.leaving or not owner.above_min():
            continue
        # Each victim is tried in the proposal, so that the question about the next one sees its owner with one less.
        if not ground.may(owner, placement):
            continue
        group = _group(proposal, owner, placement)
        taken.append([(owner, one) for one in group])
        gone |= {one.id for one in group}
        undo += [proposal.drain(owner, one, "") for one in group]
        short = lacking(need, node.later)
    enough, whole = bool(taken) and proposal.will_take(node, demand), fits_then()
    for take_back in reversed(undo):
        take_back()
    if not enough or not whole:
        return [victim for group in taken for victim in group] if enough else None
    return _least(proposal, taken, fits_then)


def _group(proposal: Proposal, owner: DemandState, placement: PlacementView) -> list[PlacementView]:
    """What ends with this placement: the rest of a gang is of no use without it."""
    if owner.view.gang and owner.count - 1 < owner.view.gang:
        return proposal.staying(owner)
    return [placement]


def _least(proposal: Proposal, taken: list[list[Victim]], fits_then: Callable[[], bool]) -> list[Victim]:
    """Spare those that need not go after all, the dearest first."""
    needed = list(taken)
    for group in sorted(
        taken, key=lambda group: (-group[0][0].view.rank, -sum(p.cost(proposal.now) for _, p in group))
    ):
        if len(needed) == 1:
            break
        rest = [other for other in needed if other is not group]
        undo = [proposal.drain(owner, placement, "") for other in rest for owner, placement in other]
        if fits_then():
            needed = rest
        for take_back in reversed(undo):
            take_back()
    return [victim for group in needed for victim in group]
