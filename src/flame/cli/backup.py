"""`flame backup` and `flame restore`: the journals of a cluster in one file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flame.cli import running
from flame.cli.output import write
from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import format_size
from flame.ops.config import check_storage
from flame.ops.paths import RunFile, default_file, home
from flame.store.backup import Place, Progress, export, place
from flame.store.backup import restore as restore_into

File = Annotated[Path, typer.Argument(metavar="FILE", help="the backup")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="with its SQLite journals; else of the cluster here")]
Storage = Annotated[
    str | None, typer.Option(metavar="URL", envvar=running.STORAGE, show_envvar=True, help="postgresql://... instead")
]


def register(app: typer.Typer) -> None:
    for verb in (backup, restore):
        app.command()(verb)


def backup(file: File, data_dir: DataDir = None, storage: Storage = None) -> None:
    """Copy the journals of a cluster into a file, while it runs."""
    source = _place(data_dir, storage)
    with _progress("Reading") as progress:
        rows, size = export(source, file.absolute(), progress)
    write(f"{rows:,} rows, {format_size(size)} of them bodies, are in {file} ({format_size(file.stat().st_size)}).")


def restore(file: File, data_dir: DataDir = None, storage: Storage = None) -> None:
    """Write the journals of a backup where there are none yet. A cluster that is started there goes on from it."""
    target = _place(data_dir, storage)
    with _progress("Writing") as progress:
        rows, size = restore_into(file.absolute(), target, progress)
    write(f"{rows:,} rows, {format_size(size)} of them bodies, were restored under a new history.")


def _place(data_dir: Path | None, storage: str | None) -> Place:
    """What was named, else what the cluster uses that runs here, else the default directory."""
    if data_dir is not None and storage is not None:
        raise InvalidArgument("--data-dir and --storage name two places", hint="give one of them")
    if storage is not None:
        running.hide_storage(storage)
        return place(check_storage(storage), None)
    run = RunFile.read(data_dir.absolute() / "run.json" if data_dir is not None else default_file())
    if run is not None and run.storage is not None:
        raise InvalidArgument(
            f"the cluster in {run.data_dir} keeps its journals in {run.storage}",
            hint=f"name that by --storage or {running.STORAGE}",
        )
    if data_dir is None:
        data_dir = Path(run.data_dir) if run is not None else home() / "data"
    return place(None, data_dir.absolute())


@contextlib.contextmanager
def _progress(verb: str) -> Iterator[Progress | None]:
    """A line that counts, on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(f"{verb} ...") as status:
        yield lambda rows, size: status.update(f"{verb} ... {rows:,} rows, {format_size(size)}")
