"""`flmctl`: sessions, applications, nodes and executors from the shell. Each command parses, asks the SDK once and says a value."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import records, views
from flame.cli.cluster import Where, connected
from flame.cli.deploy import deploy
from flame.cli.entry import guard
from flame.cli.manifest import read_manifests
from flame.cli.output import VOICES, classic, say_data, say_list, table, write
from flame.cli.submit import submit
from flame.core.base.errors import InvalidArgument, NotFound
from flame.version import __version__

app = typer.Typer(
    name="flmctl",
    help="Manage sessions and applications, and see the state of the cluster.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _voice(value: str) -> str:
    if value not in VOICES:
        raise typer.BadParameter(f"one of {', '.join(VOICES)}")
    return value


Voice = Annotated[str, typer.Option("-o", "--output", "--output-format", callback=_voice, help=" | ".join(VOICES))]
SessionId = Annotated[str, typer.Option("-s", "--session", help="session id or number")]


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="client file (~/.flame/flame.yaml)")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", envvar="FLAME_ENDPOINT", help="the cluster")] = None,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    Where.endpoint, Where.config = endpoint, config
    if version:
        write(f"flmctl {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        write(context.get_help())


# -- lists and views --------------------------------------------------------------------------------------------------


@app.command("list")
def list_(
    sessions: Annotated[bool, typer.Option("-s", "--session", help="sessions")] = False,
    apps: Annotated[bool, typer.Option("-a", "--application", help="applications")] = False,
    executors: Annotated[bool, typer.Option("-e", "--executor", help="executors")] = False,
    nodes: Annotated[bool, typer.Option("-n", "--node", help="nodes")] = False,
    only: Annotated[str | None, typer.Argument(help="only this id, number or name")] = None,
    voice: Voice = "table",
) -> None:
    """List sessions, applications, executors or nodes; sessions in the classic columns without a flag."""
    plain = not (sessions or apps or executors or nodes)
    wanted = [kind for kind, on in zip(KINDS, (sessions or plain, apps, executors, nodes), strict=True) if on]
    with connected() as client:
        found = {kind: _only(_records(client, kind), only) for kind in wanted}
    if len(wanted) > 1 and voice in ("json", "yaml"):
        say_data(found, voice)
        return
    for index, kind in enumerate(wanted):
        if index and voice != "name":
            write("")
        columns, name = COLUMNS[kind]
        if plain and voice == "table":
            say_list(found[kind], records.SESSION_CLASSIC, voice, layout=classic)
        else:
            say_list(found[kind], columns, voice, name=name, layout=table)


KINDS = ("sessions", "applications", "executors", "nodes")
COLUMNS = {
    "sessions": (records.SESSION, "id"),
    "applications": (records.APP, "name"),
    "executors": (records.EXECUTOR, "id"),
    "nodes": (records.NODE, "name"),
}


def _records(client: Any, kind: str) -> list[dict[str, Any]]:
    if kind == "sessions":
        found = sorted(client.list_sessions(), key=lambda s: (s.state, s.created, s.alias))
        return [records.session(one) for one in found]
    if kind == "applications":
        return [records.app(one) for one in sorted(client.list_apps(), key=lambda a: a.name)]
    if kind == "executors":
        return [records.executor(one) for one in client.list_executors()]
    return [records.node(one) for one in sorted(client.list_nodes(), key=lambda n: n.name)]


def _only(found: list[dict[str, Any]], wanted: str | None) -> list[dict[str, Any]]:
    if wanted is None:
        return found
    return [r for r in found if wanted in (r.get("id"), r.get("name"), str(r.get("alias", "")))]


@app.command()
def view(
    context: typer.Context,
    session: Annotated[str | None, typer.Option("-s", "--session", help="session id or number")] = None,
    application: Annotated[str | None, typer.Option("-a", "--application", help="application")] = None,
    task: Annotated[int | None, typer.Option("-t", "--task", help="task number, with -s")] = None,
    node: Annotated[str | None, typer.Option("-n", "--node", help="node")] = None,
    voice: Voice = "table",
) -> None:
    """Show one session, task, application or node."""
    named = [value for value in (session, application, node) if value is not None]
    if len(named) != 1 or (task is not None and session is None):
        sys.stderr.write(context.get_usage() + "\nName one object: -s SESSION [-t TASK], -a APPLICATION or -n NODE.\n")
        raise typer.Exit(2)
    with connected() as client:
        if session is not None:
            _view_session(client, session, task, voice)
        elif application is not None:
            _say(records.app(client.get_app(application)), views.say_app, voice)
        else:
            found = [one for one in client.list_nodes() if one.name == node]
            if not found:
                raise NotFound(f"node <{node}> not found", hint="flmctl list -n shows the nodes")
            _say(records.node(found[0]), views.say_node, voice)


def _view_session(client: Any, id: str, no: int | None, voice: str) -> None:
    from flame.sdk.session import Session

    info = client.get_session(id)
    handle = Session(client.links.of(info.id), info, owned=False)  # closed ones can be read, too
    if no is not None:
        task = records.task(handle.get_task(no))
        _say(task, lambda record: views.say_task(record, info.spec.application), voice)
        return
    record = records.session(info)
    if voice in ("json", "yaml"):
        record["tasks"] = [records.task(one) for one in handle.list_tasks()]
    _say(record, views.say_session, voice)


def _say(record: dict[str, Any], shown: Any, voice: str) -> None:
    if voice in ("json", "yaml"):
        say_data(record, voice)
    elif voice == "name":
        write(str(record.get("id") or record["name"]))
    else:
        shown(record)


# -- sessions ---------------------------------------------------------------------------------------------------------


App = Annotated[str, typer.Option("-a", "--application", "--app", help="application")]
Priority = Annotated[int, typer.Option("-p", "--priority", min=0, help="larger goes first")]
Resreq = Annotated[str | None, typer.Option("-r", "--resreq", help="resources of one executor, such as cpu=1,mem=1g")]
Least = Annotated[int, typer.Option("--min-instances", min=0, help="executors kept while idle")]
Most = Annotated[int | None, typer.Option("--max-instances", min=1, help="executors at most")]


@app.command()
def create(
    application: App,
    priority: Priority = 0,
    resreq: Resreq = None,
    id: Annotated[str | None, typer.Option("-s", "--session", "--id", help="its id, else one is made")] = None,
    min_instances: Least = 0,
    max_instances: Most = None,
) -> None:
    """Create a session."""
    with connected() as client:
        session = client.session(
            application,
            id=id,
            priority=priority,
            resources=resreq,
            min_instances=min_instances,
            max_instances=max_instances,
            detached=True,  # it outlives this command
        )
        write(f"Session <{session.id}> was created.")


@app.command("open")
def open_(
    id: SessionId,
    application: Annotated[
        str | None, typer.Option("-a", "--application", "--app", help="create it, if it is not there")
    ] = None,
    priority: Priority = 0,
    resreq: Resreq = None,
    min_instances: Least = 0,
    max_instances: Most = None,
) -> None:
    """Open a session that exists, or create it when an application is given."""
    options = {
        "priority": priority,
        "resources": resreq,
        "min_instances": min_instances,
        "max_instances": max_instances,
        "detached": True,  # it outlives this command
    }
    with connected() as client:
        session = (
            client.open_session(id, application, **options)
            if application
            else client.open_session(client.get_session(id).id)
        )
        write(f"Session <{session.id}> was opened.")


@app.command()
def close(id: SessionId) -> None:
    """Close a session: pending tasks are cancelled, running ones finish."""
    with connected() as client:
        info = client.close_session(id)
        write(f"Session <{info.id}> was closed.")


@app.command()
def delete(id: SessionId) -> None:
    """Delete a closed session with its tasks."""
    with connected() as client:
        info = client.get_session(id)
        client.delete_session(info.id)
        write(f"Session <{info.id}> was deleted.")


# -- applications -----------------------------------------------------------------------------------------------------


@app.command()
def register(file: Annotated[Path, typer.Option("-f", "--file", help="YAML, one or more documents")]) -> None:
    """Register applications; stops at the first error."""
    manifests = read_manifests(file)
    with connected() as client:
        for manifest in manifests:
            _warn(manifest.warnings)
            client.register(manifest.name, manifest.spec)


@app.command()
def update(
    file: Annotated[Path, typer.Option("-a", "-f", "--application", "--file", help="YAML, one document")],
) -> None:
    """Update an application."""
    manifests = read_manifests(file)
    if len(manifests) != 1:
        raise InvalidArgument(f"{file} has {len(manifests)} documents, update takes one")
    _warn(manifests[0].warnings)
    with connected() as client:
        client.update_app(manifests[0].name, manifests[0].spec)


@app.command()
def unregister(name: Annotated[str, typer.Option("-a", "--application", help="application")]) -> None:
    """Unregister an application, with its closed sessions."""
    with connected() as client:
        client.unregister(name)


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        sys.stderr.write(f"Warning: {warning}\n")


@app.command(
    "submit",
    epilog="FILE may also be the name of a registered application.",
)
def submit_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="application YAML, registered if it is new")],
    task_input: Annotated[
        list[str] | None, typer.Option("--task-input", "-i", help="input of one task; repeat it")
    ] = None,
    input_file: Annotated[Path | None, typer.Option("--task-input-file", help="one task a line")] = None,
    tasks: Annotated[int, typer.Option("-t", "--task-num", min=1, help="tasks without input, when none is given")] = 1,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="print the results and exit with them")] = False,
    priority: Priority = 0,
    resreq: Resreq = None,
    voice: Voice = "table",
) -> None:
    """Submit a job: a session of an application, with its tasks."""
    with connected() as client:
        code = submit(client, file, task_input or [], input_file, tasks, wait, priority, resreq, voice)
    raise typer.Exit(code)


app.command("deploy")(deploy)


# -- the rest ---------------------------------------------------------------------------------------------------------


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell")]) -> None:
    """Print a completion script."""
    from flame.cli.completion import script

    write(script("flmctl", shell))


@app.command("help", hidden=True)
def help_(context: typer.Context) -> None:
    """Print the help."""
    write(context.parent.get_help() if context.parent else "")


def main() -> None:
    sys.exit(guard(app))


if __name__ == "__main__":
    main()
