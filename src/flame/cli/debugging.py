"""`flame debug workload NAME`: why it does not run, in the first line; `flame debug shell NAME|TASK`: a shell where it runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.completion import complete_name
from flame.cli.objects import executing
from flame.cli.objects.options import DEFAULT, Namespace, Workload, flags
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import clock, note, say_data, table, write
from flame.cli.processes import environment, of_task
from flame.core.base.errors import InvalidState, NotFound, Unavailable

app = typer.Typer(help="Find out what is wrong.", no_args_is_help=True)


@app.command()
def workload(
    name: Workload,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Why does a workload not run as it should? The first line names the cause."""
    place = namespace or DEFAULT
    bare = name.rpartition("/")[2]
    with running.client(data_dir, endpoint) as client:
        found = client.objects.debug("flameworkload", bare, namespace=place)
    if voice in ("json", "yaml"):
        say_data(found, voice)
        return
    if voice == "name":
        write(found["causes"][0]["kind"] if found["causes"] else "ok")
        return
    write(found["summary"])
    for line in _evidence(found):
        write(line)
    write("Next:")
    for cause in found["causes"]:
        write(f"  {cause['next']}")
    write(f"  flame describe workload {bare}{flags(place)}")
    if found["causes"] and found["causes"][0]["kind"] in RAN:
        write(f"  flame logs {bare}{flags(place)}")


RAN = ("crash", "OOM", "probe", "start", "timeout")
"""Kinds of causes of what has run, so that there are logs."""


def _evidence(found: dict[str, Any]) -> list[str]:
    """What the verdict is made of."""
    lines = []
    if found["causes"]:
        lines.append("Evidence:")
        cells = [[cause["kind"], cause["reason"], cause["message"]] for cause in found["causes"]]
        lines += [f"  {line.strip()}" for line in table(("Cause", "Reason", "Message"), cells).split("\n")[1:]]
        lines += [f"  {cause['counterfactual']}" for cause in found["causes"][:1] if cause.get("counterfactual")]
    if found["events"]:
        lines.append("Events:")
        cells = [[clock(event["at"]), event["reason"], event["message"]] for event in found["events"]]
        lines += [f" {line}" for line in table(("Time", "Reason", "Message"), cells).split("\n")[1:]]
    return lines


@app.command()
def shell(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME | SESSION/TASK", help="a replica, a workload, or a task", autocompletion=complete_name
        ),
    ],
    container: Annotated[str, typer.Option("-c", "--container", help="the first one")] = "",
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """A shell in the environment of a replica; of a task, in that of its executor, when it runs on this machine."""
    session, _, number = name.partition("/")
    with running.client(data_dir, endpoint) as client:
        if not number.isdecimal():
            raise typer.Exit(executing.shell(client.objects, name, namespace or DEFAULT, container))
        pid = of_task(client, session, int(number))
        app = client.get_app(client.get_session(session).spec.application)
    raise typer.Exit(_beside(pid, dict(app.spec.environments)))


def _beside(pid: int, more: Mapping[str, str]) -> int:
    """A shell with the directory and environment of a process of this machine; more: what it has set itself since it began, which
    the kernel does not show. Raises NotFound, Unavailable."""
    try:
        variables = environment(pid)
        directory = os.readlink(f"/proc/{pid}/cwd")
        apart = os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    except FileNotFoundError:
        raise NotFound(f"process {pid} has ended", hint="the task has moved on: flame explain SESSION/TASK") from None
    except PermissionError:
        raise Unavailable(
            f"process {pid} belongs to another user", hint="run this as the user of the cluster"
        ) from None
    if apart:
        raise InvalidState(
            f"the executor (process {pid}) is in namespaces of its own",
            hint=f"nsenter -t {pid} -U -m -p sh, as its user, goes there",
        )
    variables = {"PATH": os.defpath, **variables, **more, "TERM": os.environ.get("TERM", "dumb")}
    note(f"Beside process {pid}, in {directory}.")
    return subprocess.call([variables.get("SHELL") or "/bin/sh"], cwd=directory, env=variables)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="debug")
