"""`flmadm`: what an administrator does to a cluster rather than with it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flame.cli import certs, install
from flame.cli.entry import guard
from flame.cli.output import write
from flame.version import __version__

app = typer.Typer(
    name="flmadm",
    help="Set up and look after clusters.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(certs.app, name="certs")
install.register(app)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        write(f"flmadm {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        write(context.get_help())


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell")]) -> None:
    """Print a completion script."""
    from flame.cli.completion import script

    write(script("flmadm", shell))


def main() -> None:
    sys.exit(guard(app, code=install.code_of))


if __name__ == "__main__":
    main()
