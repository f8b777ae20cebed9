"""`flame doctor`: what on this machine and of the cluster would stand in the way, and what would help."""

import typer


def register(app: typer.Typer) -> None:
    pass
