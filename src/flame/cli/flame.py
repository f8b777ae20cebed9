"""`flame`: all commands together. Each has its module, which is imported when the command is used."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from flame.cli.entry import guard
from flame.cli.output import write
from flame.version import __version__

COMMANDS = {
    "starting": ("up", "down", "executor"),
    "objects.apply": ("apply", "create", "replace"),
    "objects.get": ("get", "events"),
    "objects.describe": ("describe",),
    "objects.edit": ("delete", "patch", "scale", "label", "annotate"),
    "objects.waiting": ("wait",),
    "objects.executing": ("exec",),
    "objects.top": ("top",),
    "status": ("status",),
    "asking": ("explain", "logs"),
    "debugging": ("debug",),
    "stack": ("stack",),
    "replay": ("replay",),
    "doctor": ("doctor",),
    "config": ("config",),
    "agents": ("agent",),
    "nodes": ("node",),
    "identities": ("login", "logout", "whoami", "token", "tenant"),
    "kubeconfig": ("kubeconfig",),
    "backup": ("backup", "restore"),
    "completion": ("completion",),
}
"""What the `register` of each module adds, in the order of the help text."""


class Lazy(TyperGroup):
    """All modules together take several times as long to import as those of one command."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in self.commands:
            homes = [module for module, names in COMMANDS.items() if name in names]
            for module in homes or COMMANDS:  # all of them, to say which one is meant
                self.commands.update(commands_of(module))
        return self.commands.get(name)


def commands_of(module: str) -> dict[str, Any]:
    part = typer.Typer()
    importlib.import_module(f"flame.cli.{module}").register(part)
    return dict(get_group(part).commands)


app = typer.Typer(
    cls=Lazy,
    name="flame",
    help="Run a cluster, give it work, and see what it does.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def _exit(error: Exception) -> int:
    from flame.wire.status import edge

    return edge(error).exit


def main() -> None:
    sys.exit(guard(app, code=_exit))


if __name__ == "__main__":
    main()
