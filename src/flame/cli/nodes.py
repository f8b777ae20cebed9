"""`flame node`: take machines out of use for a while, and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from flame.cli import running
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import Column, say_list, write
from flame.core.base.errors import Unavailable
from flame.core.base.quantity import format_size

if TYPE_CHECKING:
    from flame.sdk.client import Client

app = typer.Typer(help="Machines: list, cordon, drain.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="node")


STATES = ("Unknown", "Ready", "NotReady")
LOOK = 0.2
ISOLATION = "flame.isolation/"


@app.command("list")
def list_nodes(data_dir: DataDir = None, endpoint: Endpoint = None, voice: Voice = "table") -> None:
    """Nodes with what they have and how they are."""
    with running.client(data_dir, endpoint) as client:
        nodes, executors, replicas = client.list_nodes(), client.list_executors(), _replicas(client)
    records = [
        {
            "name": node.name,
            "state": STATES[node.state] + (",Cordoned" if node.cordoned else ""),
            "cpu": node.allocatable.get("cpu", 0) / 1000,
            "memory": node.allocatable.get("memory", 0),
            "gpu": node.allocatable.get("gpu", 0) / 1000,
            "executors": sum(1 for one in executors if one.node == node.name),
            "replicas": replicas.get(node.name, 0),
            "labels": dict(sorted(node.labels.items())),
        }
        for node in nodes
    ]
    columns = (
        Column("Name", lambda r: r["name"]),
        Column("State", lambda r: r["state"]),
        Column("CPU", lambda r: f"{r['cpu']:g}"),
        Column("Memory", lambda r: format_size(r["memory"])),
        Column("GPU", lambda r: f"{r['gpu']:g}"),
        Column("Executors", lambda r: str(r["executors"])),
        Column("Replicas", lambda r: str(r["replicas"])),
        Column("Isolation", lambda r: _isolation(r["labels"]), wide=True),
    )
    say_list(records, columns, voice, name="name")


def _replicas(client: Client) -> dict[str, int]:
    """Of workloads, by node, those that are about to end included."""
    agents = client.objects.list("flameagent").items
    return {body["metadata"]["name"]: int(body["status"].get("workloads") or 0) for body in agents}


def _isolation(labels: dict[str, str]) -> str:
    """How the node keeps executors apart, as its labels say."""
    mine = {key.removeprefix(ISOLATION): text for key, text in labels.items() if key.startswith(ISOLATION)}
    return " ".join(f"{key}={text}" for key, text in mine.items()) or "-"


@app.command()
def cordon(name: str, data_dir: DataDir = None, endpoint: Endpoint = None) -> None:
    """Place nothing new on a node; what runs there stays."""
    with running.client(data_dir, endpoint) as client:
        client.cordon(name)
    write(f"Node {name} is cordoned.")


@app.command()
def uncordon(name: str, data_dir: DataDir = None, endpoint: Endpoint = None) -> None:
    """Use a node again."""
    with running.client(data_dir, endpoint) as client:
        client.uncordon(name)
    write(f"Node {name} is used again.")


@app.command()
def drain(
    name: str,
    timeout: Annotated[float, typer.Option(help="seconds to wait until nothing runs there; 0: do not wait")] = 300.0,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Cordon a node, let every executor leave at its next task boundary and end replicas; returns when it is empty."""
    with running.client(data_dir, endpoint) as client:
        client.cordon(name, drain=True)
        deadline = time.monotonic() + timeout
        while left := _left(client, name):
            if time.monotonic() > deadline:
                if not timeout:
                    break
                raise Unavailable(
                    f"still on node {name} after {timeout:g} s: {left}",
                    hint="executors leave when their task ends, replicas after their grace; --timeout waits longer",
                )
            time.sleep(LOOK)
    write(f"Node {name} is cordoned and {'empties' if left else 'empty'}.")


def _left(client: Client, name: str) -> str:
    """What runs on a node, in words; empty when nothing does."""
    executors = sum(1 for one in client.list_executors() if one.node == name)
    found = {"executor": executors, "replica": _replicas(client).get(name, 0)}
    return " and ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in found.items() if count)
