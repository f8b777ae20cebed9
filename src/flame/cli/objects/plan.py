"""What follows from an applied workload: what starts where and why, or what it waits for; and the commands that come next."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flame.cli.objects.options import flags
from flame.cli.objects.printing import pairs, size
from flame.cli.output import write
from flame.core.base.errors import NotFound
from flame.core.base.quantity import format_milli, quantity_milli
from flame.core.objects.kinds.workload import PRIORITY

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

PATIENCE = 1.0
"""Seconds that a plan waits for the scheduler's answer."""
LOOK = 0.02
WORKLOAD = "flame.xflops.cn/workload"


def say(objects: Objects, written: Mapping[str, Any]) -> None:
    """Print the plan of a workload that was just written."""
    about = written["metadata"]
    body = decided(objects, about["name"], about["namespace"], about.get("generation", 1))
    if body is None:
        return
    pods = objects.list("pod", namespace=about["namespace"], labels=f"{WORKLOAD}={about['name']}").items
    for line in [*what(body), *where(objects, body, pods), *next_commands(body)]:
        write(line)


def decided(objects: Objects, name: str, namespace: str, generation: int) -> dict[str, Any] | None:
    """The workload once the scheduler has answered, or as it is after PATIENCE; None when it is gone."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            body = objects.get("flameworkload", name, namespace=namespace)
        except NotFound:
            return None
        if _answered(body, generation) or time.monotonic() > deadline:
            return body
        time.sleep(LOOK)


def _answered(body: Mapping[str, Any], generation: int) -> bool:
    status = body.get("status") or {}
    if status.get("observedGeneration", 0) < generation:
        return False
    found = condition(status, "Scheduled")
    return found.get("status") == "True" or found.get("reason") not in (None, "", "Waiting")


def condition(status: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == type), {})


def what(body: Mapping[str, Any]) -> list[str]:
    """What it is: replicas, what each asks for, and its rank."""
    spec, status = body["spec"], body.get("status") or {}
    count, kind = spec.get("replicas", 1), spec.get("type", "Training")
    scheduling = spec.get("scheduling") or {}
    gang = scheduling.get("gang")
    together = ", all or none together" if (kind == "Training" if gang is None else gang) and count > 1 else ""
    priority = status.get("priorityClass") or scheduling.get("priorityClassName")
    word = (body["metadata"].get("annotations") or {}).get(PRIORITY)
    rank = f", priority {priority or word}" if priority or word else ""
    lines = [
        f"  What:  {count} {'replica' if count == 1 else 'replicas'} of {kind}{together}{rank}; each asks {asks(spec)}"
    ]
    rules = _rules(spec)
    return [*lines, f"  Only:  {rules}"] if rules else lines


def asks(spec: Mapping[str, Any]) -> str:
    """What one replica asks for, of all its containers together."""
    cpu, memory, gpu = 0, [], 0
    for container in spec["template"]["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        cpu += quantity_milli(amounts.get("cpu", 0))
        gpu += quantity_milli(amounts.get("nvidia.com/gpu", 0))
        memory += [size(amounts["memory"])] if "memory" in amounts else []
    fraction = ((spec.get("scheduling") or {}).get("gpu") or {}).get("fraction")
    parts = [f"cpu {format_milli(cpu)}"] if cpu else []
    parts += [f"memory {' + '.join(memory)}"] if memory else []
    parts += [f"gpu {fraction}"] if fraction else [f"gpu {format_milli(gpu)}"] if gpu else []
    return ", ".join(parts) or "nothing"


def _rules(spec: Mapping[str, Any]) -> str:
    """Where it may run, as far as it says so."""
    scheduling, pod = spec.get("scheduling") or {}, spec["template"]["spec"]
    selector = {**(pod.get("nodeSelector") or {}), **(scheduling.get("nodeSelector") or {})}
    parts = [f"nodes with {pairs(selector)}"] if selector else []
    if scheduling.get("affinity") or pod.get("affinity"):
        parts.append("by its affinity")
    if scheduling.get("topologySpreadConstraints") or pod.get("topologySpreadConstraints"):
        parts.append("spread")
    tolerations = [*(scheduling.get("tolerations") or ()), *(pod.get("tolerations") or ())]
    if tolerations:
        parts.append(f"taints tolerated: {', '.join(str(t.get('key') or 'any') for t in tolerations)}")
    return "; ".join(parts)


def where(objects: Objects, body: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ranks by node, with the room there; or why it waits."""
    status = body.get("status") or {}
    found = condition(status, "Scheduled")
    by_node: dict[str, list[int]] = {}
    for pod in pods:
        if not pod["metadata"].get("deletionTimestamp"):
            by_node.setdefault(pod["spec"]["nodeName"], []).append(
                int(pod["metadata"]["labels"]["flame.xflops.cn/rank"])
            )
    lines = []
    for node, ranks in sorted(by_node.items()):
        lines.append(f"  Where: {_ranks(ranks)} on node {node}")
        lines.append(f"  Why:   {_room(objects, node)}")
    if status.get("phase") in ("Succeeded", "Failed", "Suspended"):
        return [*lines, f"  State: {status['phase']}: {status.get('message') or status.get('reason') or '-'}"]
    if found.get("status") != "True":
        lines.append(
            f"  Waits: {_waits(objects, body) or found.get('message') or 'the scheduler has not answered yet'}"
        )
    return lines


def _waits(objects: Objects, body: Mapping[str, Any]) -> str:
    """The verdict of a diagnosis, with what would change it; empty: it has none."""
    about = body["metadata"]
    try:
        found = objects.debug("flameworkload", about["name"], namespace=about["namespace"])
    except NotFound:
        return ""
    return str(found["summary"]).removeprefix(f"{about['name']}: ") if found["causes"] else ""


def _ranks(ranks: Sequence[int]) -> str:
    """`ranks 0-3, 5`."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {text}"


def _room(objects: Objects, name: str) -> str:
    """Why a node could take it: what it has and what is left."""
    try:
        status = objects.get("flameagent", name)["status"]
    except NotFound:
        return "it had room"
    parts = []
    for resource, word in (("cpu", "cpu"), ("nvidia.com/gpu", "gpu")):
        has = quantity_milli(status["allocatable"].get(resource, 0))
        if has:
            used = quantity_milli((status.get("allocated") or {}).get(resource, 0))
            parts.append(f"{word} {format_milli(has - used)} of {format_milli(has)}")
    return f"it is allowed there and fits; left on {name}: {', '.join(parts)}"


def next_commands(body: Mapping[str, Any]) -> list[str]:
    """What one does next."""
    name, place = body["metadata"]["name"], flags(body["metadata"]["namespace"])
    commands = [f"flame get pods -l {WORKLOAD}={name}{place}"]
    phase = (body.get("status") or {}).get("phase")
    if condition(body.get("status") or {}, "Scheduled").get("status") == "True":
        commands.append(f"flame logs {'' if phase in ('Succeeded', 'Failed') else '-f '}{name}{place}")
    if phase not in ("Succeeded", "Failed"):
        ready = "Ready" if body["spec"].get("type") in ("Inference", "Hybrid") else "Complete"
        commands.append(f"flame wait workload/{name} --for=condition={ready}{place}")
    commands.append(f"flame debug workload {name}{place}")
    return ["Next:", *(f"  {command}" for command in commands)]
