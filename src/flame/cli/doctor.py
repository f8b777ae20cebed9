"""`flame doctor`: what of this machine and of the cluster would stand in the way, and what would help. Exit code 1 when something fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.checks import cluster, machine, network
from flame.cli.checks.check import FAIL, OK, WARN, Check
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import say_data, write
from flame.core.base.errors import FlameError, NoCluster
from flame.ops.paths import home


def doctor(
    net: Annotated[
        bool, typer.Option("--network", help="measure between nodes, too: runs a small workload on each of them")
    ] = False,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Look for trouble: this machine, the cluster, and with --network the ways between its nodes."""
    found: list[Check] = []
    for check in _all(net, data_dir, endpoint):
        found.append(check)
        if voice in ("table", "wide"):
            _say(check)
    counts = {state: sum(check.state == state for check in found) for state in (OK, WARN, FAIL)}
    if voice in ("json", "yaml"):
        say_data({"ok": not counts[FAIL], "checks": [check._asdict() for check in found]}, voice)
    elif voice == "name":
        for check in found:
            if check.state != OK:
                write(check.name)
    else:
        write(f"{counts[OK]} ok, {counts[WARN]} to look at, {counts[FAIL]} failed")
    raise typer.Exit(1 if counts[FAIL] else 0)


def _say(check: Check) -> None:
    write(f"{check.state:<5} {check.name:<14} {check.message}")
    if check.help and check.state != OK:
        write(f"{'':<20} -> {check.help}")


def _all(net: bool, data_dir: Path | None, endpoint: str | None) -> Iterator[Check]:
    directory = (data_dir or home() / "data").absolute()
    for look in machine.CHECKS:
        yield from _guarded(look.__name__, lambda look=look: look(directory))  # type: ignore[misc]
    try:
        with running.client(data_dir, endpoint) as client:
            for ask in cluster.CHECKS:
                yield from _guarded(ask.__name__, lambda ask=ask: ask(client))  # type: ignore[misc]
            if net:
                yield from _guarded("network", lambda: network.network(client))
    except NoCluster as error:
        yield Check("connection", WARN, error.message, error.hint)
    except FlameError as error:
        yield Check("connection", FAIL, error.message, error.hint)


def _guarded(name: str, look: Callable[[], Any]) -> Iterator[Check]:
    """A check that cannot look is something to look at, no end of the others."""
    try:
        yield from look()
    except (FlameError, OSError) as error:
        yield Check(name, WARN, f"could not be checked: {error}", getattr(error, "hint", ""))


def register(app: typer.Typer) -> None:
    app.command()(doctor)
