"""`flame replay SESSION/TASK`: a task again, in this process: the same service, the same input. Nothing is recorded anywhere."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flame.cli import running
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import note, write
from flame.core.base.errors import FlameError, InvalidArgument
from flame.core.model import messages as m
from flame.core.model.states import TaskState

if TYPE_CHECKING:
    from flame.sdk.client import Client
    from flame.sdk.session import Session

FAILED = 10
"""Our exit code when the task fails again: that of a failed task."""


def replay(
    task: Annotated[str, typer.Argument(metavar="SESSION/TASK", help="which one")],
    pdb: Annotated[bool, typer.Option("--pdb", help="stop in the debugger where it raises")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="print the output as bytes")] = False,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Run a task again, here, with its input. Exit code 10 when it fails."""
    session, _, number = task.rpartition("/")
    if not session or not number.isdecimal():
        raise InvalidArgument(f"{task[:80]!r} is no SESSION/TASK", hint="flmctl view -s SESSION lists its tasks")
    with running.client(data_dir, endpoint) as client:
        raise typer.Exit(_again(client, session, int(number), pdb, raw))


def _again(client: Client, session: str, number: int, pdb: bool, raw: bool) -> int:
    from flame.agent.outcome import load_service
    from flame.sdk import current
    from flame.sdk.service import SessionContext, TaskContext

    opened = client.open_session(session)
    task, info = opened.get_task(number), opened.info
    app = client.get_app(info.spec.application)
    state, size = TaskState(task.state).name.lower(), len(task.input or b"")
    note(
        f"Task {info.id}/{number} of {info.spec.application}: {state}, attempt {task.attempt}, {size:,} bytes of input."
    )
    _say_failure(task)
    enter = m.Enter(info.id, info.spec.application, app.spec, info.spec.common_data, info.spec.resources)
    os.environ.update(app.spec.environments)
    current.executor = Stand(opened)
    context = SessionContext(info.id, info.spec.application, info.spec.common_data, app.spec, info.spec.resources)
    current.session = context
    try:
        service = load_service(enter)
        service.on_session_enter(context)
        current.task = TaskContext(number, task.attempt, task.input, context)
        output = service.on_task_invoke(current.task)
        service.on_session_leave()
    except Exception as error:
        sys.stdout.flush()
        traceback.print_exception(_bare(error))
        if pdb:
            import pdb as debugger

            debugger.post_mortem(error.__traceback__)
        return FAILED
    sys.stdout.flush()
    if raw:
        sys.stdout.buffer.write(output or b"")
    else:
        write(_shown(output, app.spec))
    return 0


def _bare(error: Exception) -> Exception:
    """Without our own frame."""
    return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)


def _say_failure(task: m.TaskInfo) -> None:
    """How it ended in the cluster, to compare with."""
    if task.state == TaskState.FAILED and task.events:
        note(f"There it failed: {task.events[-1].message}")


def _shown(output: bytes | None, spec: m.AppSpec) -> str:
    if output is None:
        return "None"
    if dict(spec.environments).get("FLAME_SERVICE", "").startswith("flame.sdk.functions:"):
        return repr(pickle.loads(output))  # our own process has just pickled it
    try:
        return output.decode()
    except UnicodeDecodeError:
        return repr(output)


class Stand:
    """Stands in for the executor: answers what a service asks it, tells nobody."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(self, message: m.Message) -> m.Message:
        """A question to the session manager."""
        if not isinstance(message, m.FetchBlob):
            raise FlameError(f"a replayed task asks for {type(message).__name__}, which only an executor may")
        return self._session.link.ask(message)

    def say(self, message: m.Message) -> None:
        """An item that a generator yields: it is part of the output, too."""

    def lending(self) -> Any:
        import contextlib

        return contextlib.nullcontext()


def register(app: typer.Typer) -> None:
    app.command()(replay)
