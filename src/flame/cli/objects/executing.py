"""`flame exec`: a command in the place and environment of a replica, with this terminal where one is asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flame.cli import running
from flame.cli.objects.options import DEFAULT, Namespace
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import note
from flame.core.base.errors import Exhausted, FlameError, InvalidArgument, InvalidState, NotFound

if TYPE_CHECKING:
    from flame.sdk.objects import Execution, Objects

PIECE = 16 * 1024
PAUSE = 0.05


def exec_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a replica, or a workload: its rank 0")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="what to run")],
    container: Annotated[str, typer.Option("-c", "--container", help="the first one")] = "",
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="pass our input on")] = False,
    tty: Annotated[bool, typer.Option("-t", "--tty", help="with a terminal")] = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Run a command in a replica. Its exit code is ours."""
    if not command:
        raise InvalidArgument("exec without a command", hint=f"flame exec {name} -- COMMAND")
    with running.client(data_dir, endpoint) as client:
        raise typer.Exit(run(client.objects, name, command, namespace or DEFAULT, container, stdin, tty))


def run(
    objects: Objects,
    name: str,
    command: Sequence[str],
    namespace: str,
    container: str = "",
    stdin: bool = False,
    tty: bool = False,
) -> int:
    """Returns its exit code. Raises NotFound, InvalidState where the container does not run."""
    name = name.removeprefix("pod/").removeprefix("workload/")
    if tty and not sys.stdin.isatty():
        note("The input is no terminal: the command gets none.")
        tty = False
    rows, cols = _window() if tty else (24, 80)
    execution = objects.exec(name, command, namespace=namespace, container=container, tty=tty, rows=rows, cols=cols)
    with _raw() if tty else _interruptible(execution):
        if stdin:
            threading.Thread(target=_pump, args=(execution,), name="flame-stdin", daemon=True).start()
        elif not tty:
            _send(execution, b"")
        with _resizing(execution) if tty else contextlib.nullcontext():
            for data in execution.read():
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
    assert execution.code is not None
    return execution.code


def shell(objects: Objects, name: str, namespace: str, container: str = "") -> int:
    """A shell in a replica: bash where there is one."""
    command = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"]
    return run(objects, name, command, namespace, container, stdin=True, tty=sys.stdin.isatty())


def _pump(execution: Execution) -> None:
    """Our input, until its end or that of the command."""
    try:
        while data := os.read(sys.stdin.fileno(), PIECE):
            if not _send(execution, data):
                return
        _send(execution, b"")
    except (FlameError, OSError):
        return  # the reader of its output is told the same


def _send(execution: Execution, data: bytes) -> bool:
    """False: it has ended. A command that does not read lets us wait."""
    while execution.code is None:
        try:
            execution.write(data)
            return True
        except Exhausted:
            time.sleep(PAUSE)
        except (InvalidState, NotFound):
            return False
    return False


def _window() -> tuple[int, int]:
    try:
        size = os.get_terminal_size(sys.stdin.fileno())
    except OSError:
        return 24, 80
    return max(1, size.lines), max(1, size.columns)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the command, Ctrl-C too; afterwards the terminal is as it was."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _interruptible(execution: Execution) -> Iterator[None]:
    """Ctrl-C ends the command, not only us."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(FlameError):
            execution.close()
        raise


@contextlib.contextmanager
def _resizing(execution: Execution) -> Iterator[None]:
    """The terminal of the command is as large as ours, also when ours changes."""

    def changed(*_: object) -> None:
        threading.Thread(target=_resize, args=(execution,), daemon=True).start()

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _resize(execution: Execution) -> None:
    with contextlib.suppress(FlameError):
        execution.resize(*_window())


def register(app: typer.Typer) -> None:
    app.command("exec")(exec_)
