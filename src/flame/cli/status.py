"""`flame status`: the whole cluster on one screen. Exit code 0: well, 1: degraded, 2: not running."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from flame.cli import running
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import fine_clock, labelled, say_data, write
from flame.core.base.errors import FlameError
from flame.core.base.quantity import format_milli, format_size, quantity_milli

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

GPU = "nvidia.com/gpu"
MOST = 5
"""Workloads in trouble that are named; the others are counted."""
ORDER = ("Pending", "Running", "Suspended", "Terminating", "Succeeded", "Failed")


def status(data_dir: DataDir = None, endpoint: Endpoint = None, voice: Voice = "table") -> None:
    """Say how the cluster is. Exit code 0: well, 1: degraded, 2: not running."""
    try:
        record = running.status(data_dir, endpoint)
        with running.client(data_dir, endpoint) as client:
            record |= of_workloads(client.objects) if record["allocator"] else {}
    except FlameError as error:
        if voice in ("json", "yaml"):
            say_data({"state": "down", "reason": error.message}, voice)
        else:
            sys.stderr.write(f"{error.message}\n" + (f"Hint: {error.hint}\n" if error.hint else ""))
        raise typer.Exit(2) from error
    if voice in ("json", "yaml"):
        say_data(record, voice)
    elif voice == "name":
        write(record["state"])
    else:
        write(labelled([*_control_plane(record), *_agents(record), *_work(record), *_processes(record)]))
    raise typer.Exit(0 if record["state"] == "ok" else 1)


def of_workloads(objects: Objects) -> dict[str, Any]:
    """Agents, GPUs and workloads, as their objects show them."""
    agents = objects.list("flameagent").items
    workloads = objects.list("flameworkload").items
    troubled = [one for one in map(trouble, workloads) if one is not None]
    phases = Counter((body.get("status") or {}).get("phase") or "Pending" for body in workloads)
    return {
        "agents": [
            {
                "name": body["metadata"]["name"],
                "state": body["status"].get("phase"),
                "cordoned": bool((body.get("spec") or {}).get("unschedulable")),
                "workloads": body["status"].get("workloads", 0),
                "executors": body["status"].get("executors", 0),
            }
            for body in agents
        ],
        "gpus": {"total": _sum(agents, "allocatable"), "allocated": _sum(agents, "allocated")},
        "workloads": {phase: phases[phase] for phase in (*ORDER, *phases) if phases[phase]},
        "failing": [one for one in troubled if one["failing"]],
        "waiting": [one for one in troubled if not one["failing"]],
    }


def _sum(agents: Sequence[Mapping[str, Any]], key: str) -> str:
    ready = [body["status"] for body in agents if body["status"].get("phase") == "Ready"]
    return format_milli(sum(quantity_milli((status.get(key) or {}).get(GPU, 0)) for status in ready))


def trouble(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """A workload that failed, fails again and again, or waits; None: nothing is wrong with it."""
    status, about = body.get("status") or {}, body["metadata"]
    phase = status.get("phase") or "Pending"
    retrying = next(
        (c for c in status.get("conditions") or () if c.get("type") == "Retrying" and c.get("status") == "True"), None
    )
    reason, message = status.get("reason") or "", status.get("message") or ""
    failing = phase == "Failed" or (retrying is not None and phase in ("Pending", "Running") and not _recovered(status))
    if retrying is not None and phase != "Failed" and failing:
        reason, message = reason or str(retrying.get("reason")), message or str(retrying.get("message"))
    if not failing and not (phase == "Pending" and reason):
        return None
    return {
        "namespace": about["namespace"],
        "name": about["name"],
        "phase": phase,
        "reason": reason,
        "message": message,
        "failing": failing,
    }


def _recovered(status: Mapping[str, Any]) -> bool:
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())


def _control_plane(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("Cluster", r["state"] + "".join(f"; {reason}" for reason in r["reasons"]))]
    lines += [("Release", r["release"]), ("Endpoint", r["endpoint"] or "-")]
    if r.get("compat"):
        lines.append(("Compat", f"{r['compat']} (no token: whoever reaches it owns the cluster)"))
    if r.get("listen"):
        lines.append(("Listen", r["listen"]))
    if r.get("gateway"):
        lines.append(("Gateway", r["gateway"]))
    return [
        *lines,
        ("Durability", r["durability"]),
        ("Epoch", str(r["epoch"])),
        ("Since", fine_clock(r["started"])[:8]),
        ("Storage", r["storage"]),
        ("Control plane", "all of it answers" if r["allocator"] else "the allocator does not answer"),
    ]


def _agents(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("Nodes", f"{r['nodes_ready']} ready of {r['nodes']}")]
    away = [f"{a['name']} ({a['state']})" for a in r.get("agents") or () if a["state"] != "Ready"]
    cordoned = [f"{a['name']} (cordoned)" for a in r.get("agents") or () if a["state"] == "Ready" and a["cordoned"]]
    if away or cordoned:
        lines.append(("Agents", ", ".join([*away, *cordoned])))
    if "gpus" in r:
        lines.append(
            (
                "GPUs",
                f"{r['gpus']['allocated']} allocated of {r['gpus']['total']}" if r["gpus"]["total"] != "0" else "none",
            )
        )
    return lines


def _work(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("Executors", str(r["executors"])),
        ("Sessions", f"{r['sessions_open']} open, {r['sessions_closed']} closed"),
        ("Tasks", f"{r['pending']:,} pending, {r['running']:,} running"),
    ]
    if "workloads" not in r:
        return lines
    lines.append(
        ("Workloads", ", ".join(f"{count} {phase.lower()}" for phase, count in r["workloads"].items()) or "none")
    )
    for label, found in (("Failing", r["failing"]), ("Waiting", r["waiting"])):
        if found:
            said = [f"{w['namespace']}/{w['name']}: {w['reason']}: {_short(w['message'])}" for w in found[:MOST]]
            said += [f"and {len(found) - MOST} more: flame get workloads -A"] if len(found) > MOST else []
            lines.append((label, "\n".join([f"{len(found)}", *said])))
    return lines


def _short(text: str, most: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _processes(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("Memory", format_size(r["memory"]))] if r["memory"] else []
    if r.get("data_dir"):
        lines += [("Data", r["data_dir"]), ("Processes", ", ".join(f"{name} {pid}" for name, pid in r["pids"].items()))]
    return lines


def register(app: typer.Typer) -> None:
    app.command()(status)
