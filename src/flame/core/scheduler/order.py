"""The one order in which demands are served: class rank, what the tenant was given, then what the plugins say, then age.

A demand that has waited for longer than the aging bound goes before all ranks. It gets what becomes free, and what began after that
bound: a workload that may evict keeps nothing idle while it waits for enough, it takes it back from who has started since.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from functools import cmp_to_key
from typing import Any

from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.proposal import DemandState, Proposal

QUANTUM = 1.0
"""Seconds ahead that tenants are compared: by shares alone three tenants on four slots would never even out."""


AGED = 1 << 62
"""The rank of who has waited too long."""


def aged(demand: DemandState, now: float, bound: float) -> bool:
    waiting = demand.view.waiting
    return waiting > 0 and now - waiting >= bound


def rank_of(demand: DemandState, now: float, bound: float) -> int:
    return AGED if aged(demand, now, bound) else demand.view.rank


class Line:
    """Demands in line. Popping gives the one that goes first by the shares of that moment; a demand may be put back."""

    def __init__(self, policy: Policy, proposal: Proposal, demands: Iterable[DemandState], aging: float) -> None:

        def goes_first(a: DemandState, b: DemandState) -> int:
            return compare(policy, a, b)

        self._key = cmp_to_key(goes_first)
        self._proposal, self._aging = proposal, aging
        # rank -> tenant -> demands, the last one goes first.
        self._ranks: dict[tuple[int, bool], dict[str, list[tuple[Any, DemandState]]]] = {}
        for demand in demands:
            tenants = self._ranks.setdefault(self._rank(demand), {})
            tenants.setdefault(demand.view.tenant, []).append((_Reversed(self._key(demand)), demand))
        for tenants in self._ranks.values():
            for line in tenants.values():
                line.sort(key=_first)

    def _rank(self, demand: DemandState) -> tuple[int, bool]:
        """Of one rank those go first who need not borrow for it."""
        rank = rank_of(demand, self._proposal.now, self._aging)
        view = demand.view
        return rank, not view.quotas or not self._proposal.quotas.would_borrow(view.quotas, view.charge)

    def pop(self) -> DemandState | None:
        while self._ranks:
            rank = max(self._ranks)
            tenants = self._ranks[rank]
            if not tenants:
                del self._ranks[rank]
                continue
            name = min(tenants, key=lambda tenant: (_after(tenants[tenant][-1][1]), tenant))
            demand = tenants[name].pop()[1]
            if not tenants[name]:
                del tenants[name]
            return demand
        return None

    def push(self, demand: DemandState) -> None:
        line = self._ranks.setdefault(self._rank(demand), {}).setdefault(demand.view.tenant, [])
        insort(line, (_Reversed(self._key(demand)), demand), key=_first)


def _after(demand: DemandState) -> float:
    return demand.tenant.after(demand, QUANTUM)


class _Reversed:
    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.key < self.key)


def _first(entry: tuple[Any, DemandState]) -> Any:
    return entry[0]


def compare(policy: Policy, a: DemandState, b: DemandState) -> int:
    """Negative when `a` goes before `b`. Never 0 for two sessions: age and then the id decide."""
    opinion = policy.order(a, b)
    if opinion:
        return opinion
    mine, theirs = (a.view.created, a.view.session), (b.view.created, b.view.session)
    return -1 if mine < theirs else int(mine > theirs)
