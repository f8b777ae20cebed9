"""`flame agent join`: make this machine a node of a cluster. One line for ssh, sbatch or a cloud's start script."""

from __future__ import annotations

import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from flame.cli import running
from flame.cli.options import Labels, SimulatedGpus, Taints
from flame.cli.output import labelled, write
from flame.core.base.errors import InvalidArgument
from flame.ops.paths import RunFile, home
from flame.shell.address import Address, parse_all

app = typer.Typer(help="Machines that work for a cluster.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="agent")


@app.command()
def join(
    endpoint: Annotated[
        str, typer.Argument(metavar="ENDPOINT", help="tls://host:port (several with commas), or a data directory here")
    ],
    token: Annotated[
        str | None, typer.Option(envvar="FLAME_JOIN_TOKEN", help="of role join; not needed again later")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="a file with that token")] = None,
    ca_hash: Annotated[str | None, typer.Option(help="fingerprint of the cluster's authority, sha256:...")] = None,
    ca_file: Annotated[Path | None, typer.Option(envvar="FLAME_CA_FILE", help="or its certificate")] = None,
    name: Annotated[str | None, typer.Option(help="of this node (the host name)")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="certificate, logs, work (~/.flame/node)")] = None,
    cpus: Annotated[float | None, typer.Option(min=0.001, help="slots of this node (at least 4, or its cores)")] = None,
    memory: Annotated[str | None, typer.Option(help="for executors, such as 8g (all)")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="of this node (those that are found)")] = None,
    label: Labels = None,
    taint: Taints = None,
    simulate_gpus: SimulatedGpus = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="its own flame-cluster.yaml")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="return when it runs")] = False,
) -> None:
    """Make this machine a node, until it is told to stop (`flame down --data-dir DIR`)."""
    addresses = _addresses(endpoint)
    directory = (data_dir or home() / "node").absolute()
    node = name or socket.gethostname()
    if addresses[0].tls:
        _certify(addresses, directory, node, token, token_file, ca_file, ca_hash)
    config = running.settings(
        directory,
        config_file,
        node=node,
        cpus=cpus,
        memory=running.size(memory),
        gpus=gpus,
        durability="memory",
        labels=label,
        taints=taint,
        simulate_gpus=simulate_gpus,
    )
    options = msgspec.to_builtins(asdict(config), enc_hook=str) | {"endpoints": [str(one) for one in addresses]}
    raise typer.Exit(running.launch("flame.cluster.node", options, detach, _say_joined))


def _addresses(text: str) -> tuple[Address, ...]:
    path = Path(text)
    if "://" not in text and (path / "run.json").exists():
        run = RunFile.read(path / "run.json")
        if run is not None:
            text = run.endpoint
    found = parse_all(text)
    if any(one.tls != found[0].tls for one in found) or any(not (one.tls or one.path) for one in found):
        raise InvalidArgument(
            f"{text}: a node joins by tls://host:port, or by the sockets of a cluster on its own machine",
            hint="`flame up --listen HOST` serves TLS",
        )
    return found


def _certify(
    addresses: tuple[Address, ...], directory: Path, node: str, token: str | None, token_file: Path | None,
    ca_file: Path | None, ca_hash: str | None,
) -> None:  # fmt: skip
    """A certificate of this node, unless it has one."""
    from flame.agent import joining

    certs = directory / "certs"
    joining.trust(addresses, certs, ca_file, ca_hash)
    if (certs / joining.IDENTITY).exists() and not joining.expired(certs):
        return
    if token_file is not None:
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise InvalidArgument(f"cannot read {token_file}: {error.strerror}") from None
    if not token:
        raise InvalidArgument(
            f"node {node} has no certificate yet and no join token to get one",
            hint="`flame token create NAME --role join` on the cluster prints the whole line to run here",
        )
    joining.admit(addresses, node, token, certs, ())


def _say_joined(run: dict[str, Any]) -> None:
    write(labelled([("Node", run["node"]), ("Cluster", run["endpoint"]), ("Data", run["data_dir"])]))
    sys.stdout.flush()
