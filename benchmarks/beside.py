"""Round trips of single tasks while the scheduler works beside them: `python benchmarks/beside.py [--waiting 1000] [--rate 10]`.

An embedded cluster (`process`), workloads that wait for more than there is, and every 1/rate seconds one is deleted and another applied.
Prints percentiles in milliseconds, before the workloads come and beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import time
from typing import Any

import flame
from flame.testing.cluster import LocalCluster

SAMPLES = 2000


def workload(name: str, cpu: int) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "none",
        "command": ["sleep", "60"],
        "resources": {"requests": {"cpu": str(cpu)}},
    }
    spec = {"replicas": 2, "template": {"spec": {"containers": [container]}}}
    return {"apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameWorkload", "metadata": {"name": name}, "spec": spec}


def round_trips(client: flame.Client) -> dict[str, float]:
    took = []
    with client.session("flmping") as session:
        for _ in range(50):
            session.run(None).result()
        for _ in range(SAMPLES):
            begun = time.perf_counter()
            session.run(None).result()
            took.append(1e3 * (time.perf_counter() - begun))
    took.sort()
    return {f"p{part}": round(took[int(len(took) * part / 100)], 3) for part in (50, 95, 99)}


def change(endpoint: str, waiting: int, rate: float) -> None:
    """In a process of its own, so that it takes nothing from the client that is measured."""
    with flame.connect(endpoint) as client:
        for at in itertools.count():
            client.objects.delete("FlameWorkload", f"w{at}")
            client.objects.apply(workload(f"w{at + waiting}", 100 + at % 7))
            time.sleep(1 / rate)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=10.0, help="changes a second")
    told = parser.parse_args()
    with LocalCluster() as cluster, cluster.connect() as client:
        before = round_trips(client)
        for at in range(told.waiting):
            client.objects.apply(workload(f"w{at}", 100 + at % 7))
        process = multiprocessing.get_context("spawn").Process(
            target=change, args=(cluster.run.endpoint, told.waiting, told.rate), daemon=True
        )
        process.start()
        time.sleep(2)
        beside = round_trips(client)
        process.terminate()
        process.join()
    print(json.dumps({"before, ms": before, "beside, ms": beside}, indent=1))


if __name__ == "__main__":
    main()
