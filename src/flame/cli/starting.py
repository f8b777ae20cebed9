"""`flame up`, `flame down`, `flame executor`: the cluster on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.options import DataDir, Endpoint, Labels, SimulatedGpus, Taints
from flame.cli.output import labelled, write


def register(app: typer.Typer) -> None:
    for verb in (up, down, executor):
        app.command()(verb)


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="return when it runs")] = False,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="journals, logs, token (~/.flame/data)")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="flame-cluster.yaml")] = None,
    durability: Annotated[str | None, typer.Option(help="power (survives a power cut) or process")] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar=running.STORAGE, show_envvar=True, help="postgresql://... for the journals"),
    ] = None,
    compat_listener: Annotated[
        str | None, typer.Option(metavar="ADDR", help="flame.v1 gRPC without tokens, loopback")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR", help="HOST[:PORT] for clients and nodes elsewhere: TLS and tokens (loopback: TCP)"
        ),
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR", help="HOST[:PORT] (8083) for REST, kubectl and the dashboard; beyond loopback HTTPS"
        ),
    ] = None,
    standby: Annotated[bool, typer.Option(help="with --storage: wait while another cluster leads")] = False,
    no_node: Annotated[bool, typer.Option("--no-node", help="control plane only: this machine runs no tasks")] = False,
    managers: Annotated[
        int | None, typer.Option(min=1, max=64, help="session managers; sessions are divided among them")
    ] = None,
    advertise: Annotated[str | None, typer.Option(metavar="NAME", help="what others call this machine")] = None,
    cpus: Annotated[float | None, typer.Option(min=0.001, help="slots of this node (at least 4, or its cores)")] = None,
    memory: Annotated[str | None, typer.Option(help="for executors, such as 8g (all)")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="of this node (those that are found)")] = None,
    name: Annotated[str | None, typer.Option(help="of this node (the host name)")] = None,
    label: Labels = None,
    taint: Taints = None,
    simulate_gpus: SimulatedGpus = None,
    port: Annotated[
        str | None, typer.Option(help="port of the gRPC front on loopback, or auto: same as --compat-listener")
    ] = None,
) -> None:
    """Start a cluster here."""
    if durability not in (None, "power", "process", "memory"):
        raise typer.BadParameter("one of power, process, memory", param_hint="--durability")
    running.hide_storage(storage)
    if port is not None and compat_listener is None:
        compat_listener = f"127.0.0.1:{0 if port == 'auto' else port}"
    settings = running.settings(
        data_dir,
        config,
        durability=durability,
        storage=storage,
        compat=compat_listener,
        listen=listen,
        gateway=gateway,
        advertise=advertise,
        managers=managers,
        standby=standby or None,
        with_node=False if no_node else None,
        cpus=cpus,
        memory=running.size(memory),
        gpus=gpus,
        labels=label,
        taints=taint,
        simulate_gpus=simulate_gpus,
        node=name,
    )
    raise typer.Exit(running.start(settings, detach, _say_up))


def _say_up(run: dict[str, Any]) -> None:
    lines = [("Cluster", "running"), ("Endpoint", run["endpoint"])]
    lines += [
        (label, run[key])
        for label, key in (("Compat", "compat"), ("Listen", "listen"), ("Gateway", "gateway"))
        if run.get(key)
    ]
    lines += [("Durability", run["durability"]), ("Data", run["data_dir"])]
    lines += [("Role", "stands by")] if run.get("standby") else []
    lines += [("Journals", run["storage"])] if run.get("storage") else []
    write(labelled(lines))
    sys.stdout.flush()


def down(data_dir: DataDir = None) -> None:
    """Stop the cluster. Open sessions go on when it is started again."""
    run = running.find(data_dir)
    running.stop(run)
    write(f"The cluster in {run.data_dir} was stopped.")


def executor(
    session: Annotated[str, typer.Option("-s", "--session", help="session id or number")],
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Start one executor by hand: it serves a session beside the placed ones, until the session closes."""
    from flame.cli.executor import serve

    raise typer.Exit(serve((endpoint if data_dir is None else None) or running.find(data_dir).endpoint, session))
