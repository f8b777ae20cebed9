"""Random arrivals, ends, ranks and quotas on a small cluster, for as many steps as wanted: gangs stay whole, nothing is oversubscribed,
and evictions come to an end once nothing comes or goes.

python -m core.play [--steps 1000000] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from core.placing import Cluster, node
from rich.console import Console
from rich.progress import Progress

from flame.core.model.snapshot import QuotaView
from flame.core.scheduler.settings import SchedulingSettings

GAME = 500
"""Steps of one game; the next one begins with an empty cluster."""
QUIET = 60
"""Steps within which evictions must have ended after the last change."""


def play(seed: int, steps: int) -> list[tuple[str, str]]:
    """One game; the evictions. Raises AssertionError where a promise is broken."""
    dice = random.Random(seed)
    quotas = (QuotaView("all"), *(QuotaView(t, "all", guaranteed={"cpu": 8000}) for t in "ab"))
    aging = SchedulingSettings(aging=dice.choice((20.0, 600.0)))
    cluster = Cluster([node(f"n{i}", cpus=8, gpus=2) for i in range(3)], settings=aging, quotas=quotas)
    for step in range(steps):
        name = f"j{step}"
        cluster.linger = dice.choice((1, 1, 2, 5))
        if dice.random() < 0.4 and len(cluster.demands) < 12:
            arrive(cluster, name, dice)
        elif cluster.demands and dice.random() < 0.2:
            cluster.end(dice.choice(list(cluster.demands)))
        cluster.step()
        check(cluster)
    settled = 0
    for _ in range(QUIET):
        before = len(evicted(cluster))
        cluster.step()
        settled = settled + 1 if len(evicted(cluster)) == before else 0
    assert settled >= 20, f"seed {seed}: {evicted(cluster)[-10:]}"
    return evicted(cluster)


def evicted(cluster: Cluster) -> list[tuple[str, str]]:
    """Not the executors that sessions pass to each other in turns: that goes on for as long as they want more than there is."""
    return [(name, why) for name, why in cluster.evictions if name.startswith("j") or why.startswith("preempted")]


def arrive(cluster: Cluster, name: str, dice: random.Random) -> None:
    size, tenant = dice.choice((1, 1, 2, 4, 8)), dice.choice("ab")
    if dice.random() < 0.2:
        cluster.session(f"s{name}", size, cpu=dice.choice((500, 1000)), tenant=tenant)
        return
    cluster.want(
        name, size, gang=dice.choice((0, size)), cpu=dice.choice((500, 1000, 4000)), gpu=dice.choice((0, 0, 500, 1000)),
        rank=dice.choice((0, 1, 5)), tenant=tenant, quotas=(tenant,), charge={"cpu": 1000},
    )  # fmt: skip


def check(cluster: Cluster) -> None:
    for view in cluster.snapshot().nodes:
        assert all(amount >= 0 for amount in view.free.values()), view
        assert all(0 <= device.used <= 1000 for device in view.devices), view
    for name, demand in cluster.demands.items():
        staying = cluster.has(name)
        assert not demand.gang or staying in (0, demand.want), f"{name}: {staying} of a gang of {demand.gang}"
        assert demand.max is None or len(demand.placements) <= demand.max


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m core.play", description="Play random placements.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    console = Console(stderr=True)
    begun, evictions, played = time.perf_counter(), 0, 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("steps", total=told.steps)
        while played < told.steps:
            evictions += len(play(told.seed + played // GAME, GAME))
            played += GAME
            progress.update(task, completed=played)
    seconds = time.perf_counter() - begun
    print(f"{played:,} steps, {evictions:,} evictions, no promise broken ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
