from __future__ import annotations

from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.proposal import DemandState

_EPSILON = 1e-9


class Drf:
    """Weighted dominant-resource fairness over time.

    The measure is what a session was served so far plus what it would have after one more executor for one `quantum`. Shares
    alone would never even out ten sessions on four slots; time alone would give a new session everything at once. The same
    measure decides order and preemption, so a slot taken from one is not given back to it.
    """

    name = "drf"

    def __init__(self, quantum: float = 1.0) -> None:
        self._quantum = quantum

    def order(self, a: DemandState, b: DemandState) -> int | None:
        if a.view.workload or b.view.workload:
            return None  # a workload is not served bit by bit: it waits for its turn
        mine, theirs = self._after(a, 1), self._after(b, 1)
        if abs(mine - theirs) <= _EPSILON:
            return None
        return -1 if mine < theirs else 1

    def preempts(self, claimant: DemandState, owner: DemandState, victim: PlacementView, now: float) -> bool | None:
        if owner.view.workload or now - victim.since < self._quantum:
            return None  # replicas are never evicted to even out shares
        if claimant.view.workload and claimant.tenant is owner.tenant:
            return True  # a session lives with less, down to its minimum; a workload cannot begin with less
        if claimant.tenant is not owner.tenant:
            return self._tenant_is_owed(claimant, owner)
        # One quantum of lead is allowed: less would drain and start executors without end for nothing.
        margin = 0.0 if claimant.count + claimant.promised == 0 and owner.count > 1 else owner.unit * self._quantum
        return self._after(claimant, 1) + margin < self._after(owner, 0) + _EPSILON

    def _tenant_is_owed(self, claimant: DemandState, owner: DemandState) -> bool:
        """The same between tenants: what both were given so far, with one quantum of lead allowed."""
        mine, theirs = claimant.tenant, owner.tenant
        lead = owner.unit * max(1, owner.view.weight) / theirs.weight * self._quantum
        if mine.share <= _EPSILON and theirs.share * self._quantum > lead + _EPSILON:
            lead = 0.0
        return mine.after(claimant, self._quantum) + lead < theirs.after(None, self._quantum) + _EPSILON

    def _after(self, demand: DemandState, more: int) -> float:
        return demand.served + (demand.share + more * demand.unit) * self._quantum
