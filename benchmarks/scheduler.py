"""The scheduler at scale, on simulated agents: `python benchmarks/scheduler.py [--nodes 10000] [--pending 100000] [--idle 100000]`.

A real allocator, filled until nothing more fits; then replicas end one by one, each followed by what the scheduler makes of it. The cost is
processor time of the allocator's process, so that other programs on the machine do not count. `--idle`: workloads that have ended stay
in the store, as they do on a cluster that has been in use.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import time

import msgspec

from flame.core.allocator.reactor import Allocator
from flame.core.allocator.settings import AllocatorSettings
from flame.core.model import messages as m
from flame.core.model.reactor import Event, Joined, Received, Recorded, Send, Ticked
from flame.core.objects.records import ObjectKept
from flame.wire.manifests import parse

MANAGER, AGENT, REPLICAS = 1, 2, 5
LOCAL = m.Identity("local", "admin", "*", "local")
CREATED = "2026-01-01T00:00:00Z"


class Bench:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.started: list[m.StartReplica] = []
        names, settings = itertools.count(), AllocatorSettings(beat_timeout=1e12)
        self.allocator = Allocator(lambda kind: f"{kind}{next(names)}", lambda: "token", settings, parse=parse)
        self._version = itertools.count(2)

    def step(self, event: Event) -> float:
        """Seconds of processor time."""
        begin = time.process_time()
        effects = self.allocator.handle(event, self.now)
        cost = time.process_time() - begin
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, m.StartReplica):
                self.started.append(effect.message)
        return cost

    def recover(self, workloads: int, idle: int) -> None:
        """As from a journal: what is stored was checked when it was written."""
        text = "scheduling:\n  maxConcurrentWorkloads: 10000000\n"
        self._keep("ConfigMap", "flame-system", "flame-config", {"data": {"config.yaml": text}}, "v1")
        for number in range(workloads):
            self._keep("FlameWorkload", "default", f"w{number}", {"spec": self._spec()})
        for number in range(idle):
            self._keep(
                "FlameWorkload", "default", f"done{number}", {"spec": self._spec(), "status": {"phase": "Succeeded"}}
            )
        self.allocator.begin(self.now)
        self.allocator.handle(Joined(MANAGER, m.Hello("manager"), LOCAL), self.now)
        self.allocator.handle(Joined(AGENT, m.Hello("agent"), LOCAL), self.now)
        self.step(Received(MANAGER, 0, m.ManagerJoined("unix:/plane", 1)))

    def _spec(self) -> dict[str, object]:
        amounts: dict[str, object] = {"cpu": str(self.dice.choice((2, 4, 8, 16)))}
        gpus = self.dice.choice((0, 1, 2, 4, 8))
        if gpus:
            amounts["nvidia.com/gpu"] = gpus
        container = {
            "name": "main",
            "image": "i",
            "command": ["x"],
            "resources": {"requests": amounts, "limits": amounts},
        }
        return {"type": "Training", "replicas": REPLICAS, "template": {"spec": {"containers": [container]}}}

    def _keep(
        self, kind: str, namespace: str, name: str, body: dict[str, object], api: str = "flame.xflops.cn/v1alpha1"
    ) -> None:
        version = next(self._version)
        metadata = {
            "name": name, "namespace": namespace, "uid": f"u-{name}", "creationTimestamp": CREATED, "generation": 1,
            "resourceVersion": str(version),
        }  # fmt: skip
        data = msgspec.json.encode({"apiVersion": api, "kind": kind, "metadata": metadata} | body)
        self.allocator.handle(Recorded(version, ObjectKept(kind, "default", namespace, name, data, version)), self.now)

    def fill(self, nodes: int) -> float:
        """Register nodes and place until nothing more fits; the processor time of all of it."""
        amounts, total = {"cpu": 64_000, "memory": 512 << 30, "gpu": 8000}, 0.0
        for number in range(nodes):
            devices = tuple(m.Device(f"g{number}-{at}", "NVIDIA A100", 40 << 30) for at in range(8))
            self.allocator.book.dirty = False
            total += self.step(Received(AGENT, 0, m.RegisterNode(f"n{number}", amounts, amounts, devices=devices)))
        while True:
            before = len(self.started)
            self.allocator.book.changed()
            for _ in range(3):
                self.now += 1.0
                total += self.step(Ticked())
            if len(self.started) == before:
                return total

    def end_one(self) -> float:
        """A replica ends; what the scheduler makes of it."""
        order = self.started.pop(self.dice.randrange(len(self.started)))
        total = 0.0
        for event in (
            Received(AGENT, 0, m.ReplicaChanged(order.id, "Succeeded")),
            Received(AGENT, 0, m.PlacementExited(order.id, 0)),
        ):
            self.now += 0.25
            total += self.step(event)
        self.now += 0.25
        return total + self.step(Ticked())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--pending", type=int, default=100_000, help="replicas that find no room, about")
    parser.add_argument("--idle", type=int, default=0, help="workloads that have ended")
    parser.add_argument("--events", type=int, default=300)
    told = parser.parse_args()
    bench = Bench(1)
    begin = time.process_time()
    running = told.nodes * 6  # about as many replicas of this mixture fill a node
    bench.recover((told.pending + running) // REPLICAS, told.idle)
    recovered = time.process_time() - begin
    filled = bench.fill(told.nodes)
    gc.collect()
    gc.freeze()  # as the allocator's process does
    costs = sorted(bench.end_one() for _ in range(told.events))
    waiting = sum(
        job.spec.replicas - len(job.replicas) - len(job.done)
        for job in bench.allocator.book.jobs.values()
        if not job.over
    )
    print(json.dumps({
        "nodes": told.nodes, "running": len(bench.started), "pending": waiting, "idle": told.idle,
        "recovered, s": round(recovered, 1), "filled, s": round(filled, 1),
        "incremental p50, ms": round(1e3 * costs[len(costs) // 2], 1),
        "incremental p99, ms": round(1e3 * costs[int(len(costs) * 0.99)], 1),
        "worst, ms": round(1e3 * costs[-1], 1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
