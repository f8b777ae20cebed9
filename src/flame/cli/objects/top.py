"""`flame top`: what is allocated of each node, and what workloads ask for and have. Nobody measures what they really use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.objects.describe import share
from flame.cli.objects.get import everything
from flame.cli.objects.options import DEFAULT, Everywhere, Namespace, Selector
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import Column, note, say_list
from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import format_milli, format_size, quantity_milli, quantity_units
from flame.core.objects.kinds import KINDS

NOTE = "These are requests and allocations; what processes really use is not measured."
_GPU = "nvidia.com/gpu"


def top(
    what: Annotated[str, typer.Argument(metavar="nodes|workloads|pods", help="of what")] = "nodes",
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    selector: Selector = "",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Say how much of everything is taken."""
    word = what.lower().removesuffix("s")
    if word not in ("node", "no", "agent", "workload", "fw", "pod", "po"):
        raise InvalidArgument(f"there is no top of {what[:40]!r}", hint="nodes, workloads or pods")
    with running.client(data_dir, endpoint) as client:
        objects = client.objects
        if word in ("node", "no", "agent"):
            records = [_node(body) for body in everything(objects, KINDS["FlameAgent"], "", selector)]
        else:
            place = "" if everywhere else (namespace or DEFAULT)
            pods = everything(objects, KINDS["Pod"], place, selector)
            pods = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
            records = _workloads(pods) if word in ("workload", "fw") else [_pod(pod) for pod in pods]
    say_list(records, NODE if word in ("node", "no", "agent") else POD, voice, name="name")
    if voice in ("table", "wide"):
        note(NOTE)


def _node(body: Mapping[str, Any]) -> dict[str, Any]:
    status = body["status"]
    have, used = status.get("allocatable") or {}, status.get("allocated") or {}
    return {
        "name": body["metadata"]["name"],
        "cpu": used.get("cpu", "0"), "cpu_of": have.get("cpu", "0"),
        "memory": used.get("memory", "0"), "memory_of": have.get("memory", "0"),
        "gpu": used.get(_GPU, "0"), "gpu_of": have.get(_GPU, "0"),
        "workloads": status.get("workloads", 0), "executors": status.get("executors", 0), "measured": False,
    }  # fmt: skip


def _pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    amounts = [(c.get("resources") or {}).get("requests") or {} for c in pod["spec"].get("containers") or ()]
    return {
        "namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"], "replicas": 1,
        "cpu": format_milli(sum(quantity_milli(a.get("cpu", 0)) for a in amounts)),
        "memory": str(sum(quantity_units(a.get("memory", 0)) for a in amounts)),
        "gpu": format_milli(sum(quantity_milli(a.get("gpu", a.get(_GPU, 0))) for a in amounts)),
        "nodes": [pod["spec"].get("nodeName", "-")], "measured": False,
    }  # fmt: skip


def _workloads(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all replicas together."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for pod in pods:
        one = _pod(pod)
        one["name"] = pod["metadata"]["labels"]["flame.xflops.cn/workload"]
        known = found.setdefault((one["namespace"], one["name"]), one)
        if known is one:
            continue
        for key in ("cpu", "gpu"):
            known[key] = format_milli(quantity_milli(known[key]) + quantity_milli(one[key]))
        known["memory"] = str(int(known["memory"]) + int(one["memory"]))
        known["replicas"] += 1
        known["nodes"] = [*known["nodes"], *(node for node in one["nodes"] if node not in known["nodes"])]
    return list(found.values())


NODE = (
    Column("Name", lambda r: r["name"]),
    Column("CPU", lambda r: f"{r['cpu']}/{r['cpu_of']} ({share(r['cpu'], r['cpu_of'])})"),
    Column("Memory", lambda r: f"{_size(r['memory'])}/{_size(r['memory_of'])} ({share(r['memory'], r['memory_of'])})"),
    Column("GPU", lambda r: f"{r['gpu']}/{r['gpu_of']}"),
    Column("Replicas", lambda r: r["workloads"]),
    Column("Executors", lambda r: r["executors"]),
)
POD = (
    Column("Namespace", lambda r: r["namespace"], wide=True),
    Column("Name", lambda r: r["name"]),
    Column("Replicas", lambda r: r["replicas"]),
    Column("CPU", lambda r: r["cpu"]),
    Column("Memory", lambda r: _size(r["memory"])),
    Column("GPU", lambda r: r["gpu"]),
    Column("Nodes", lambda r: ",".join(r["nodes"])),
)


def _size(amount: str) -> str:
    return format_size(quantity_units(amount))


def register(app: typer.Typer) -> None:
    app.command()(top)
