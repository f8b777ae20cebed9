"""`flmadm install`, `uninstall`, `status`, `config`: a machine's part in a cluster, in a prefix of its own."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import prefix as at
from flame.cli import services
from flame.cli.options import Voice
from flame.cli.output import Column, labelled, say_data, say_list, write
from flame.core.base.errors import FlameError, InvalidArgument, NotFound, PermissionDenied
from flame.ops.paths import home

FAILED = 3
"""Exit code of these commands when they fail."""
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would be done")]


def default_prefix() -> Path:
    """Root installs for the machine, everybody else for himself."""
    return at.SYSTEM if services.is_root() else home() / "install"


Prefix = Annotated[Path | None, typer.Option(help="where (/usr/local/flame as root, else ~/.flame/install)")]


def register(app: typer.Typer) -> None:
    app.command()(install)
    app.command()(uninstall)
    app.command()(status)
    app.command()(config)


def install(
    everything: Annotated[bool, typer.Option("--all", help="control plane, worker and client")] = False,
    control_plane: Annotated[bool, typer.Option("--control-plane", help="session manager and allocator")] = False,
    worker: Annotated[bool, typer.Option("--worker", help="this machine runs tasks")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="object cache (not in this release)")] = False,
    client: Annotated[bool, typer.Option("--client", help="commands only")] = False,
    prefix: Prefix = None,
    src_dir: Annotated[
        Path | None, typer.Option(help="install the engine from this checkout; nothing is downloaded")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDR", help="control plane: for other machines, as `flame up --listen`")
    ] = None,
    join: Annotated[str | None, typer.Option(metavar="ENDPOINT", help="worker: of which control plane")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="FLAME_JOIN_TOKEN", help="worker: its join token, not kept")
    ] = None,
    ca_hash: Annotated[str | None, typer.Option(help="worker: fingerprint of the cluster's authority")] = None,
    name: Annotated[str | None, typer.Option(help="worker: of this node (the host name)")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="start the services, and again when they end")] = False,
    no_systemd: Annotated[bool, typer.Option("--no-systemd", help="no units, even where systemd runs")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="back up and remove what is there first")] = False,
    dry_run: DryRun = False,
) -> None:
    """Install Flame's part on this machine into a prefix, as root or not."""
    chosen = {at.CONTROL: control_plane, at.WORKER: worker, at.CACHE: cache, at.CLIENT: client}
    if everything and any(chosen.values()):
        raise typer.BadParameter("--all goes with no other profile")
    profiles = (at.CONTROL, at.WORKER, at.CLIENT) if everything else tuple(p for p, on in chosen.items() if on)
    root = (prefix or default_prefix()).expanduser()
    systemd = services.is_root() and services.systemd_runs() and not no_systemd and profiles != (at.CLIENT,)
    source = str(src_dir.resolve()) if src_dir else None
    wanted = at.Wanted(str(root), profiles, listen, join, ca_hash, name, systemd, source)
    at.check(wanted)
    if enable and not services.names(wanted):
        raise InvalidArgument("--enable starts services, and a client has none")
    todo = _cleaning(root) if clean and (root / "conf" / "install.json").exists() else []
    todo += at.steps(wanted)
    todo.append(
        at.Step("write the services" + (" and their systemd units" if systemd else ""), lambda: services.write(wanted))
    )
    if enable:
        if at.WORKER in profiles and join and token:
            todo.append(at.Step(f"join {join}", lambda: _join(wanted, token)))
        todo.append(at.Step(f"start {', '.join(services.names(wanted))}", lambda: services.start(wanted)))
    if dry_run:
        write("\n".join(f"would {step.says}" for step in todo))
        return
    _writable(root)
    at.apply(todo, write)
    write(f"\nInstalled in {root}. Next:\n  source {root}/sbin/flmenv.sh")


def _writable(root: Path) -> None:
    above = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(above, os.W_OK):
        raise PermissionDenied(f"{above} is not ours to write", hint="sudo, or --prefix under your home")


def _cleaning(root: Path) -> list[at.Step]:
    return [at.Step(f"remove what is in {root}, after a backup", lambda: _remove(root, (), _backup(root)))]


def _join(wanted: at.Wanted, token: str) -> None:
    """Buy the node's certificate now: the token is not kept for later."""
    from flame.agent import joining
    from flame.shell.address import parse_all

    assert wanted.join is not None
    endpoints = parse_all(wanted.join)
    certs = services.data_dir(wanted, "flame-worker") / "certs"
    joining.trust(endpoints, certs, None, wanted.ca_hash)
    import socket

    joining.admit(endpoints, wanted.node or socket.gethostname(), token, certs, ())


