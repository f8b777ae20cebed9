"""Checks of a cluster: does it answer, how fast, and is everybody there?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flame.cli.checks.check import FAIL, OK, WARN, Check
from flame.cli.status import of_workloads
from flame.core.objects.stamps import seconds
from flame.version import __version__

if TYPE_CHECKING:
    from flame.sdk.client import Client

ASKS = 20
FAR = 0.05
"""Seconds of an answer."""
SILENT = 120.0
"""Seconds since a heartbeat that was shown."""


def connection(client: Client) -> Iterator[Check]:
    client.status()
    times = []
    for _ in range(ASKS):
        begun = time.perf_counter()
        client.status()
        times.append(time.perf_counter() - begun)
    middle = statistics.median(times)
    text = f"{client.endpoint} answers in {middle * 1000:.1f} ms"
    yield Check(
        "connection",
        WARN if middle > FAR else OK,
        text,
        "submit from a machine that is nearer, in frames of many tasks",
    )


def control_plane(client: Client) -> Iterator[Check]:
    status = client.status()
    if status.storage != "ok":
        yield Check("storage", FAIL, status.storage, "make room where the journals are")
    if not status.allocator:
        yield Check("allocator", FAIL, "it does not answer the session manager", "see allocator.log of the cluster")
    same = status.release == __version__
    yield Check(
        "release",
        OK if same else WARN,
        f"cluster {status.release}, this command {__version__}",
        "install the same release on both",
    )
    if status.storage == "ok" and status.allocator:
        yield Check("control plane", OK, f"epoch {status.epoch}, durability {status.durability}")


def nodes(client: Client) -> Iterator[Check]:
    found = client.objects.list("flameagent").items
    if not found:
        yield Check(
            "nodes",
            WARN,
            "there are none: nothing will run",
            "flame agent join ENDPOINT, or flame up without --no-node",
        )
    now = time.time()
    for body in found:
        name, status = body["metadata"]["name"], body["status"]
        beat = seconds(status["lastHeartbeatTime"]) if status.get("lastHeartbeatTime") else now
        if status.get("phase") != "Ready":
            yield Check(
                "node", FAIL, f"{name} is {status.get('phase')}", f"start its agent again; flame describe node {name}"
            )
        elif now - beat > SILENT:
            yield Check(
                "node", WARN, f"{name} was heard of {now - beat:.0f} s ago", "its clock or ours is wrong, or it hangs"
            )
        elif beat - now > 5:
            yield Check(
                "node",
                WARN,
                f"the cluster's clock is {beat - now:.0f} s ahead of this machine's",
                "keep both in time: chronyd",
            )
        elif (body.get("spec") or {}).get("unschedulable"):
            yield Check("node", WARN, f"{name} is cordoned", f"flame node uncordon {name}")
        else:
            yield Check("node", OK, f"{name} is ready")


def workloads(client: Client) -> Iterator[Check]:
    found = of_workloads(client.objects)
    for one in found["failing"]:
        text = f"{one['namespace']}/{one['name']}: {one['reason']}: {' '.join(one['message'].split())[:160]}"
        yield Check("workload", WARN, text, f"flame debug workload {one['name']} -n {one['namespace']}")
    if not found["failing"]:
        yield Check("workloads", OK, "none fails")


CHECKS = (connection, control_plane, nodes, workloads)
