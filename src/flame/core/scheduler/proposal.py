"""The scheduler's working copy of a Snapshot: what is tried here can be undone, and what stays becomes the Plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from flame.core.model.resources import Gpu, Resources, add, choose_devices, dominant_share, fits, occupy, sub, total
from flame.core.model.snapshot import DemandView, Drain, NewPlacement, NodeView, PlacementView, Plan, Reason, Snapshot

Undo = Callable[[], None]


class NodeState:
    """A node as it would be. `later`: free once everything that drains has left, less what was promised of it."""

    __slots__ = ("devices", "free", "later", "name", "view")

    def __init__(self, view: NodeView) -> None:
        self.view = view
        self.name = view.name
        self.free: Mapping[str, int] = view.free
        self.later: Mapping[str, int] = add(view.free, view.coming) if view.coming else view.free
        self.devices: tuple[Gpu, ...] = tuple(replace(device) for device in view.devices)


class DemandState:
    """A demand as it would be.

    count:     executors that are not draining, new ones included
    present:   executors that are not gone, new and draining ones included: what the limits count
    promised:  executors that will get room which is still draining
    unit:      dominant share of one executor, per weight
    """

    __slots__ = ("count", "leaving", "present", "promised", "served", "tenant", "unit", "view")

    def __init__(self, view: DemandView, unit: float, tenant: TenantState) -> None:
        self.view = view
        self.unit = unit / max(1, view.weight)
        self.tenant = tenant
        self.served = view.served
        self.present = len(view.placements)
        self.count = sum(not placement.draining for placement in view.placements)
        self.leaving: list[str] = []
        self.promised = 0

    @property
    def share(self) -> float:
        """Dominant share per weight of what it has and was promised."""
        return (self.count + self.promised) * self.unit

    @property
    def target(self) -> int:
        """Executors it should have if there were room for all: never below min nor above max."""
        view = self.view
        wanted = max(view.want, view.min)
        # While one that it has waits for a task another would wait too.
        if min(view.idle, self.count) > 0 and self.count >= view.min:
            wanted = min(wanted, self.count)
        return wanted if view.max is None else min(wanted, view.max)

    @property
    def unmet(self) -> int:
        return max(0, self.target - self.count - self.promised)

    def above_min(self) -> bool:
        return self.count > self.view.min


class TenantState:
    """The sum of a tenant's demands: dominant share per weight, now and (`served`) so far."""

    __slots__ = ("name", "served", "share", "weight")

    def __init__(self, name: str, weight: int, served: float) -> None:
        self.name, self.weight, self.served = name, max(1, weight), served
        self.share = 0.0

    def after(self, more: DemandState | None, quantum: float) -> float:
        """What it was given by the end of another quantum: with what it has, and one more executor of this demand."""
        extra = more.unit * max(1, more.view.weight) / self.weight if more is not None else 0.0
        return self.served + (self.share + extra) * quantum


class Proposal:
    """A plan in the making. Every change returns the function that takes it back; undo in reverse order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.now = snapshot.now
        self.nodes = {view.name: NodeState(view) for view in snapshot.nodes if view.ready}
        self.capacity = total(node.view.allocatable for node in self.nodes.values())
        self.tenants: dict[str, TenantState] = {}
        self.demands: dict[str, DemandState] = {}
        self.app_counts: dict[str, int] = {}
        self.placements: list[NewPlacement] = []
        self.drains: list[Drain] = []
        self.reasons: dict[str, list[Reason]] = {}
        self.recheck: float | None = None
        for view in snapshot.demands:
            self._add(view)

    def _add(self, view: DemandView) -> None:
        tenant = self.tenants.get(view.tenant)
        if tenant is None:
            served = self.snapshot.served.get(view.tenant, 0.0)
            tenant = TenantState(view.tenant, self.snapshot.weights.get(view.tenant, 1), served)
            self.tenants[view.tenant] = tenant
        share = dominant_share(view.resources, self.capacity)
        demand = DemandState(view, min(share, 1.0), tenant)
        self.demands[view.session] = demand
        tenant.share += demand.count * min(share, 1.0) / tenant.weight
        self.app_counts[view.app] = self.app_counts.get(view.app, 0) + demand.present

    def room(self, demand: DemandState) -> bool:
        """Do the limits of the session and of its application allow one more?"""
        limit = demand.view.max
        below = limit is None or demand.present + demand.promised < limit
        return below and self.app_counts[demand.view.app] < demand.view.app_max

    def has_room(self, node: NodeState, resources: Resources) -> dict[str, int] | None:
        """The devices an executor would get here now, {} for none needed; None when it does not fit."""
        # `later` too: what others leave for a large request is not nibbled away by small ones meanwhile.
        if not fits(resources, node.free) or not fits(resources, node.later):
            return None
        gpus = resources.get("gpu", 0)
        return choose_devices(node.devices, gpus) if gpus and node.devices else {}

    def place(self, demand: DemandState, node: NodeState, devices: Mapping[str, int]) -> Undo:
        """Put one executor of the demand on the node; the caller has asked `has_room`."""
        need = demand.view.resources
        before = node.free, node.later
        node.free, node.later = sub(node.free, need), sub(node.later, need)
        occupy(node.devices, devices)
        self._count(demand, 1, 1)
        self.placements.append(NewPlacement(demand.view.session, node.name, devices))

        def undo() -> None:
            node.free, node.later = before
            occupy(node.devices, devices, -1)
            self._count(demand, -1, -1)
            self.placements.pop()

        return undo

    def drain(self, demand: DemandState, placement: PlacementView, reason: str) -> Undo:
        """Let a placement leave; what it has becomes free later, not now."""
        node = self.nodes.get(placement.node)
        later = node.later if node else {}
        if node:
            node.later = add(node.later, placement.resources)
        self._count(demand, -1, 0)
        demand.leaving.append(placement.id)
        self.drains.append(Drain(placement.id, reason))

        def undo() -> None:
            if node:
                node.later = later
            self._count(demand, 1, 0)
            demand.leaving.pop()
            self.drains.pop()

        return undo

    def promise(self, demand: DemandState, node: NodeState) -> None:
        """Set aside what is draining on this node for one executor of the demand."""
        node.later = sub(node.later, demand.view.resources)
        demand.promised += 1
        self.app_counts[demand.view.app] += 1
        demand.tenant.share += demand.unit * max(1, demand.view.weight) / demand.tenant.weight

    def staying(self, demand: DemandState) -> list[PlacementView]:
        """Placements that are neither draining nor about to."""
        return [p for p in demand.view.placements if not p.draining and p.id not in demand.leaving]

    def recheck_at(self, moment: float) -> None:
        """Ask for another cycle at this moment, when nothing happens before."""
        if self.recheck is None or moment < self.recheck:
            self.recheck = moment

    def plan(self) -> Plan:
        reasons = {session: tuple(found) for session, found in self.reasons.items()}
        return Plan(tuple(self.placements), tuple(self.drains), reasons, self.recheck)

    def _count(self, demand: DemandState, count: int, present: int) -> None:
        demand.count += count
        demand.present += present
        demand.tenant.share += count * demand.unit * max(1, demand.view.weight) / demand.tenant.weight
        self.app_counts[demand.view.app] += present
