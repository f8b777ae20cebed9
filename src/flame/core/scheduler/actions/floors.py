"""What serves keeps its floor: the room of a replica that ended is kept for the next one, also while that may not start yet.

Workloads of higher rank that start at once go first. When the quota is what is missing, executors of sessions that it counts, too,
leave at the end of their task: so the batch part of a workload does not push out the part that serves.
"""

from __future__ import annotations

from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.actions.allocate import later_node, place_some
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.proposal import DemandState, Proposal

BACK = "its quota is needed by replicas of {}"


def below_floor(demand: DemandState) -> bool:
    return demand.count + demand.promised < demand.view.floor


def keep_floor(proposal: Proposal, policy: Policy, demand: DemandState) -> None:
    """Start what is missing of its floor where there is room, and set room aside for the rest."""
    while below_floor(demand) and proposal.room(demand):
        if not demand.view.hold and place_some(proposal, policy, demand, set(), later=False):
            continue
        node = later_node(proposal, policy, demand, everywhere=True)
        if node is None:
            break
        proposal.promise(demand, node)
    if below_floor(demand):
        _take_quota_back(proposal, demand)


def _take_quota_back(proposal: Proposal, demand: DemandState) -> None:
    """For as many as can have it. Nothing leaves unless that is enough for one, and what leaves already counts."""
    mine, quotas = demand.view, proposal.quotas
    refusal = quotas.refusal(mine.quotas, mine.charge) if mine.quotas else None
    if refusal is None or refusal.borrowing:
        return
    leaving, giving = 0, []
    for owner in proposal.demands.values():
        view = owner.view
        each = view.charge.get(refusal.resource, 0)
        if view.workload or view.tenant != mine.tenant or not each or not quotas.counts(view.quotas, refusal.quota):
            continue
        staying = proposal.staying(owner)
        leaving += (len(view.placements) - len(staying)) * each
        if view.rank <= mine.rank:
            spare = sorted(staying, key=_first_to_go)
            giving += [(owner, one, each) for one in spare[: max(0, owner.count - view.min)]]
    have = refusal.limit - refusal.used + leaving
    most = (have + sum(each for _, _, each in giving)) // refusal.asked
    if most < 1:
        return
    short = min(most, mine.floor - demand.count - demand.promised) * refusal.asked - have
    for owner, placement, each in sorted(giving, key=lambda one: _first_to_go(one[1])):
        if short <= 0:
            break
        proposal.drain(owner, placement, BACK.format(mine.session))
        short -= each


def _first_to_go(placement: PlacementView) -> tuple[bool, float, str]:
    """Idle ones, then the newest."""
    return placement.idle_since is None, -placement.since, placement.id
