"""A cluster as the scheduler sees it, over many cycles: what is placed stays, what drains leaves `linger` steps later."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from flame.core.model.resources import Gpu, occupy, sub, total
from flame.core.model.snapshot import DemandView, NodeView, PlacementView, Plan, Snapshot
from flame.core.scheduler.cycle import run_cycle
from flame.core.scheduler.plugins import make_policy
from flame.core.scheduler.settings import SchedulingSettings

GIB = 1 << 30


class Cluster:
    def __init__(self, nodes=(), plugins=(), settings=None, **options):
        self.settings = settings or SchedulingSettings()
        self.policy = make_policy(self.settings, plugins)
        self.nodes: dict[str, NodeView] = {node.name: node for node in nodes}
        self.demands: dict[str, DemandView] = {}
        self.options = options
        self.now = 1000.0
        self.evictions: list[tuple[str, str]] = []
        self.reserved = {}
        self.linger = 1
        self._leaves: dict[str, int] = {}
        self._steps = 0
        self._names = count()

    def want(self, name, replicas=1, gang=None, cpu=0, gpu=0, **more):
        resources = {key: amount for key, amount in (("cpu", cpu), ("gpu", gpu)) if amount} | more.pop("also", {})
        view = DemandView(
            name, f"job/{name}", resources, replicas, min=0, max=replicas, workload=True, created=self.now,
            gang=replicas if gang is None else gang, waiting=self.now, delay_release=0.0, **more,
        )  # fmt: skip
        self.demands[name] = view
        return self

    def session(self, name, want, cpu=1000, **more):
        self.demands[name] = DemandView(name, "app", {"cpu": cpu}, want, created=self.now, **more)
        return self

    def end(self, name):
        del self.demands[name]

    def change(self, name, **more):
        self.demands[name] = replace(self.demands[name], **more)

    def snapshot(self):
        views = []
        for node in self.nodes.values():
            held = [p for d in self.demands.values() for p in d.placements if p.node == node.name]
            devices = tuple(replace(device, used=0, sharers=0) for device in node.devices)
            for placement in held:
                occupy(devices, placement.devices)
            coming = total(p.resources for p in held if p.draining)
            free = sub(node.allocatable, total(p.resources for p in held))
            views.append(replace(node, free=free, coming=coming, devices=devices))
        return Snapshot(self.now, tuple(views), tuple(self.demands.values()), reserved=self.reserved, **self.options)

    def step(self, seconds=1.0) -> Plan:
        """What drained has left; one cycle; what it decided is done."""
        self._steps += 1
        for name, demand in self.demands.items():
            there = tuple(p for p in demand.placements if not p.draining or self._leaves[p.id] > self._steps)
            self.demands[name] = replace(demand, placements=there)
        self.now += seconds
        plan = run_cycle(self.snapshot(), self.policy, self.settings)
        self.reserved = plan.reserved
        gone = {drain.placement: drain.reason for drain in plan.drains}
        self._leaves |= dict.fromkeys(gone, self._steps + self.linger)
        for name, demand in self.demands.items():
            kept = tuple(replace(p, draining=True) if p.id in gone else p for p in demand.placements)
            self.evictions += [(name, gone[p.id]) for p in demand.placements if p.id in gone]
            self.demands[name] = replace(demand, placements=kept)
        for new in plan.placements:
            demand = self.demands[new.session]
            cost = demand.resources.get("gpu", 0) / 1000
            placed = PlacementView(
                f"p{next(self._names)}",
                new.node,
                demand.resources,
                self.now,
                devices=new.devices,
                rate=cost,
                saved=self.now,
                overdue=demand.waiting > 0 and self.now - demand.waiting >= self.settings.aging,
            )
            self.demands[new.session] = replace(demand, placements=(*demand.placements, placed))
        for name, demand in self.demands.items():
            waits = demand.workload and demand.want > sum(not p.draining for p in demand.placements)
            self.demands[name] = replace(demand, waiting=(demand.waiting or self.now) if waits else 0.0)
        return plan

    def steps(self, number, seconds=1.0):
        for _ in range(number):
            self.step(seconds)
        return self

    def where(self, name):
        """Nodes of what it has, one entry a placement."""
        return sorted(p.node for p in self.demands[name].placements if not p.draining)

    def has(self, name):
        return len(self.where(name))


def node(name="n1", cpus=8, gpus=0, model="NVIDIA A100", memory=40, **more):
    capacity = {"cpu": cpus * 1000, "memory": cpus * GIB} | ({"gpu": gpus * 1000} if gpus else {})
    sharers = more.pop("sharers", 0)
    devices = tuple(Gpu(f"{name}-{n}", model, memory * GIB, max_sharers=sharers) for n in range(gpus))
    return NodeView(name, True, capacity, capacity, devices=devices, **more)


def why(plan, name):
    reason = plan.reasons[name][0]
    return reason.reason, reason.message
