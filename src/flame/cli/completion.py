"""Completion scripts of the typer commands, and what objects they complete."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer._completion_shared import get_completion_script

from flame.cli.output import write
from flame.core.base.errors import FlameError, InvalidArgument

SHELLS = ("bash", "zsh", "fish", "powershell")


def register(app: typer.Typer) -> None:
    app.command()(completion)


def completion(shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell")]) -> None:
    """Print a completion script."""
    write(script("flame", shell))


def script(program: str, shell: str) -> str:
    """The script to source. Raises InvalidArgument for a shell nobody knows."""
    if shell not in SHELLS:
        raise InvalidArgument(f"unknown shell {shell!r}", hint=f"known: {', '.join(SHELLS)}")
    variable = f"_{program.upper()}_COMPLETE"
    return str(get_completion_script(prog_name=program, complete_var=variable, shell=shell))


def complete_kind(ctx: Any, args: list[str], incomplete: str) -> list[str]:
    """Kinds for the first word, names of that kind for the others."""
    from flame.core.objects.kinds import KINDS

    words = (ctx.params.get("what") or []) if ctx is not None else []
    if "/" in incomplete:
        kind = incomplete.partition("/")[0]
        return [f"{kind}/{name}" for name in _names(kind) if f"{kind}/{name}".startswith(incomplete)]
    if words:
        return [name for name in _names(words[0]) if name.startswith(incomplete)]
    known = sorted({word for kind in KINDS.values() for word in (kind.plural, *kind.short)} | {"all", "workloads"})
    return [word for word in known if word.startswith(incomplete.lower())]


def complete_name(incomplete: str) -> list[str]:
    """Names of workloads."""
    return [name for name in _names("flameworkload") if name.startswith(incomplete)]


def complete_namespace(incomplete: str) -> list[str]:
    return [name for name in _names("namespace") if name.startswith(incomplete)]


def _names(kind: str) -> list[str]:
    """Of the objects of the cluster; none where there is no cluster: a shell that completes is told of no errors."""
    from flame.cli import running

    try:
        with running.client(None, None) as client:
            return sorted({str(item["metadata"]["name"]) for item in client.objects.list(kind, limit=500).items})
    except (FlameError, OSError):
        return []
