"""`flame apply`, `create`, `replace`: files into objects. Everything is checked, here and by the engine, before the first is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flame.cli import running
from flame.cli.objects import plan
from flame.cli.objects.files import bodies
from flame.cli.objects.names import shown
from flame.cli.objects.options import DEFAULT, DryRun, Files, Namespace, Recursive, Shape
from flame.cli.objects.printing import say_objects
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import note, say_data, write
from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.objects.describe import find_kind_of_word, with_defaults
from flame.core.objects.kinds import Kind

if TYPE_CHECKING:
    from flame.sdk.objects import Written

Given = Sequence[tuple[Kind, dict[str, Any]]]


def apply(
    filename: Files = None,
    recursive: Recursive = False,
    namespace: Namespace = None,
    dry_run: DryRun = "none",
    show_defaults: Annotated[
        bool, typer.Option("--show-defaults", help="print the objects with every default filled in; write nothing")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", hidden=True)] = False,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Make objects as files say, or change them to that."""
    if prune:
        raise InvalidArgument("apply removes no objects", hint="flame delete -f FILE, or flame delete KIND NAME")
    given = bodies(filename or (), recursive)
    if show_defaults:
        _say_defaults(given, voice)
        return
    _write("apply", given, namespace, dry_run, data_dir, endpoint, voice)


def create(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[namespace NAME]", help="a namespace needs no file")
    ] = None,
    filename: Files = None,
    recursive: Recursive = False,
    namespace: Namespace = None,
    dry_run: DryRun = "none",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Make objects; those that exist are an error."""
    if what:
        if len(what) != 2 or find_kind_of_word(what[0]).name != "Namespace":
            raise InvalidArgument(
                f"{' '.join(what)!r} needs a file", hint="flame create -f FILE, or flame create namespace NAME"
            )
        kind = find_kind_of_word(what[0])
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": what[1]}}
        given: Given = [(kind, body)]
    else:
        given = bodies(filename or (), recursive)
    _write("create", given, namespace, dry_run, data_dir, endpoint, voice)


def replace(
    filename: Files = None,
    recursive: Recursive = False,
    namespace: Namespace = None,
    dry_run: DryRun = "none",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Replace whole objects. With metadata.resourceVersion only where nobody has changed them since."""
    _write("replace", bodies(filename or (), recursive), namespace, dry_run, data_dir, endpoint, voice)


def _say_defaults(given: Given, voice: str) -> None:
    filled = [with_defaults(kind.schema, body) for kind, body in given]
    for index, body in enumerate(filled):
        if index and voice != "json":
            write("---")
        if voice != "json":
            say_data(body, "yaml")
    if voice == "json":
        say_data(filled[0] if len(filled) == 1 else filled, "json")


def _write(
    mode: str, given: Given, namespace: str | None, dry_run: str, data_dir: Any, endpoint: str | None, voice: str
) -> None:
    if dry_run == "client":
        for _, body in given:
            _say_one(body, f"{_done(mode)} (dry run)", voice)
        return
    with running.client(data_dir, endpoint) as client:
        verb: Callable[..., Written] = getattr(client.objects, mode)
        if dry_run == "server" or len(given) > 1:
            tried = _try(verb, given, namespace)
            if dry_run == "server":
                for body, change, warnings in tried:
                    _warn(warnings)
                    _say_one(body, f"{change} (server dry run)", voice)
                return
        done = []
        for kind, body in given:
            answer = verb(body, namespace=_space(kind, body, namespace))
            _warn(answer.warnings)
            done.append(answer)
            _say_one(answer.object, answer.change, voice)
        if voice in ("table", "wide"):
            for answer in done:
                if answer.object["kind"] == "FlameWorkload" and answer.change != "deleted":
                    plan.say(client.objects, answer.object)


def _try(
    verb: Callable[..., Written], given: Given, namespace: str | None
) -> list[tuple[dict[str, Any], str, Sequence[str]]]:
    """What the engine would answer, of all of them; one refusal, and nothing is written. A namespace that is made by an earlier document
    counts as there."""
    made = {body["metadata"].get("name") for kind, body in given if kind.name == "Namespace"}
    found: list[tuple[dict[str, Any], str, Sequence[str]]] = []
    for kind, body in given:
        space = _space(kind, body, namespace)
        try:
            answer = verb(body, namespace=space, dry_run=True)
        except NotFound:
            if space not in made:
                raise
            found.append((body, "created", ()))
        else:
            found.append((answer.object, answer.change, answer.warnings))
    return found


def _space(kind: Kind, body: dict[str, Any], namespace: str | None) -> str:
    """Raises InvalidArgument where the document names another namespace than the command does."""
    if not kind.namespaced:
        return ""
    said = str(body["metadata"].get("namespace") or "")
    if said and namespace and said != namespace:
        raise InvalidArgument(
            f"{shown(body)} says namespace {said!r}, the command says {namespace!r}", hint="give it in one place"
        )
    return said or namespace or DEFAULT


def _done(mode: str) -> str:
    return {"apply": "configured", "create": "created", "replace": "replaced"}[mode]


def _say_one(body: dict[str, Any], change: str, voice: str) -> None:
    if voice in ("table", "wide"):
        write(f"{shown(body)} {change}")
    elif voice in ("json", "yaml") or voice.startswith("jsonpath="):
        if voice == "yaml":
            write("---")
        say_objects([(find_kind_of_word(body["kind"]), [body])], voice, single=True)
    else:
        write(shown(body))


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        note(f"Warning: {text}")


def register(app: typer.Typer) -> None:
    for verb in (apply, create, replace):
        app.command()(verb)
