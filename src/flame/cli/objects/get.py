"""`flame get` and `flame events`: lists of objects, once or as they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flame.cli import running
from flame.cli.objects import jsonpath
from flame.cli.objects.names import Named, named, shown, space
from flame.cli.objects.options import DEFAULT, Everywhere, FieldSelector, Kinds, Namespace, Selector, Shape, flags
from flame.cli.objects.printing import Rows, say_objects
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import note, say_data, write
from flame.core.base.errors import InvalidArgument
from flame.core.objects.describe import find_kind_of_word
from flame.core.objects.kinds import KINDS, Kind

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

PAGE = 500
Watch = Annotated[bool, typer.Option("-w", "--watch", help="go on as they change, until Ctrl-C")]


def get(
    what: Kinds,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    selector: Selector = "",
    field_selector: FieldSelector = "",
    watch: Watch = False,
    sort_by: Annotated[str, typer.Option("--sort-by", metavar="PATH", help="such as .metadata.creationTimestamp")] = "",
    show_labels: Annotated[bool, typer.Option("--show-labels", help="in a last column")] = False,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """List objects, or show some."""
    wanted = named(what)
    with running.client(data_dir, endpoint) as client:
        if watch:
            _watch(client.objects, wanted, namespace, everywhere, selector, field_selector, voice, show_labels)
            return
        groups = _fetch(client.objects, wanted, namespace, everywhere, selector, field_selector)
        if sort_by:
            groups = [(kind, ordered(items, sort_by)) for kind, items in groups]
    if voice in ("table", "wide") and not any(items for _, items in groups):
        kinds = ", ".join(kind.plural for kind, _ in groups)
        where = (
            ""
            if everywhere or not any(kind.namespaced for kind, _ in groups)
            else f" in namespace {namespace or DEFAULT}"
        )
        note(f"There are no {kinds}{where}.")
        return
    single = len(wanted) == 1 and bool(wanted[0].name)
    say_objects(groups, voice, everywhere=everywhere, labels=show_labels, single=single)


def _fetch(
    objects: Objects, wanted: Sequence[Named], namespace: str | None, everywhere: bool, labels: str, fields: str
) -> list[tuple[Kind, list[dict[str, Any]]]]:
    """By kind, in the order in which they are named. Raises NotFound for a name."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for kind, name in wanted:
        group = groups.setdefault(kind.name, [])
        if name:
            group.append(objects.get(kind.name, name, namespace=space(kind, namespace)))
        else:
            place = "" if everywhere else space(kind, namespace)
            group += everything(objects, kind, place, labels, fields)
    return [(KINDS[name], group) for name, group in groups.items()]


