"""The scheduler's working copy of a Snapshot: what is tried here can be undone, and what stays becomes the Plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flame.core.model.resources import (
    ANY_GPU,
    Gpu,
    GpuWish,
    Resources,
    add,
    choose_devices,
    dominant_share,
    fits,
    occupy,
    sub,
    total,
)
from flame.core.model.snapshot import DemandView, Drain, NewPlacement, PlacementView, Plan, Reason, Snapshot
from flame.core.scheduler.memory import Memory
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.quota import QuotaTree, charge_on

if TYPE_CHECKING:
    from flame.core.scheduler.candidates import Candidates

Undo = Callable[[], None]
SOON = 0.02
"""Seconds until the next cycle after one in which room stopped being reserved: others did not look at it yet."""


class DemandState:
    """A demand as it would be.

    count:     placements that are not draining, new ones included
    present:   placements that are not gone, new and draining ones included: what the limits count
    promised:  placements that will get room which is still draining
    unit:      dominant share of one placement, per weight
    """

    __slots__ = ("count", "gpu", "leaving", "present", "promised", "served", "tenant", "unit", "view")

    def __init__(self, view: DemandView, unit: float, tenant: TenantState) -> None:
        self.view = view
        self.unit = unit / max(1, view.weight)
        self.tenant = tenant
        self.served = view.served
        self.present = len(view.placements)
        self.count = sum(not placement.draining for placement in view.placements)
        self.leaving: list[str] = []
        self.promised = 0
        rules = view.rules
        self.gpu = GpuWish(rules.gpu_model, rules.gpu_memory) if rules.gpu_model or rules.gpu_memory else ANY_GPU

    @property
    def share(self) -> float:
        """Dominant share per weight of what it has and was promised."""
        return (self.count + self.promised) * self.unit

    @property
    def target(self) -> int:
        """Placements it should have if there were room for all: never below min nor above max."""
        view = self.view
        wanted = max(view.want, view.min)
        # While one that it has waits for a task another would wait too.
        if min(view.idle, self.count) > 0 and self.count >= view.min:
            wanted = min(wanted, self.count)
        return wanted if view.max is None else min(wanted, view.max)

    @property
    def unmet(self) -> int:
        return max(0, self.target - self.count - self.promised)

    @property
    def together(self) -> int:
        """How many must be placed at once for the first of them to be of use."""
        return max(1, min(self.view.gang - self.count - self.promised, self.unmet)) if self.view.gang else 1

    def above_min(self) -> bool:
        return self.count > self.view.min


class TenantState:
    """The sum of a tenant's demands: dominant share per weight, now and (`served`) so far."""

    __slots__ = ("name", "served", "share", "weight")

    def __init__(self, name: str, weight: int, served: float) -> None:
        self.name, self.weight, self.served = name, max(1, weight), served
        self.share = 0.0

    def after(self, more: DemandState | None, quantum: float) -> float:
        """What it was given by the end of another quantum: with what it has, and one more placement of this demand."""
        extra = more.unit * max(1, more.view.weight) / self.weight if more is not None else 0.0
        return self.served + (self.share + extra) * quantum


