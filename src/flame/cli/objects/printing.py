"""Objects as rows: the columns of their kind, ages, and every voice of `get`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from flame.cli.objects import jsonpath
from flame.cli.objects.names import shown
from flame.cli.output import say_data, table, write
from flame.core.base.quantity import format_size, quantity_units
from flame.core.objects.kinds import Column, Kind
from flame.core.objects.paths import dig
from flame.core.objects.stamps import seconds


def age(stamp: object, now: float | None = None) -> str:
    """`12s`, `5m`, `3h`, `2d`: how long ago."""
    if not isinstance(stamp, str) or not stamp:
        return "-"
    passed = max(0.0, (time.time() if now is None else now) - seconds(stamp))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= 2 * size or (unit == "d" and passed >= size):
            return f"{passed / size:.0f}{unit}"
    return f"{passed:.0f}s"


def cell(column: Column, body: Mapping[str, Any]) -> str:
    """What a column shows of an object."""
    value = dig(body, column.path)
    if column.kind == "date":
        return age(value)
    if isinstance(value, Mapping):
        return str(len(value)) if column.kind == "integer" else pairs(value)
    if value is None or value == "":
        if column.kind == "integer":
            return "1" if column.path == "spec.replicas" else "0"
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if column.name == "Memory":
        return size(value)
    return str(value)


def size(value: object) -> str:
    """Memory as people write it, whatever notation it came in."""
    try:
        return format_size(quantity_units(str(value)))
    except ValueError:
        return str(value)


def pairs(value: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={text}" for key, text in value.items()) or "-"


def titles(kind: Kind, *, everywhere: bool, wide: bool, labels: bool = False) -> list[str]:
    columns = [column.name for column in kind.columns if wide or not column.wide]
    spaced = ["Namespace"] if everywhere and kind.namespaced else []
    first = [] if kind.name == "Event" else ["Name"]
    return [*spaced, *first, *columns, *(["Labels"] if labels else [])]


def row(
    kind: Kind, body: Mapping[str, Any], *, everywhere: bool, wide: bool, labels: bool = False, slashed: bool = False
) -> list[str]:
    about = body["metadata"]
    columns = [column for column in kind.columns if wide or not column.wide]
    spaced = [about.get("namespace", "")] if everywhere and kind.namespaced else []
    first = [] if kind.name == "Event" else [shown(body) if slashed else about["name"]]
    cells = [_special(kind, column, body) or cell(column, body) for column in columns]
    return [*spaced, *first, *cells, *([pairs(about.get("labels") or {})] if labels else [])]


def _special(kind: Kind, column: Column, body: Mapping[str, Any]) -> str:
    """What people know a pod's status by: the reason of what is wrong with it, `Terminating`, else its phase."""
    if kind.name == "Event" and column.name == "Object":
        about = body.get("involvedObject") or {}
        return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    if kind.name == "Node" and column.name == "Status" and dig(body, "spec.unschedulable"):
        return f"{dig(body, 'status.phase')},SchedulingDisabled"
    if kind.name != "Pod" or column.name != "Status":
        return ""
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = body.get("status") or {}
    phase = str(status.get("phase") or "")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        for word in ("waiting", "terminated"):
            reason = (state.get(word) or {}).get("reason")
            if reason and phase != "Succeeded":
                return str(reason)
    return phase


def say_objects(
    groups: Sequence[tuple[Kind, Sequence[Mapping[str, Any]]]],
    shape: str,
    *,
    everywhere: bool = False,
    labels: bool = False,
    single: bool = False,
) -> None:
    """Print objects, by kind. single: exactly one was asked for, so that JSON and YAML are that one and no list."""
    items = [dict(body) for _, group in groups for body in group]
    if shape == "name":
        for body in items:
            write(shown(body))
    elif shape in ("json", "yaml"):
        say_data(items[0] if single and items else _list(items), shape)
    elif shape.startswith("jsonpath="):
        write(jsonpath.filled(shape.removeprefix("jsonpath="), items[0] if single and items else _list(items)))
    else:
        several = len(groups) > 1
        parts = []
        for kind, group in groups:
            if not group:
                continue
            options: dict[str, bool] = {"everywhere": everywhere, "wide": shape == "wide", "labels": labels}
            parts.append(
                table(titles(kind, **options), [row(kind, body, slashed=several, **options) for body in group])
            )
        write("\n\n".join(parts))


def _list(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(items)}


class Rows:
    """Rows that come one by one, under each other."""

    def __init__(self, kind: Kind, shape: str, everywhere: bool, labels: bool) -> None:
        self.kind = kind
        self._options: dict[str, bool] = {"everywhere": everywhere, "wide": shape == "wide", "labels": labels}
        self._widths: list[int] = []

    def say(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        head = titles(self.kind, **self._options)
        rows = [row(self.kind, body, **self._options) for body in bodies]
        lines = rows if self._widths else [head, *rows]
        if not self._widths:
            self._widths = [max(len(line[index]) for line in lines) for index in range(len(head))]
        for line in lines:
            self._widths = [max(width, len(text)) for width, text in zip(self._widths, line, strict=True)]
            write("".join(f" {text:<{width}} " for text, width in zip(line, self._widths, strict=True)).rstrip())
