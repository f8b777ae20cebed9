"""`flame delete`, `patch`, `scale`, `label`, `annotate`: changes to objects that are there."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flame.cli import running
from flame.cli.objects.files import bodies
from flame.cli.objects.get import everything
from flame.cli.objects.names import Named, full, named, one, shown, space
from flame.cli.objects.options import DryRun, Everywhere, Files, Kinds, Namespace, Recursive, Selector, Shape
from flame.cli.objects.printing import say_objects
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import write
from flame.core.base.errors import InvalidArgument, NotFound, Unavailable
from flame.core.base.quantity import parse_duration
from flame.core.objects.kinds import KINDS
from flame.wire.manifests import parse

if TYPE_CHECKING:
    from flame.sdk.objects import Objects, Written

LOOK = 0.05


def delete(
    what: Annotated[list[str] | None, typer.Argument(metavar="[KIND NAME... | KIND/NAME...]", help="what")] = None,
    filename: Files = None,
    recursive: Recursive = False,
    namespace: Namespace = None,
    selector: Selector = "",
    everything_of: Annotated[bool, typer.Option("--all", help="all of the kind in the namespace")] = False,
    everywhere: Everywhere = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="until they are gone")] = True,
    timeout: Annotated[str, typer.Option(help="how long to wait")] = "120s",
    grace_period: Annotated[
        float | None, typer.Option("--grace-period", min=0.0, help="seconds between SIGTERM and SIGKILL")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="the same as --grace-period 0")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="what is not there is no error")] = False,
    dry_run: DryRun = "none",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Delete objects. A workload is gone once its replicas are."""
    if force and grace_period:
        raise InvalidArgument("--force means a grace period of 0", hint="leave one of them out")
    grace = 0.0 if force else grace_period
    patience = parse_duration(timeout)
    with running.client(data_dir, endpoint) as client:
        objects = client.objects
        wanted = _wanted(objects, what or (), filename or (), recursive, namespace, selector, everything_of, everywhere)
        going = []
        for item, place in wanted:
            if dry_run == "client":
                write(f"{item.kind.singular}/{item.name} deleted (dry run)")
                continue
            try:
                answer = objects.delete(
                    item.kind.name, item.name, namespace=place, grace=grace, dry_run=dry_run == "server"
                )
            except NotFound:
                if not ignore_not_found:
                    raise
                continue
            write(f"{shown(answer.object)} deleted{' (server dry run)' if dry_run == 'server' else ''}")
            going += [(item, place, answer.object["metadata"].get("uid"))] if dry_run == "none" else []
        if wait:
            _gone(objects, going, patience)


def _wanted(
    objects: Objects,
    words: Sequence[str],
    files: Sequence[str],
    recursive: bool,
    namespace: str | None,
    selector: str,
    all_of: bool,
    everywhere: bool,
) -> list[tuple[Named, str]]:
    """What to delete, with its namespace; of files in the opposite order."""
    if files:
        given = bodies(files, recursive)
        return [
            (Named(kind, body["metadata"]["name"]), space(kind, body["metadata"].get("namespace") or namespace))
            for kind, body in reversed(given)
        ]
    found: list[tuple[Named, str]] = []
    for item in named(words):
        if item.name:
            found.append((item, space(item.kind, namespace)))
        elif selector or all_of:
            if not item.kind.writable and len(words) == 1 and words != ["all"]:
                raise InvalidArgument(f"a {item.kind.name} cannot be deleted", hint="it shows what the engine knows")
            place = "" if everywhere else space(item.kind, namespace)
            for body in everything(objects, item.kind, place, selector) if item.kind.writable else ():
                about = body["metadata"]
                found.append((Named(item.kind, about["name"]), about.get("namespace", "")))
        else:
            raise InvalidArgument(f"which {item.kind.plural}?", hint="name them, or give -l SELECTOR or --all")
    return found


def _gone(objects: Objects, going: Sequence[tuple[Named, str, Any]], patience: float) -> None:
    deadline = time.monotonic() + patience
    for item, place, uid in going:
        while _uid(objects, item, place) == uid:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{item.kind.singular}/{item.name} is not gone after {patience:g} s",
                    hint=f"flame describe {item.kind.singular} {item.name} says what it waits for; --force ends its replicas at once",
                )
            time.sleep(LOOK)


def _uid(objects: Objects, item: Named, place: str) -> Any:
    try:
        return objects.get(item.kind.name, item.name, namespace=place)["metadata"].get("uid")
    except NotFound:
        return object()