class Proposal:
    """A plan in the making. Every change returns the function that takes it back; undo in reverse order."""

    def __init__(self, snapshot: Snapshot, memory: Memory | None = None) -> None:
        self.snapshot = snapshot
        self.now = snapshot.now
        self.memory = memory or Memory()
        self.nodes = self.memory.adopt(snapshot.nodes, self)
        totals = self.totals = snapshot.totals
        self.capacity = totals.capacity if totals else total(node.view.allocatable for node in self.nodes.values())
        self.tenants: dict[str, TenantState] = {}
        self.demands: dict[str, DemandState] = {}
        self.app_counts: dict[str, int] = {}
        self.quotas = QuotaTree(snapshot.quotas, totals.used if totals else None)
        self.any_apart = totals.apart if totals else any(view.rules.apart for view in snapshot.demands)
        """Does anybody want to be alone? Then it matters who somebody is."""
        self.changes = 0
        """How often who is where has changed."""
        self.workloads = totals.workloads if totals else 0
        """Workloads that have placements, or were promised some."""
        self.residents: dict[str, dict[str, int]] = {}
        """Demand -> node -> how many of its placements are there and stay."""
        self.placements: list[NewPlacement] = []
        self.drains: list[Drain] = []
        self.reserved: dict[str, list[str]] = {}
        self.reasons: dict[str, list[Reason]] = {}
        self.unexplained: set[str] = set()
        """Demands whose reason is still the one before."""
        self.recheck: float | None = None
        self.candidates: dict[object, Candidates] = {}
        """Shape -> nodes that have room for it, the best first."""
        self.offers: dict[str, list[tuple[DemandState, PlacementView]]] | None = None
        """What could be taken from others, by node, as `reclaim` ranks it; None: not looked at yet."""
        self.offered: dict[object, dict[str, Resources]] = {}
        """The same as sums: ground -> node -> how much."""
        self._all = not snapshot.others
        for view in snapshot.demands:
            self._add(view, counted=totals is not None)

    def everybody(self) -> None:
        """Take in the demands that were left out so far: somebody needs them as neighbours or victims."""
        if not self._all:
            self._all = True
            self.offers = None
            for view in self.snapshot.others:
                self._add(view, counted=True)

    def others_run(self, demand: DemandState) -> bool:
        """Has anybody else something?"""
        return bool(self.snapshot.others) or any(o.count for o in self.demands.values() if o is not demand)

    def _tenant(self, name: str) -> TenantState:
        tenant = self.tenants.get(name)
        if tenant is None:
            served = self.snapshot.served.get(name, 0.0)
            tenant = self.tenants[name] = TenantState(name, self.snapshot.weights.get(name, 1), served)
            if self.totals:
                tenant.share = self.totals.shares.get(name, 0.0) / tenant.weight
        return tenant

    def _add(self, view: DemandView, *, counted: bool) -> None:
        """`counted`: the totals know it."""
        tenant = self._tenant(view.tenant)
        share = min(1.0, dominant_share(view.resources, self.capacity))
        demand = DemandState(view, share, tenant)
        self.demands[view.session] = demand
        self.app_counts[view.app] = self.app_counts.get(view.app, 0) + demand.present
        if view.workload:
            here = self.residents.setdefault(view.session, {})
            for placement in view.placements:
                here[placement.node] = here.get(placement.node, 0) + 1
        for placement in view.placements:
            if placement.draining and placement.node in self.nodes:
                node = self.nodes[placement.node]
                node.touched = True
                node.leaving += view.workload
                if placement.devices:
                    occupy(node.gpus_later, placement.devices, -1)
            if placement.draining and view.quotas:
                self.quotas.leave(view.quotas, self._charged(demand, self.nodes.get(placement.node)))
        if counted:
            return
        tenant.share += demand.count * share / tenant.weight
        if view.workload:
            self.workloads += demand.present > 0
            for placement in view.placements:
                if placement.node in self.nodes:
                    self.nodes[placement.node].replicas += 1
                    self.nodes[placement.node].touched = True
        if view.quotas:
            for placement in view.placements:
                self.quotas.charge(view.quotas, self._charged(demand, self.nodes.get(placement.node)))

    def _settle(self, demand: DemandState, node: str, sign: int) -> None:
        """Count a workload's placement on a node in or out."""
        here = self.residents.setdefault(demand.view.session, {})
        here[node] = here.get(node, 0) + sign
        self.changes += 1
        if node in self.nodes:
            self.nodes[node].replicas += sign

    def _touch(self, node: NodeState) -> None:
        """It is not as it was: whoever ranks nodes looks at it again."""
        node.touched = True
        node.version += 1
        for candidates in self.candidates.values():
            candidates.refresh(node)

    def _charged(self, demand: DemandState, node: NodeState | None) -> Mapping[str, int]:
        charge = demand.view.charge
        return charge_on(charge, node.model) if node is not None and self.quotas.by_model else charge

    def room(self, demand: DemandState, *, later: bool = False) -> bool:
        """Do the limits of the session and of its application, or those on workloads and quotas, allow one more? `later`: once what
        leaves has given its quotas back."""
        view = demand.view
        below = view.max is None or demand.present + demand.promised < view.max
        if not below or self.app_counts[view.app] >= view.app_max:
            return False
        if view.workload and not self.admits(demand):
            return False
        return not view.quotas or self.quotas.refusal(view.quotas, view.charge, demand.together, later=later) is None

    def admits(self, demand: DemandState) -> bool:
        """May this workload begin, as far as their number is limited?"""
        limit = self.snapshot.max_workloads
        return limit is None or demand.present + demand.promised > 0 or self.workloads < limit

    def allows(self, demand: DemandState, node: NodeState, *, later: bool = False) -> bool:
        """What belongs to the node alone: how many workloads it may have (`later`: when some have left), quotas that look at its GPUs."""
        if not self.has_place(demand, node, later=later):
            return False
        if self.quotas.by_model and demand.view.quotas:
            return self.quotas.refusal(demand.view.quotas, self._charged(demand, node), later=later) is None
        return True

    @staticmethod
    def has_place(demand: DemandState, node: NodeState, *, later: bool) -> bool:
        """May the node have one more workload?"""
        limit = node.view.max_replicas if demand.view.workload else 0
        return not limit or node.replicas - (node.leaving if later else 0) < limit

    def will_take(self, node: NodeState, demand: DemandState) -> bool:
        """Once what drains has left, has it room and a place?"""
        return self.will_have_room(node, demand) and self.has_place(demand, node, later=True)

    def has_room(self, node: NodeState, demand: DemandState) -> dict[str, int] | None:
        """The devices a placement would get here now, {} for none needed; None when it does not fit."""
        need = demand.view.resources
        # `later` too: what others leave for a large request is not nibbled away by small ones meanwhile.
        if not fits(need, node.free) or (node.later is not node.free and not fits(need, node.later)):
            return None
        gpus = need.get("gpu", 0)
        if not gpus or not node.devices:
            return {}
        if node.later_devices is not None and choose_devices(node.later_devices, gpus, demand.gpu) is None:
            return None
        return choose_devices(node.devices, gpus, demand.gpu)

    def will_have_room(self, node: NodeState, demand: DemandState) -> bool:
        """Once what drains has left?"""
        need = demand.view.resources
        if not fits(need, node.later):
            return False
        gpus = need.get("gpu", 0)
        return not gpus or not node.devices or choose_devices(self._later(node), gpus, demand.gpu) is not None

    @staticmethod
    def _later(node: NodeState) -> tuple[Gpu, ...]:
        return node.devices if node.later_devices is None else node.later_devices

    def place(self, demand: DemandState, node: NodeState, devices: Mapping[str, int]) -> Undo:
        """Put one placement of the demand on the node; the caller has asked `has_room`."""
        need = demand.view.resources
        before = node.free, node.later
        shared = node.later is node.free
        node.free = sub(node.free, need)
        node.later = node.free if shared else sub(node.later, need)
        if devices:
            occupy(node.gpus, devices)
        later = node.later_devices
        taken = choose_devices(later, need.get("gpu", 0), demand.gpu) if later is not None and devices else None
        if later is not None and taken:
            occupy(later, taken)
        self._count(demand, node, 1, 1)
        self.placements.append(NewPlacement(demand.view.session, node.name, devices))
        self._touch(node)

        def undo() -> None:
            node.free, node.later = before
            if devices:
                occupy(node.gpus, devices, -1)
            if later is not None and taken:
                occupy(later, taken, -1)
            self._count(demand, node, -1, -1)
            self.placements.pop()
            self._touch(node)

        return undo

    def drain(self, demand: DemandState, placement: PlacementView, reason: str) -> Undo:
        """Let a placement leave; what it has becomes free later, not now."""
        node = self.nodes.get(placement.node)
        later = node.later if node else {}
        if node:
            node.touched = True
            node.leaving += demand.view.workload
            node.later = add(node.later, placement.resources)
            self.memory.coming[node.name] = None
            if placement.devices:
                occupy(node.gpus_later, placement.devices, -1)
        quotas, charged = demand.view.quotas, self._charged(demand, node)
        self.quotas.leave(quotas, charged)
        self._leave(demand, -1)
        demand.leaving.append(placement.id)
        self.drains.append(Drain(placement.id, reason))

        def undo() -> None:
            if node:
                node.leaving -= demand.view.workload
                node.later = later
                if placement.devices:
                    occupy(node.gpus_later, placement.devices, 1)
            self.quotas.leave(quotas, charged, -1)
            self._leave(demand, 1)
            demand.leaving.pop()
            self.drains.pop()

        return undo

    def promise(self, demand: DemandState, node: NodeState) -> Undo:
        """Set aside what is free or draining on this node for one placement of the demand."""
        later = node.later
        node.later = sub(node.later, demand.view.resources)
        gpus = demand.view.resources.get("gpu", 0)
        taken = choose_devices(node.gpus_later, gpus, demand.gpu) if gpus and node.devices else None
        if taken:
            occupy(node.gpus_later, taken)
        self._promise(demand, node, 1)
        self.reserved.setdefault(demand.view.session, []).append(node.name)
        self._touch(node)

        def undo() -> None:
            node.later = later
            if taken:
                occupy(node.gpus_later, taken, -1)
            self._promise(demand, node, -1)
            self.reserved[demand.view.session].remove(node.name)
            self._touch(node)

        return undo

    def staying(self, demand: DemandState) -> list[PlacementView]:
        """Placements that are neither draining nor about to."""
        return [p for p in demand.view.placements if not p.draining and p.id not in demand.leaving]

    def recheck_at(self, moment: float) -> None:
        """Ask for another cycle at this moment, when nothing happens before."""
        if self.recheck is None or moment < self.recheck:
            self.recheck = moment

    def plan(self) -> Plan:
        reasons = {session: tuple(found) for session, found in self.reasons.items()}
        reserved = {
            name: tuple(nodes) for name, nodes in self.reserved.items() if nodes and self.demands[name].view.workload
        }
        if self.memory.finish(node for nodes in reserved.values() for node in nodes):
            self.recheck_at(self.now + SOON)
        return Plan(
            tuple(self.placements), tuple(self.drains), reasons, reserved, self.recheck, frozenset(self.unexplained)
        )

    def _leave(self, demand: DemandState, count: int) -> None:
        demand.count += count
        demand.tenant.share += count * demand.unit * max(1, demand.view.weight) / demand.tenant.weight

    def _count(self, demand: DemandState, node: NodeState, count: int, present: int) -> None:
        self._leave(demand, count)
        before = demand.present + demand.promised > 0
        demand.present += present
        self._counted(demand, node, present, before)

    def _promise(self, demand: DemandState, node: NodeState, count: int) -> None:
        before = demand.present + demand.promised > 0
        demand.promised += count
        demand.tenant.share += count * demand.unit * max(1, demand.view.weight) / demand.tenant.weight
        self._counted(demand, node, count, before)

    def _counted(self, demand: DemandState, node: NodeState, count: int, before: bool) -> None:
        view = demand.view
        self.app_counts[view.app] += count
        if view.workload:
            self._settle(demand, node.name, count)
            self.workloads += (demand.present + demand.promised > 0) - before
        if view.quotas:
            self.quotas.charge(view.quotas, self._charged(demand, node), 1 if count > 0 else -1)
