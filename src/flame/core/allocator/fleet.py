"""What the scheduler is shown, kept from cycle to cycle: a cycle costs what has changed, not what there is.

A workload is *settled* (it has what it wants), *active* (it has something and wants more, or room is kept for it) or in the *backlog*
(it has nothing yet). Of the backlog only the first few of every shape are shown: while those fit nowhere the others do not either.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flame.core.model.resources import dominant_share, total
from flame.core.model.snapshot import DemandView, NodeView, Totals
from flame.core.model.states import NodeState, PlacementState
from flame.core.scheduler.memory import Memory

if TYPE_CHECKING:
    from flame.core.allocator.state import Book, Demand, Node

FIRST, AT_ONCE = 1, 64
"""Workloads of one shape that are shown: while it is known to fit nowhere, and otherwise."""
Place = tuple[float, str]
"""When it was made, and its key."""


@dataclass(slots=True)
class Backlog:
    """Workloads that have nothing, by everything that decides what they fit on and when it is their turn; the oldest first."""

    groups: dict[object, list[Place]] = field(default_factory=dict)
    of: dict[str, tuple[object, Place]] = field(default_factory=dict)

    def add(self, key: str, group: object, created: float) -> None:
        known = self.of.get(key)
        if known is not None:
            if known[0] == group:
                return
            self.drop(key)
        place = created, key
        self.of[key] = group, place
        insort(self.groups.setdefault(group, []), place)

    def drop(self, key: str) -> None:
        known = self.of.pop(key, None)
        if known is not None:
            group, place = known
            line = self.groups[group]
            del line[bisect_left(line, place)]
            if not line:
                del self.groups[group]

    def first(self, memory: Memory) -> Iterator[str]:
        for group, line in self.groups.items():
            count = FIRST if memory.is_full(shape_of(group)) else AT_ONCE
            for _, key in line[:count]:
                yield key

    def ahead(self, key: str) -> tuple[int, str]:
        """How many of its shape go before it, and which is the first; (0, "") when none does."""
        known = self.of.get(key)
        if known is None:
            return 0, ""
        line = self.groups[known[0]]
        at = bisect_left(line, known[1])
        return at, line[0][1] if at else ""


def group_of(view: DemandView) -> object:
    shape = view.rules, max(1, min(view.gang, view.want)) if view.gang else 1, tuple(view.resources.items()), ()
    among = view.rules.near or view.rules.apart or view.rules.spread
    return view.rank, view.tenant, view.quotas, view.preempts, shape, view.session if among else ""


def shape_of(group: object) -> object:
    """As `scheduler.actions.allocate.shape_of` makes it."""
    return group[4]  # type: ignore[index]


class Fleet:
    def __init__(self) -> None:
        self.memory = Memory()
        self.backlog = Backlog()
        self.sessions: dict[str, Demand] = {}
        self.active: dict[str, None] = {}
        self.settled: dict[str, DemandView] = {}
        self.nodes: dict[str, NodeView] = {}
        self.stale: dict[str, None] = {}
        """Nodes that may look otherwise than their view."""
        self.capacity: Mapping[str, int] = {}
        self._others: tuple[DemandView, ...] | None = None
        self._ranks: dict[int, int] = {}
        self._shares: dict[str, tuple[str, float]] = {}
        self._by_tenant: dict[str, float] = {}
        self._apart: set[str] = set()

    # -- nodes ------------------------------------------------------------------------------------------------------------

    def node(self, name: str) -> None:
        """Something about this node has changed."""
        self.stale[name] = None

    def look(self, book: Book) -> None:
        """Bring the views of nodes up to date."""
        changed = False
        for name in self.stale:
            node = book.nodes.get(name)
            old = self.nodes.pop(name, None) if node is None else self.nodes.get(name)
            new = node_view(book, node) if node is not None else None
            if new is not None:
                self.nodes[name] = new
            before = old.allocatable if old is not None and old.ready else None
            after = new.allocatable if new is not None and new.ready else None
            changed = changed or before != after
        self.stale.clear()
        if changed:
            self.capacity = total(view.allocatable for view in self.nodes.values() if view.ready)
            for key in list(self._shares):
                self._share(book.demands[key], key)

    # -- workloads ----------------------------------------------------------------------------------------------------------

    def forget(self, key: str) -> None:
        """There is no such workload any more, or it wants nothing and has nothing."""
        self.backlog.drop(key)
        self.active.pop(key, None)
        self._unsettle(key)
        self._apart.discard(key)
        self._unshare(key)

    def put(self, demand: Demand, view: DemandView, reserved: bool) -> None:
        """Where this workload belongs now."""
        key = view.session
        staying = sum(not placement.draining for placement in view.placements)
        waits = view.want > staying and not view.hold
        if view.placements:
            self._share(demand, key)
        else:
            self._unshare(key)
        if view.rules.apart:
            self._apart.add(key)
        else:
            self._apart.discard(key)
        self._unsettle(key)
        below = view.floor > staying
        waits_for_all = waits and not view.placements and not reserved and not below
        if waits_for_all:
            self.backlog.add(key, group_of(view), view.created)
        else:
            self.backlog.drop(key)
        # What leaves a node is looked at in every cycle: its room is coming. What is below its floor has its room kept.
        active = not waits_for_all and (waits or below or staying < len(view.placements))
        if active:
            self.active[key] = None
        else:
            self.active.pop(key, None)
        if not active and not waits_for_all and view.placements:
            self.settled[key] = view
            self._ranks[view.rank] = self._ranks.get(view.rank, 0) + 1
            self._others = None

    def _unsettle(self, key: str) -> None:
        view = self.settled.pop(key, None)
        if view is not None:
            self._others = None
            self._ranks[view.rank] -= 1
            if not self._ranks[view.rank]:
                del self._ranks[view.rank]

    def _share(self, demand: Demand, key: str) -> None:
        tenant, old = self._shares.get(key, (demand.wish.tenant, 0.0))
        share = self._has(demand)
        self._by_tenant[tenant] = self._by_tenant.get(tenant, 0.0) + share - old
        self._shares[key] = tenant, share

    def _has(self, demand: Demand) -> float:
        """Dominant share of the placements that stay."""
        count = sum(p.state != PlacementState.DRAINING for p in demand.placements.values())
        return count * min(1.0, dominant_share(demand.resources, self.capacity))

    def _unshare(self, key: str) -> None:
        tenant, share = self._shares.pop(key, ("", 0.0))
        if tenant:
            self._by_tenant[tenant] -= share

    def others(self) -> tuple[DemandView, ...]:
        if self._others is None:
            self._others = tuple(self.settled.values())
        return self._others

    def tenants(self) -> list[str]:
        """That have workloads which run."""
        return [tenant for tenant, share in self._by_tenant.items() if share > 0]

    def waiting(self) -> set[str]:
        """Tenants that have workloads which want more."""
        found = {group[1] for group in self.backlog.groups}  # type: ignore[index]
        return found | {self._shares[key][0] for key in self.active if key in self._shares}

    def rate(self, tenant: str) -> float:
        """Dominant shares that the tenant's workloads have now."""
        return self._by_tenant.get(tenant, 0.0)

    def totals(self, used: Mapping[str, Mapping[str, int]]) -> Totals:
        """Of workloads and sessions."""
        shares = dict(self._by_tenant)
        for demand in self.sessions.values():
            if demand.placements:
                shares[demand.wish.tenant] = shares.get(demand.wish.tenant, 0.0) + self._has(demand)
        return Totals(self.capacity, used, shares, len(self._shares), min(self._ranks, default=None), bool(self._apart))


def node_view(book: Book, node: Node) -> NodeView:
    info = node.info
    ready = node.state == NodeState.READY and node.peer is not None and info.name not in book.cordoned
    coming = total(p.held() for p in node.placements.values() if p.state == PlacementState.DRAINING)
    return NodeView(
        info.name, ready, info.allocatable, node.free(), coming, info.shim, node.devices, info.labels, info.taints,
        sum(p.rank is not None for p in node.placements.values()), info.max_workloads or book.view.agent_max_workloads,
    )  # fmt: skip