def patch(
    what: Kinds,
    text: Annotated[str, typer.Option("-p", "--patch", help="JSON or YAML")],
    type: Annotated[str, typer.Option("--type", help="merge (RFC 7386) or json (RFC 6902)")] = "merge",
    namespace: Namespace = None,
    dry_run: DryRun = "none",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Change parts of one object."""
    if type not in ("merge", "json"):
        raise InvalidArgument(f"a patch of type {type[:40]!r}", hint="merge or json")
    change, _ = parse(text, "--patch")
    if not isinstance(change, list if type == "json" else dict):
        raise InvalidArgument(f"a {type} patch is a {'list of operations' if type == 'json' else 'mapping'}")
    item = one(what)
    with running.client(data_dir, endpoint) as client:
        place = space(item.kind, namespace)
        answer = client.objects.patch(
            item.kind.name, item.name, change, namespace=place, type=type, dry_run=dry_run != "none"
        )
    _say(answer, dry_run, voice)


def scale(
    what: Kinds,
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="how many")],
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Change how many replicas a workload has."""
    if len(what) == 1 and "/" not in what[0]:
        what = ["flameworkload", *what]
    with running.client(data_dir, endpoint) as client:
        for item in named(what, need_name=True):
            place = space(item.kind, namespace)
            answer = client.objects.scale(item.kind.name, item.name, replicas, namespace=place)
            if voice in ("table", "wide"):
                write(f"{full(item)} {'scaled' if answer.change == 'configured' else answer.change}")
            else:  # the answer is a Scale
                body = client.objects.get(item.kind.name, item.name, namespace=place)
                say_objects([(item.kind, [body])], voice, single=True)


_PAIR = re.compile(r"(?P<key>[^=\s]+)(=(?P<value>.*)|(?P<gone>-))", re.DOTALL)


def _changes(words: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Words that name objects, and `KEY=VALUE` or `KEY-` after them."""
    subjects = [word for word in words if "=" not in word and not word.endswith("-")]
    found: dict[str, str | None] = {}
    for word in words:
        match = _PAIR.fullmatch(word)
        if word not in subjects and match is not None:
            found[match["key"]] = None if match["gone"] else match["value"]
    if not found:
        raise InvalidArgument("nothing to change", hint="KEY=VALUE sets, KEY- removes")
    return subjects, found


def _mark(
    field: str,
    words: Sequence[str],
    namespace: str | None,
    overwrite: bool,
    data_dir: Any,
    endpoint: str | None,
    voice: str,
) -> None:
    subjects, changes = _changes(words)
    with running.client(data_dir, endpoint) as client:
        for item in named(subjects, need_name=True):
            place = space(item.kind, namespace)
            have = client.objects.get(item.kind.name, item.name, namespace=place)["metadata"].get(field) or {}
            for key, value in changes.items():
                if not overwrite and value is not None and have.get(key, value) != value:
                    raise InvalidArgument(
                        f"{item.kind.singular}/{item.name} has {key}={have[key]}", hint="--overwrite replaces it"
                    )
            body = {"metadata": {field: changes}}
            answer = client.objects.patch(item.kind.name, item.name, body, namespace=place)
            word = "labeled" if field == "labels" else "annotated"
            if voice in ("table", "wide"):
                write(f"{shown(answer.object)} {word if answer.change == 'configured' else answer.change}")
            else:
                _say(answer, "none", voice)


Words = Annotated[list[str], typer.Argument(metavar="KIND NAME... KEY=VALUE|KEY-...", help="what, and how")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace other values")]


def label(
    what: Words,
    overwrite: Overwrite = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Set or remove labels."""
    _mark("labels", what, namespace, overwrite, data_dir, endpoint, voice)


def annotate(
    what: Words,
    overwrite: Overwrite = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """Set or remove annotations."""
    _mark("annotations", what, namespace, overwrite, data_dir, endpoint, voice)


def _say(answer: Written, dry_run: str, voice: str) -> None:
    if voice in ("table", "wide"):
        word = "patched" if answer.change == "configured" else answer.change
        write(f"{shown(answer.object)} {word}{' (dry run)' if dry_run != 'none' else ''}")
    else:
        say_objects([(KINDS[answer.object["kind"]], [answer.object])], voice, single=True)


def register(app: typer.Typer) -> None:
    for verb in (delete, patch, scale, label, annotate):
        app.command()(verb)
