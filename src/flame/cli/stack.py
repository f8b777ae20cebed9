"""`flame stack`: where a task, or a replica written in Python, is right now. py-spy looks; nothing in the process is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from flame.cli import running
from flame.cli.objects.options import DEFAULT, Namespace
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import write
from flame.cli.processes import of_replica, of_task
from flame.core.base.errors import FlameError, InvalidState, NotFound, PermissionDenied, Unavailable

SECONDS = 20.0


def stack(
    what: Annotated[str, typer.Argument(metavar="SESSION/TASK | REPLICA", help="what runs")],
    native: Annotated[bool, typer.Option("--native", help="with frames of C extensions")] = False,
    local: Annotated[bool, typer.Option("--locals", help="with local variables")] = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Print the Python stack of a task or replica that runs on this machine."""
    program = spy()
    session, _, number = what.partition("/")
    with running.client(data_dir, endpoint) as client:
        if number.isdecimal():
            pids = [of_task(client, session, int(number))]
        else:
            pids = _of_pod(client, what.rpartition("/")[2], namespace or DEFAULT)
    options = [*(["--native"] if native else []), *(["--locals"] if local else [])]
    for pid in pids:
        write(dump(program, pid, options))


def _of_pod(client: object, name: str, namespace: str) -> list[int]:
    objects = client.objects  # type: ignore[attr-defined]
    try:
        pod = objects.get("pod", name, namespace=namespace)
    except NotFound:
        pod = objects.get("pod", f"{name}-0", namespace=namespace)
    found = of_replica(pod)
    python = [pid for pid in found if _is_python(pid)]
    if not python:
        raise InvalidState(
            f"replica {pod['metadata']['name']} runs no Python: processes {', '.join(map(str, found))}",
            hint="gdb -p PID, or perf",
        )
    return python


def _is_python(pid: int) -> bool:
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        return program.startswith("python") or "libpython" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def spy() -> str:
    """The program that looks. Raises Unavailable where it is not installed."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise Unavailable(
            "py-spy is not installed here", hint="pip install 'flame-engine[debug]', or pip install py-spy"
        )
    return found


def dump(program: str, pid: int, options: list[str]) -> str:
    """What py-spy says of a process. Raises PermissionDenied, NotFound when it has ended."""
    done = subprocess.run(
        [program, "dump", "--pid", str(pid), *options], capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode == 0:
        return done.stdout.rstrip()
    text = done.stderr.strip()
    if "ermission" in text:
        raise PermissionDenied(
            f"process {pid} may not be looked at: {text.splitlines()[-1]}",
            hint="sudo, or sysctl kernel.yama.ptrace_scope=0",
        )
    if not Path(f"/proc/{pid}").exists():
        raise NotFound(f"process {pid} has ended")
    raise FlameError(f"py-spy: {text.splitlines()[-1] if text else done.returncode}")


def register(app: typer.Typer) -> None:
    app.command()(stack)
