"""Completion scripts of the typer commands."""

from __future__ import annotations

from typer._completion_shared import get_completion_script

from flame.core.base.errors import InvalidArgument

SHELLS = ("bash", "zsh", "fish", "powershell")


def script(program: str, shell: str) -> str:
    """The script to source. Raises InvalidArgument for a shell nobody knows."""
    if shell not in SHELLS:
        raise InvalidArgument(f"unknown shell {shell!r}", hint=f"known: {', '.join(SHELLS)}")
    variable = f"_{program.upper()}_COMPLETE"
    return str(get_completion_script(prog_name=program, complete_var=variable, shell=shell))