def everything(
    objects: Objects, kind: Kind, namespace: str, labels: str = "", fields: str = ""
) -> list[dict[str, Any]]:
    """Of all pages."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = objects.list(kind.name, namespace=namespace, labels=labels, fields=fields, limit=PAGE, after=after)
        found += page.items
        after = page.after
        if not after:
            return sorted(found, key=_last_seen) if kind.name == "Event" else found


def _last_seen(body: Mapping[str, Any]) -> tuple[str, int]:
    return str(body.get("lastTimestamp") or ""), int(body["metadata"].get("resourceVersion") or 0)


def ordered(items: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """By the value at a path; what has none comes first. Numbers before texts."""

    def key(body: Mapping[str, Any]) -> tuple[int, float, str]:
        value = next(iter(jsonpath.values(body, path)), None)
        if isinstance(value, int | float):
            return 1, float(value), ""
        return (0, 0.0, "") if value is None else (2, 0.0, jsonpath.text(value))

    return sorted(items, key=key)


def _watch(
    objects: Objects,
    wanted: Sequence[Named],
    namespace: str | None,
    everywhere: bool,
    labels: str,
    fields: str,
    voice: str,
    show_labels: bool,
) -> None:
    if len(wanted) != 1:
        raise InvalidArgument("one kind is watched at a time", hint=f"flame get {wanted[0].kind.plural} -w")
    kind, name = wanted[0]
    if name:
        fields = ",".join(filter(None, (fields, f"metadata.name={name}")))
        objects.get(kind.name, name, namespace=space(kind, namespace))
    place = "" if everywhere else space(kind, namespace)
    follow(objects, kind, place, labels, fields, _printer(kind, voice, everywhere, show_labels))


def follow(
    objects: Objects,
    kind: Kind,
    namespace: str,
    labels: str,
    fields: str,
    say: Callable[[Sequence[dict[str, Any]]], None],
) -> None:
    """Tell what there is, together, then every change as it comes; until Ctrl-C."""
    first: list[dict[str, Any]] | None = []
    for change in objects.watch(kind.name, namespace=namespace, labels=labels, fields=fields):
        if change.change == "SYNC":
            if first:
                say(sorted(first, key=_last_seen) if kind.name == "Event" else first)
            first = None
        elif first is not None:
            first.append(change.object)
        elif change.change != "DELETED" or kind.name != "Event":
            say([change.object])


def _printer(kind: Kind, voice: str, everywhere: bool, labels: bool) -> Callable[[Sequence[dict[str, Any]]], None]:
    import sys

    rows = Rows(kind, voice, everywhere, labels)

    def say(bodies: Sequence[dict[str, Any]]) -> None:
        if voice in ("table", "wide"):
            rows.say(bodies)
        for body in bodies if voice not in ("table", "wide") else ():
            if voice == "name":
                write(shown(body))
            elif voice.startswith("jsonpath="):
                write(jsonpath.filled(voice.removeprefix("jsonpath="), body))
            else:
                if voice == "yaml":
                    write("---")
                say_data(body, voice)
        sys.stdout.flush()

    return say


def events(
    about: Annotated[
        str, typer.Option("--for", metavar="KIND/NAME", help="of one object; of a workload: of its replicas, too")
    ] = "",
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    field_selector: FieldSelector = "",
    types: Annotated[str, typer.Option("--types", help="Normal or Warning")] = "",
    watch: Watch = False,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Shape = "table",
) -> None:
    """What has happened, the newest last."""
    kind = find_kind_of_word("event")
    subject = named([about])[0] if about else None
    if subject is not None and not subject.name:
        raise InvalidArgument(f"{about!r} is no KIND/NAME", hint="such as --for workload/train")
    fields = ",".join(filter(None, (field_selector, f"type={types}" if types else "")))
    place = "" if everywhere else (namespace or DEFAULT)
    with running.client(data_dir, endpoint) as client:
        if subject is not None:
            client.objects.get(subject.kind.name, subject.name, namespace=space(subject.kind, namespace))
        printer = _printer(kind, voice, everywhere, False)
        if watch:
            follow(
                client.objects,
                kind,
                place,
                "",
                fields,
                lambda bodies: printer([b for b in bodies if _is_about(b, subject)]),
            )
            return
        items = [body for body in everything(client.objects, kind, place, "", fields) if _is_about(body, subject)]
    if not items and voice in ("table", "wide"):
        note(f"There are no events{f' of {about}' if about else ''}{flags(place) if not everywhere else ''}.")
        return
    say_objects([(kind, items)], voice, everywhere=everywhere)


def _is_about(body: Mapping[str, Any], subject: Named | None) -> bool:
    if subject is None:
        return True
    found = body.get("involvedObject") or {}
    kind, name = found.get("kind"), str(found.get("name") or "")
    if (kind, name) == (subject.kind.name, subject.name):
        return True
    if subject.kind.name == "FlameAgent":
        return (kind, name) == ("Node", subject.name)
    stem, _, rank = name.rpartition("-")
    return subject.kind.name == "FlameWorkload" and kind == "Pod" and stem == subject.name and rank.isdigit()


def register(app: typer.Typer) -> None:
    app.command()(get)
    app.command()(events)
