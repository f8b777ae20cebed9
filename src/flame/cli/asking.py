"""`flame explain` and `flame logs`: of tasks and sessions, and of kinds and workloads; what is meant follows from the word."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.completion import complete_kind, complete_name
from flame.cli.objects import logs as replicas
from flame.cli.objects.options import DEFAULT, Namespace, Selector
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import Column, say_data, say_list, write
from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.base.quantity import parse_duration
from flame.core.objects import describe
from flame.core.objects.kinds import Kind


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="KIND[.FIELD...] | SESSION[/TASK]", help="a field, or what waits", autocompletion=complete_kind
        ),
    ],
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Say what a field of an object is, or why a session or a task is where it is."""
    kind = _kind(what)
    if kind is not None:
        if voice in ("json", "yaml"):
            _, path, field = describe.find_field(what)
            say_data(
                {"kind": kind.name, "path": ".".join(path), "type": describe.type_name(field), "doc": field.doc}, voice
            )
        else:
            write(describe.explain(what))
        return
    with running.client(data_dir, endpoint) as client:
        found = client.explain(what)
    reasons = [{"reason": one.reason, "message": one.message, "code": one.code, "at": one.at} for one in found.reasons]
    columns = (Column("Reason", lambda r: r["reason"] or "-"), Column("Explanation", lambda r: r["message"]))
    say_list(reasons, columns, voice, name="reason")


def _kind(what: str) -> Kind | None:
    """The kind that the word begins with; None: it is about a session."""
    try:
        return describe.find_kind_of_word(what.partition(".")[0])
    except NotFound:
        return None


def logs(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME | SESSION[/TASK]", help="a workload, a replica, or tasks", autocompletion=complete_name
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on as they come, until it is over")] = False,
    selector: Selector = "",
    previous: Annotated[bool, typer.Option("-p", "--previous", help="of the run before this one")] = False,
    container: Annotated[str, typer.Option("-c", "--container", help="the first one")] = "",
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="the last lines of each replica")] = None,
    since: Annotated[str, typer.Option("--since", help="not older, such as 10m")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="with the time of each line")] = False,
    prefix: Annotated[
        bool | None, typer.Option("--prefix/--no-prefix", help="say whose line it is (with several)")
    ] = None,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Print what workloads, replicas or tasks wrote; of several replicas in the order of time."""
    if (what is None) == (not selector):
        raise InvalidArgument("whose logs?", hint="flame logs NAME, or flame logs -l app=web")
    if follow and previous:
        raise InvalidArgument("the run before is over: there is nothing to follow", hint="leave out -f or --previous")
    with running.client(data_dir, endpoint) as client:
        place = namespace or DEFAULT
        subject = (
            replicas.Subject(place, labels=selector) if what is None else replicas.find(client.objects, what, place)
        )
        if subject is not None:
            age = parse_duration(since) if since else None
            replicas.show(
                client.objects, subject, replicas.View(container, previous, follow, tail, age, timestamps, prefix)
            )
            return
        assert what is not None
        _of_tasks(client, what, place, voice)


def _of_tasks(client: Any, what: str, namespace: str, voice: str) -> None:
    session, _, number = what.partition("/")
    if number and not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise typer.BadParameter(f"{number!r} is not a task number")
    try:
        lines = client.logs(session, int(number or 0))
    except NotFound:
        raise NotFound(
            f"there is no workload, replica or session {session[:80]!r} (namespace {namespace})",
            hint="flame get workloads -A; flmctl list -s",
        ) from None
    if voice in ("json", "yaml"):
        say_data([{"task": one.no, "stream": one.stream, "text": one.text, "at": one.at} for one in lines], voice)
        return
    for one in lines:
        (sys.stderr if one.stream == "err" else sys.stdout).write(
            f"{one.text if number else f'{one.no}: {one.text}'}\n"
        )


def register(app: typer.Typer) -> None:
    app.command()(explain)
    app.command()(logs)
