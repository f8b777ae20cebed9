"""The ways between nodes: a small workload with one replica on each measures them, and is deleted afterwards."""

from __future__ import annotations

import json
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flame.cli.checks.check import FAIL, OK, WARN, Check
from flame.core.base.errors import NotFound

if TYPE_CHECKING:
    from flame.sdk.client import Client
    from flame.sdk.objects import Objects

PATIENCE = 60.0
"""Seconds that all of it may take."""
LOOK = 0.1
TIMES = 2.0
"""A way is an outlier from so many times the middle of all on."""
NOISE = 0.001
"""Seconds of a round trip that mean nothing."""

# Runs on the nodes, with whatever Python is there. Every rank serves; each asks all higher ranks, addresses come by rank 0.
PROBE = r"""
import json, os, socket, sys, threading, time
rank, world = int(os.environ["FLAME_RANK"]), int(os.environ["FLAME_WORLD_SIZE"])
host, port = os.environ["FLAME_RENDEZVOUS"].rsplit(":", 1)
def read(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece: raise OSError("closed")
        data += piece
    return data
def serve(server):
    while True:
        s, _ = server.accept()
        threading.Thread(target=talk, args=(s,), daemon=True).start()
def talk(s):
    try:
        while True:
            n = int(read(s, 12))
            read(s, n)
            s.sendall(b"k")
    except (OSError, ValueError): pass
server = socket.create_server(("", 0)); threading.Thread(target=serve, args=(server,), daemon=True).start()
mine = [rank, os.environ.get("POD_IP") or socket.gethostname(), server.getsockname()[1], os.environ["FLAME_NODE"]]
deadline = time.time() + 40
if rank == 0:
    hub = socket.create_server((host if host in ("127.0.0.1", "localhost") else "", int(port))); files, known = [], [mine]
    for _ in range(world - 1):
        f = hub.accept()[0].makefile("rw"); files.append(f); known.append(json.loads(f.readline()))
    for f in files: f.write(json.dumps(known) + "\n"); f.flush()
else:
    while True:
        try: s = socket.create_connection((host, int(port)), 5); break
        except OSError:
            if time.time() > deadline: raise
            time.sleep(0.1)
    f = s.makefile("rw"); f.write(json.dumps(mine) + "\n"); f.flush(); known = json.loads(f.readline())
for other, address, its, node in sorted(known):
    if other <= rank: continue
    try:
        s = socket.create_connection((address, its), 5); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); s.settimeout(10)
        def ask(n):
            begun = time.perf_counter(); s.sendall(b"%012d" % n + bytes(n)); read(s, 1); return time.perf_counter() - begun
        ask(1); trips = sorted(ask(1) for _ in range(20)); big = 4 << 20; took = ask(big)
        print("FLAME-WAY", json.dumps([mine[3], node, trips[10], big / took]), flush=True)
    except OSError as e: print("FLAME-WAY", json.dumps([mine[3], node, -1, str(e)]), flush=True)
if rank == 0:
    for f in files: f.readline()
else:
    f.write("done\n"); f.flush(); f.readline()  # until everybody is done: others still ask us
"""


def network(client: Client) -> Iterator[Check]:
    """Every pair of nodes that are ready."""
    objects = client.objects
    ready = [
        body["metadata"]["name"] for body in objects.list("flameagent").items if body["status"].get("phase") == "Ready"
    ]
    if len(ready) < 2:
        yield Check("network", OK, "there is one node: no ways to measure" if ready else "there are no nodes")
        return
    name = f"flame-doctor-{secrets.token_hex(4)}"
    objects.create(workload(name, len(ready)))
    try:
        ways, problem = _ways(objects, name, len(ready))
    finally:
        objects.delete("flameworkload", name, grace=0.0)
    if problem:
        yield Check("network", WARN, problem, "the probe needs python3 and room for one small replica on every node")
        return
    yield from judge(ways)


def workload(name: str, replicas: int) -> dict[str, Any]:
    """One replica a node."""
    labels = {"app": name}
    apart = {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
        ]
    }
    container = {"name": "probe", "image": "flame-doctor", "command": ["python3", "-u", "-c", PROBE]}
    return {
        "apiVersion": "flame.xflops.cn/v1alpha1",
        "kind": "FlameWorkload",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "type": "Training", "replicas": replicas, "maxRetries": 0, "timeout": f"{PATIENCE:g}s",
            "scheduling": {"affinity": {"podAntiAffinity": apart}, "tolerations": [{"operator": "Exists"}]},
            "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }  # fmt: skip


def _ways(objects: Objects, name: str, replicas: int) -> tuple[list[list[Any]], str]:
    """What the probe measured, or why it did not."""
    deadline = time.monotonic() + PATIENCE
    while True:
        body = objects.get("flameworkload", name)
        status = body.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed") or time.monotonic() > deadline:
            break
        time.sleep(LOOK)
    lines: list[str] = []
    for rank in range(replicas):
        try:
            text = b"".join(objects.logs(f"{name}-{rank}")).decode(errors="replace")
        except NotFound:
            continue
        lines += text.splitlines()
    ways = [json.loads(line.partition("FLAME-WAY ")[2]) for line in lines if "FLAME-WAY " in line]
    if len(ways) < replicas * (replicas - 1) // 2:
        said = status.get("message") or status.get("reason") or str(status.get("phase"))
        return ways, f"the probe did not run on all {replicas} nodes: {said}"
    return ways, ""


def judge(ways: Sequence[Sequence[Any]]) -> Iterator[Check]:
    """A way that is much slower than the middle of all is told; the ways there are in one line otherwise."""
    works = [way for way in ways if way[2] >= 0]
    for a, b, _, why in (way for way in ways if way[2] < 0):
        yield Check("network", FAIL, f"{a} cannot reach {b}: {why}", "open the ports between nodes")
    if not works:
        return
    trip = statistics.median(way[2] for way in works)
    speed = statistics.median(way[3] for way in works)
    slow = [way for way in works if (way[2] > TIMES * trip and way[2] > NOISE) or way[3] < speed / TIMES / 2]
    middle = _speed(trip, speed)
    for a, b, its_trip, its_speed in slow:
        text = f"{a} to {b}: {_speed(its_trip, its_speed)}; the middle is {middle}"
        yield Check("network", WARN, text, "look at that link; spread gangs elsewhere")
    yield Check("network", OK, f"{len(works)} ways, {middle} in the middle")


def _speed(trip: float, bytes_a_second: float) -> str:
    return f"{trip * 1000:.2f} ms, {bytes_a_second / 1e6:,.0f} MB/s"
