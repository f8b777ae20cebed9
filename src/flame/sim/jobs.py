"""What workloads are played in a seed, and the promises about them, seen from outside.

an acknowledged object is not lost, nor is a change to it
never two containers of one rank at a time
a training that has succeeded had every rank end well; one that has failed had a container end badly; neither changes any more
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from flame.core.model import messages as m

if TYPE_CHECKING:
    from flame.sim.world import World

FINAL = ("Succeeded", "Failed")


@dataclass
class JobScript:
    """One workload. begin: seconds until it is applied; scale: its replicas later on, None: as they are; flaws: of its containers."""

    name: str
    body: dict[str, Any]
    begin: float
    scale: int | None
    flaws: float

    @property
    def training(self) -> bool:
        return bool(self.body["spec"]["type"] == "Training")


def draw_jobs(seed: int) -> list[JobScript]:
    """For a quarter of the seeds. With dice of its own: the rest of the plan does not depend on it."""
    rng = Random(f"jobs {seed}")
    if rng.random() < 0.75:
        return []
    return [_script(rng, f"w{n}") for n in range(rng.choice([1, 1, 2, 3]))]


def _script(rng: Random, name: str) -> JobScript:
    training = rng.random() < 0.6
    amounts = {"cpu": rng.choice(["100m", "200m", "300m"])}
    spec = {
        "type": "Training" if training else "Inference",
        "replicas": rng.choice([1, 2, 3]),
        "template": {
            "spec": {
                "restartPolicy": rng.choice(["OnFailure", "Never"]) if training else "Always",
                "terminationGracePeriodSeconds": rng.choice([0, 1]),
                "containers": [{"name": "main", "image": "i", "command": ["run"], "resources": {"requests": amounts}}],
            }
        },
    }
    body = {"apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameWorkload", "metadata": {"name": name}, "spec": spec}
    scale = None if training else rng.choice([None, 0, 1, 3])
    return JobScript(name, body, 0.4 * rng.random(), scale, rng.choice([0.0, 0.0, 0.3]))


class Jobs:
    """Fed by containers and owners; raises AssertionError at the first broken promise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.scripts = {script.name: script for script in world.plan.jobs}
        self.running: dict[tuple[str, int], int] = {}
        self.well: dict[str, set[int]] = {}
        self.bad: dict[str, int] = {}
        self.final: dict[str, str] = {}

    # -- containers

    def started(self, order: m.StartReplica, pid: int) -> None:
        rank = order.owner, order.spec.rank
        assert rank not in self.running, f"rank {order.spec.rank} of {order.owner} runs twice"
        self.running[rank] = pid

    def ended(self, order: m.StartReplica, pid: int) -> None:
        assert self.running.pop((order.owner, order.spec.rank)) == pid

    def exited(self, order: m.StartReplica, pid: int, code: int | None) -> None:
        """By itself (not because its node is gone)."""
        if code == 0:
            self.well.setdefault(order.spec.workload, set()).add(order.spec.rank)
        else:
            self.bad[order.spec.workload] = self.bad.get(order.spec.workload, 0) + 1

    def fate(self, order: m.StartReplica, rng: Random) -> tuple[float | None, int]:
        """How long it runs, None: until it is told to end; and its exit code."""
        script = self.scripts[order.spec.workload]
        fails = not self.world.healed and rng.random() < script.flaws
        if fails or script.training:
            return 0.01 + 0.3 * rng.random() ** 2, int(fails)
        return None, 0

    # -- owners

    def seen(self, script: JobScript, found: Mapping[str, Any], replicas: int | None) -> None:
        """The object as an owner reads it. `replicas`: as it was last acknowledged, None: a change is on its way."""
        name, spec, status = script.name, found["spec"], found.get("status", {})
        assert replicas is None or spec["replicas"] == replicas, f"{name}: {spec['replicas']} replicas, not {replicas}"
        phase = status.get("phase", "")
        before = self.final.get(name)
        assert before is None or phase == before, f"{name}: {phase or 'nothing'} after {before}"
        if phase not in FINAL or before is not None:
            return
        self.final[name] = phase
        if phase == "Succeeded":
            ranks = set(range(spec["replicas"]))
            assert self.well.get(name) == ranks, f"{name} succeeded with ranks {self.well.get(name)} of {ranks}"
        else:
            assert self.bad.get(name) or self.world.plan.spawn_failures, f"{name} failed: {json.dumps(status)[:400]}"

    def rests(self, script: JobScript, found: Mapping[str, Any]) -> bool:
        """Has it come to where it stays?"""
        status = found.get("status", {})
        if script.training:
            return status.get("phase") in FINAL
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("readyReplicas", 0) == found["spec"]["replicas"]
        )