def _backup(root: Path) -> Path:
    return root.with_name(f"{root.name}.backup.{time.strftime('%Y%m%d_%H%M%S')}")


def _remove(root: Path, keep: tuple[str, ...], backup: Path | None) -> None:
    services.stop(at.read(root))
    at.remove(root, keep, backup)


def uninstall(
    prefix: Prefix = None,
    preserve_data: Annotated[bool, typer.Option("--preserve-data", help="keep journals, tokens, certificates")] = False,
    preserve_config: Annotated[bool, typer.Option("--preserve-config", help="keep conf")] = False,
    preserve_logs: Annotated[bool, typer.Option("--preserve-logs", help="keep logs")] = False,
    backup_dir: Annotated[Path | None, typer.Option(help="copy everything there first (PREFIX.backup.TIME)")] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="copy nothing")] = False,
    force: Annotated[bool, typer.Option("--force", help="do not ask; nothing installed is well, too")] = False,
    dry_run: DryRun = False,
) -> None:
    """Stop the services and remove an installation."""
    root = (prefix or default_prefix()).expanduser()
    at.refuse_odd_prefix(root)
    try:
        at.read(root)
    except NotFound:
        if force:
            write(f"Nothing is installed in {root}.")
            return
        raise
    flags = (("data", preserve_data), ("conf", preserve_config), ("logs", preserve_logs))
    keep = tuple(name for name, on in flags if on)
    backup = None if no_backup else (backup_dir or _backup(root))
    says = f"stop the services, {f'copy {root} to {backup}, ' if backup else ''}remove {root}" + (
        f" but {', '.join(keep)}" if keep else ""
    )
    if dry_run:
        write(f"would {says}")
        return
    if not force and not (sys.stdin.isatty() and typer.confirm(f"{says}?")):
        raise InvalidArgument("nobody confirmed", hint="--force does not ask")
    _remove(root, keep, backup)
    write(f"Removed {root}." + (f" A copy is in {backup}." if backup else ""))


def status(prefix: Prefix = None, voice: Voice = "table") -> None:
    """What is installed, and what of it runs. Exit code 0: all of it, 1: not all, 3: nothing is installed."""
    root = (prefix or default_prefix()).expanduser()
    wanted = at.read(root)
    records: list[dict[str, Any]] = [
        {"service": name, "state": "running" if services.is_up(wanted, name) else "stopped",
         "kept_by": "systemd" if wanted.systemd else "flmkeep"}
        for name in services.names(wanted)
    ]  # fmt: skip
    if voice in ("json", "yaml"):
        say_data(
            {"prefix": str(root), "profiles": list(wanted.profiles), "release": wanted.release, "services": records},
            voice,
        )
    else:
        write(labelled([("Prefix", str(root)), ("Profiles", ", ".join(wanted.profiles)), ("Release", wanted.release)]))
        columns = (
            Column("Service", lambda r: r["service"]),
            Column("State", lambda r: r["state"]),
            Column("Kept by", lambda r: r["kept_by"]),
        )
        say_list(records, columns, voice, name="service")
    if any(record["state"] != "running" for record in records):
        raise typer.Exit(1)


def config(
    key: Annotated[str | None, typer.Argument(help="such as cluster.listen; else the whole file")] = None,
    value: Annotated[str | None, typer.Argument(help="set it; else show it")] = None,
    prefix: Prefix = None,
    dry_run: DryRun = False,
) -> None:
    """Show or change conf/flame-cluster.yaml. What would not be valid is not written; services take changes when they start again."""
    import yaml

    from flame.ops.config import ClusterConfig, load
    from flame.ops.paths import write_private

    path = (prefix or default_prefix()).expanduser() / "conf" / "flame-cluster.yaml"
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="flmadm install --control-plane")
    if key is None:
        write(path.read_text().rstrip())
        return
    found: Any = yaml.safe_load(path.read_text()) or {}
    *above, last = key.split(".")
    place = found
    for name in above:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise InvalidArgument(f"{key}: {name} is no mapping")
    if value is None:
        if last not in place:
            raise NotFound(f"{key} is not set in {path}")
        write(str(place[last]))
        return
    place[last] = yaml.safe_load(value)
    text = yaml.safe_dump(found, sort_keys=False)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as trial:
        trial.write(text)
        trial.flush()
        load(Path(trial.name), ClusterConfig(path.parent))
    if not dry_run:
        write_private(path, text)
    write(f"{'would set' if dry_run else 'set'} {key} = {value} in {path}")


def code_of(error: FlameError) -> int:
    return FAILED
