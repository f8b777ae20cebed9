from __future__ import annotations

from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.proposal import DemandState


class Priority:
    """Larger `priority` first. Inside one tenant and class only; what the first cannot use is not kept from the second."""

    name = "priority"

    def __init__(self, quantum: float = 0.1) -> None:
        self._quantum = quantum

    def order(self, a: DemandState, b: DemandState) -> int | None:
        return (b.view.priority - a.view.priority) or None

    def preempts(self, claimant: DemandState, owner: DemandState, victim: PlacementView, now: float) -> bool | None:
        mine, theirs = claimant.view, owner.view
        if mine.rank != theirs.rank:
            if theirs.workload and (not mine.preempts or now < victim.safe_until):
                return False
            return mine.rank > theirs.rank and now - victim.since >= self._quantum
        if mine.tenant != theirs.tenant or mine.priority == theirs.priority:
            return None
        return mine.priority > theirs.priority and now - victim.since >= self._quantum
