"""Options that the commands about objects share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from flame.cli.completion import complete_kind, complete_name, complete_namespace
from flame.cli.output import VOICES

DEFAULT = "default"

Namespace = Annotated[
    str | None,
    typer.Option(
        "-n", "--namespace", envvar="FLAME_NAMESPACE", help="of the objects", autocompletion=complete_namespace
    ),
]
Everywhere = Annotated[bool, typer.Option("-A", "--all-namespaces", help="of all namespaces")]
Files = Annotated[
    list[str] | None, typer.Option("-f", "--filename", metavar="FILE|DIR|-", help="YAML or JSON; may be repeated")
]
Recursive = Annotated[bool, typer.Option("-R", "--recursive", help="directories below a directory, too")]
Selector = Annotated[str, typer.Option("-l", "--selector", help="labels, such as app=web,tier in (a,b)")]
FieldSelector = Annotated[str, typer.Option("--field-selector", help="fields, such as status.phase=Running")]
Kinds = Annotated[
    list[str], typer.Argument(metavar="KIND [NAME...] | KIND/NAME...", help="what", autocompletion=complete_kind)
]
Workload = Annotated[str, typer.Argument(metavar="NAME", help="of a workload", autocompletion=complete_name)]


def _shape(value: str) -> str:
    if value not in VOICES and not value.startswith("jsonpath="):
        raise typer.BadParameter(f"one of {', '.join(VOICES)}, jsonpath=...")
    return value


Shape = Annotated[str, typer.Option("-o", "--output", callback=_shape, help=f"{' | '.join(VOICES)} | jsonpath=...")]


def _dry(value: str) -> str:
    if value not in ("none", "client", "server"):
        raise typer.BadParameter("one of none, client, server")
    return value


DryRun = Annotated[
    str,
    typer.Option("--dry-run", callback=_dry, help="client: check it here; server: ask what would be; keep nothing"),
]


def flags(namespace: str) -> str:
    """How a command names this namespace; nothing for the default one."""
    return f" -n {namespace}" if namespace not in ("", DEFAULT) else ""


def spread(words: Sequence[str]) -> list[str]:
    """Words, with those that have commas taken apart: `pods,nodes`."""
    return [part for word in words for part in word.split(",") if part]
