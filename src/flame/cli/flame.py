"""`flame`: the cluster on this machine (`up`, `down`), and all commands of the other modules together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import agents, asking, config, debugging, doctor, identities, nodes, replay, running, stack, status
from flame.cli.backup import backup, restore
from flame.cli.entry import guard
from flame.cli.kubeconfig import kubeconfig
from flame.cli.objects import apply, describe, edit, executing, get, top, waiting
from flame.cli.options import DataDir, Endpoint, Labels, SimulatedGpus, Taints
from flame.cli.output import labelled, write
from flame.version import __version__
from flame.wire.status import edge

app = typer.Typer(
    name="flame",
    help="Run a cluster, give it work, and see what it does.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(agents.app, name="agent")
app.add_typer(nodes.app, name="node")
identities.register(app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        write(f"flame {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        write(context.get_help())


@app.command()
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


@app.command()
def down(data_dir: DataDir = None) -> None:
    """Stop the cluster. Open sessions go on when it is started again."""
    run = running.find(data_dir)
    running.stop(run)
    write(f"The cluster in {run.data_dir} was stopped.")


@app.command()
def executor(
    session: Annotated[str, typer.Option("-s", "--session", help="session id or number")],
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Start one executor by hand: it serves a session beside the placed ones, until the session closes."""
    from flame.cli.executor import serve

    raise typer.Exit(serve((endpoint if data_dir is None else None) or running.find(data_dir).endpoint, session))


for module in (
    asking,
    status,
    apply,
    get,
    edit,
    describe,
    waiting,
    top,
    executing,
    debugging,
    config,
    stack,
    replay,
    doctor,
):
    module.register(app)
app.command()(backup)
app.command()(restore)
app.command()(kubeconfig)


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell")]) -> None:
    """Print a completion script."""
    from flame.cli.completion import script

    write(script("flame", shell))


def main() -> None:
    sys.exit(guard(app, code=lambda error: edge(error).exit))


if __name__ == "__main__":
    main()
