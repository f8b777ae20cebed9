"""`make sim-day`: a day of sessions and workloads of several tenants, played through the real allocator on simulated time.

Everything is drawn from one seed. For every minute: how much of what was asked for and could be had was given (busy over the smaller of
demand and capacity); for every minute and tenant: what it was given beside the others that wanted more; evictions, and waiting times.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flame.core.allocator.reactor import Allocator
from flame.core.allocator.settings import AllocatorSettings
from flame.core.model import messages as m
from flame.core.model.reactor import Joined, Received, Send, Ticked
from flame.core.model.states import ExecutorState
from flame.core.scheduler.settings import SchedulingSettings
from flame.wire.manifests import parse

MANAGER, AGENT = 1, 2
MINUTE, DAY = 60.0, 86_400.0
LOCAL = m.Identity("local", "admin", "*", "local")
CLASSES = {"low": 10, "normal": 100, "high": 1000}
START = 2.0
"""Seconds a replica takes to start; executors take a tenth."""
FLOOR, RECHECK = 0.1, 1.0
"""Seconds between cycles: as on a cluster where a cycle costs 20 ms, and, while somebody waits and nothing happens, four times the
default: to play faster."""


@dataclass(frozen=True)
class Plan:
    """nodes: of 64 CPUs and 8 GPUs; load: asked-for GPU time over what there is; hours: of the day; tenants: of equal weight."""

    seed: int = 1
    nodes: int = 40
    hours: float = 24.0
    load: float = 1.1
    tenants: int = 3


@dataclass
class Minute:
    """Averages over one minute: GPUs and CPUs that were busy, and wanted; by tenant the share of time of its dominant resource."""

    gpu_busy: float = 0.0
    gpu_wanted: float = 0.0
    cpu_busy: float = 0.0
    cpu_wanted: float = 0.0
    given: dict[str, float] = field(default_factory=dict)
    hungry: set[str] = field(default_factory=set)


@dataclass
class Outcome:
    """waits: by class, until the first placement runs or the day ends. evictions: of replicas; preempted: executors, for a workload."""

    minutes: list[Minute]
    waits: dict[str, list[float]]
    evictions: int
    preempted: int
    started: int
    finished: int
    unfinished: int
    gpus: float
    cpus: float
    windows: list[float]
    """Largest over smallest share of the tenants that wanted more all through each minute."""


@dataclass
class _Load:
    """One session or workload as its owner sees it. `size`: (cpu, gpu) of one placement."""

    key: str
    tenant: str
    size: tuple[float, float]
    want: int
    begun: float
    rank: str = "normal"
    seconds: float = 0.0
    workload: bool = False
    replicas: int = 0
    running: set[str] = field(default_factory=set)
    first: float | None = None


class DayWorld:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dice = random.Random(plan.seed)
        self.now = 1_000_000.0
        self.begin = self.now
        names = itertools.count()
        self.allocator = Allocator(
            lambda kind: f"{kind}{next(names)}",
            lambda: f"token{next(names)}",
            AllocatorSettings(beat_timeout=1e12, scheduling=SchedulingSettings(floor=FLOOR, recheck=RECHECK)),
            parse=parse,
        )
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.loads: dict[str, _Load] = {}
        self.placed: dict[str, str] = {}
        self.busy: dict[str, tuple[str, float, float]] = {}  # placement -> tenant, cpu, gpu
        self.minutes: list[Minute] = []
        self.windows: list[float] = []
        self.waits: dict[str, list[float]] = {name: [] for name in (*CLASSES, "session")}
        self.evictions = self.preempted = self.started = self.finished = 0
        self._set_up()

    def _set_up(self) -> None:
        plan = self.plan
        for peer, role in ((MANAGER, "manager"), (AGENT, "agent")):
            self.tell(Joined(peer, m.Hello(role), LOCAL))
        self.say(MANAGER, m.ManagerJoined("unix:/plane", 1))
        for n in range(plan.nodes):
            amounts = {"cpu": 64_000, "memory": 512 << 30, "gpu": 8000}
            devices = tuple(m.Device(f"g{n}-{i}", "NVIDIA A100", 40 << 30) for i in range(8))
            self.say(AGENT, m.RegisterNode(f"n{n}", amounts, amounts, devices=devices))
        for name, value in CLASSES.items():
            self.put(
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": name},
                    "value": value,
                }
            )
        text = "scheduling:\n  maxConcurrentWorkloads: 100000\n"
        self.put({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flame-config", "namespace": "flame-system"},
            "data": {"config.yaml": text},
        }, namespace="flame-system")  # fmt: skip
        for tenant in range(plan.tenants):
            self._draw_day(f"t{tenant}")

    # -- time ---------------------------------------------------------------------------------------------------------------

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (moment, next(self._order), what))

    def play(self, progress: Callable[[float], None] = lambda done: None) -> Outcome:
        """The whole day. Raises AssertionError when an invariant of the allocator is broken (looked at every minute)."""
        end = self.begin + self.plan.hours * 3600
        edge = self.begin + MINUTE
        minute, since = Minute(), self.now
        while self.now < end:
            due = self.allocator.deadline()
            moment = min(end, edge, self.events[0][0] if self.events else end, due if due is not None else end)
            moment = max(moment, self.now)
            self._account(minute, moment - since)
            self.now = since = moment
            if due is not None and due <= moment:
                self.tell(Ticked())
            while self.events and self.events[0][0] <= moment:
                heapq.heappop(self.events)[2]()
            if moment >= edge:
                self._close(minute)
                minute = Minute()
                edge += MINUTE
                self.allocator.check()
                progress((moment - self.begin) / (end - self.begin))
        for load in self.loads.values():
            if load.first is None:
                self.waits[load.rank if load.workload else "session"].append(self.now - load.begun)
        left = sum(load.workload for load in self.loads.values())
        cpus, gpus = self.plan.nodes * 64.0, self.plan.nodes * 8.0
        return Outcome(
            self.minutes,
            self.waits,
            self.evictions,
            self.preempted,
            self.started,
            self.finished,
            left,
            gpus,
            cpus,
            self.windows,
        )

    def _account(self, minute: Minute, seconds: float) -> None:
        if seconds <= 0:
            return
        part = seconds / MINUTE
        cpus, gpus = self.plan.nodes * 64.0, self.plan.nodes * 8.0
        for tenant, cpu, gpu in self.busy.values():
            minute.cpu_busy += cpu * part
            minute.gpu_busy += gpu * part
            minute.given[tenant] = minute.given.get(tenant, 0.0) + max(cpu / cpus, gpu / gpus) * part
        for load in self.loads.values():
            minute.cpu_wanted += load.want * load.size[0] * part
            minute.gpu_wanted += load.want * load.size[1] * part

    def _close(self, minute: Minute) -> None:
        hungry = {load.tenant for load in self.loads.values() if not load.workload and len(load.running) < load.want}
        minute.hungry = hungry
        before = self.minutes[-1].hungry if self.minutes else set()
        both = [minute.given.get(tenant, 0.0) for tenant in hungry & before]
        if len(both) > 1 and min(both) > 0:
            self.windows.append(max(both) / min(both))
        self.minutes.append(minute)

    # -- what happens ---------------------------------------------------------------------------------------------------------

    def _draw_day(self, tenant: str) -> None:
        """Arrivals over the day, more of them in working hours."""
        plan, dice = self.plan, self.dice
        gpu_seconds = plan.load * plan.nodes * 8 * plan.hours * 3600 / plan.tenants
        while gpu_seconds > 0:
            moment = self.begin + self._moment() * plan.hours * 3600
            replicas, gpus = dice.choice((1, 1, 1, 2, 4, 8)), dice.choice((1, 1, 2, 4, 8))
            seconds = min(4 * 3600, dice.lognormvariate(math.log(900), 1.0))
            gpu_seconds -= replicas * gpus * seconds
            rank = dice.choices(("low", "normal", "high"), (3, 6, 1))[0]
            self.at(moment, lambda r=replicas, g=gpus, s=seconds, k=rank: self._workload(tenant, r, g, s, k))  # type: ignore[misc]
        for _ in range(int(plan.hours * 2)):
            moment = self.begin + self._moment() * plan.hours * 3600
            self.at(moment, lambda: self._session(tenant))

    def _moment(self) -> float:
        """A part of the day; two thirds fall between 8 and 18 o'clock."""
        return self.dice.uniform(8, 18) / 24 if self.dice.random() < 2 / 3 else self.dice.random()

    def _workload(self, tenant: str, replicas: int, gpus: int, seconds: float, rank: str) -> None:
        name = f"{tenant}-w{next(self._order)}"
        amounts = {"cpu": "4", "nvidia.com/gpu": gpus}
        container = {
            "name": "main",
            "image": "i",
            "command": ["x"],
            "resources": {"requests": amounts, "limits": amounts},
        }
        body = {
            "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameWorkload", "metadata": {"name": name},
            "spec": {
                "type": "Training", "replicas": replicas, "timeout": "24h", "scheduling": {"priorityClassName": rank},
                "template": {"spec": {"containers": [container]}},
            },
        }  # fmt: skip
        key = f"job/{tenant}/default/{name}"
        self.loads[key] = _Load(key, tenant, (4.0, float(gpus)), replicas, self.now, rank, seconds, True, replicas)
        self.put(body, tenant)

    def _session(self, tenant: str) -> None:
        key = f"{tenant}-s{next(self._order)}"
        load = self.loads[key] = _Load(key, tenant, (1.0, 0.0), 0, self.now)
        ends = self.now + self.dice.uniform(300, 5400)
        self._change(load, ends)

    def _change(self, load: _Load, ends: float) -> None:
        """A session wants more or fewer executors than before, until it is over."""
        if self.now >= ends:
            self.loads.pop(load.key, None)
            self.say(MANAGER, m.DemandGone(load.key))
            for id in sorted(load.running):
                self._exit(id, 0.5)
            return
        load.want = self.dice.choice((2, 4, 8, 16, 32, 64))
        self._demand(load)
        self.at(min(ends, self.now + self.dice.uniform(20, 300)), lambda: self._change(load, ends))

    def _demand(self, load: _Load) -> None:
        idle = max(0, len(load.running) - load.want)
        self.say(MANAGER, m.DemandChanged(
            load.key, "app", m.AppSpec(delay_release=10.0), {"cpu": 1000}, load.want, idle, 0, None, 0, load.begun, tenant=load.tenant
        ))  # fmt: skip
        for at, id in enumerate(sorted(load.running)):
            self.say(MANAGER, m.ExecutorChanged(id, load.key, int(ExecutorState.BOUND), at >= load.want))

    # -- the allocator ----------------------------------------------------------------------------------------------------------

    def put(self, body: Mapping[str, object], tenant: str = "default", namespace: str = "") -> None:
        kind = str(body["kind"])
        self.say(
            MANAGER,
            m.PutObject("apply", kind, namespace, body=json.dumps(body).encode(), tenant=tenant),
            next(self._order) + 1,
        )

    def say(self, peer: int, message: m.Message, request: int = 0) -> None:
        self.tell(Received(peer, request, message))

    def tell(self, event: object) -> None:
        for effect in self.allocator.handle(event, self.now):  # type: ignore[arg-type]
            if isinstance(effect, Send):
                self._heard(effect.message)

    def _heard(self, message: m.Message) -> None:
        if isinstance(message, m.Failure):
            raise AssertionError(f"refused: {message.message}")
        if isinstance(message, m.StartReplica):
            self.at(self.now + START, lambda: self._replica_runs(message.id, message.owner))
            self.placed[message.id] = message.owner
        elif isinstance(message, m.StartPlacement):
            self.placed[message.id] = message.session
            self.at(self.now + START / 10, lambda: self._executor_runs(message.id, message.session))
        elif isinstance(message, m.DrainExecutor):
            self.preempted += message.reason.startswith("preempted")
            self._exit(message.placement, self.dice.uniform(0.0, 1.0))
        elif isinstance(message, m.StopPlacement):
            load = self.loads.get(self.placed.get(message.id, ""))
            if load is not None and load.workload:
                load.want = load.replicas  # it begins again as a whole
            self.evictions += message.reason.startswith("preempted")
            self._exit(message.id, self.dice.uniform(0.0, 2.0))

    def _replica_runs(self, id: str, key: str) -> None:
        load = self.loads.get(key)
        if load is None or id not in self.placed:
            return
        load.running.add(id)
        self.busy[id] = load.tenant, *load.size
        self.say(AGENT, m.ReplicaChanged(id, "Running", ready=True, started=self.now))
        if load.first is None:
            load.first = self.now
            self.waits[load.rank].append(self.now - load.begun)
            self.started += 1
        self.at(self.now + load.seconds, lambda: self._replica_ends(id, load))

    def _replica_ends(self, id: str, load: _Load) -> None:
        if id not in self.placed:
            return
        self.say(AGENT, m.ReplicaChanged(id, "Succeeded"))
        load.want -= 1
        self._gone(id)
        if load.want <= 0:
            self.finished += 1
            del self.loads[load.key]

    def _executor_runs(self, id: str, key: str) -> None:
        load = self.loads.get(key)
        if id not in self.placed:
            return
        self.say(AGENT, m.PlacementStarted(id, 1))
        if load is None:
            self._exit(id, 0.1)
            return
        load.running.add(id)
        self.busy[id] = load.tenant, *load.size
        if load.first is None:
            load.first = self.now
            self.waits["session"].append(self.now - load.begun)
        self.say(MANAGER, m.ExecutorChanged(id, key, int(ExecutorState.BOUND), len(load.running) > load.want))

    def _exit(self, id: str, after: float) -> None:
        self.at(self.now + after, lambda: self._gone(id) if id in self.placed else None)

    def _gone(self, id: str) -> None:
        key = self.placed.pop(id)
        self.busy.pop(id, None)
        load = self.loads.get(key)
        if load is not None:
            load.running.discard(id)
        self.say(AGENT, m.PlacementExited(id, 0))
