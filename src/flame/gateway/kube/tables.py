"""Objects as tables, so that `kubectl get` prints the columns of a kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from flame.core.objects.kinds import Column, Kind
from flame.core.objects.paths import parts

META = "meta.k8s.io"
_TYPES = {"date": "string"}


def definitions(kind: Kind) -> list[dict[str, Any]]:
    name = {
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Unique within a namespace." if kind.namespaced else "Unique.",
    }  # fmt: skip
    return [name, *(_definition(column) for column in kind.columns)]


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name, "type": _TYPES.get(column.kind, column.kind), "format": "", "description": column.path,
        "priority": 1 if column.wide else 0,
    }  # fmt: skip


def table(
    kind: Kind,
    bodies: Iterable[Mapping[str, Any]],
    metadata: dict[str, Any],
    now: float,
    *,
    include: str = "Metadata",
    version: str = "v1",
    heads: bool = True,
) -> dict[str, Any]:
    """now: seconds since 1970, for ages; include: Metadata, Object or None; heads: with the definitions (a watch sends them once)."""
    return {
        "kind": "Table",
        "apiVersion": f"{META}/{version}",
        "metadata": metadata,
        "columnDefinitions": definitions(kind) if heads else None,
        "rows": [_row(kind, body, now, include, version) for body in bodies],
    }


def partial(body: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{META}/{version}", "metadata": body["metadata"]}


def _row(kind: Kind, body: Mapping[str, Any], now: float, include: str, version: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cells": [body["metadata"].get("name", ""), *(_cell(column, body, now) for column in kind.columns)]
    }
    if include == "Object":
        found["object"] = body
    elif include != "None":
        found["object"] = partial(body, version)
    return found


def _cell(column: Column, body: Mapping[str, Any], now: float) -> Any:
    value = _value(body, _parts(column.path))
    if column.kind == "date":
        return age(value, now)
    if value is None:
        return "" if column.kind == "string" else None
    if isinstance(value, list | dict):
        return ",".join(map(str, value))
    return str(value) if column.kind == "string" else value


@cache
def _parts(path: str) -> tuple[str | int, ...]:
    return tuple(parts(path))


def _value(body: Any, path: tuple[str | int, ...]) -> Any:
    """As `dig`, of a path that is taken apart already: lists have thousands of rows."""
    for part in path:
        if isinstance(body, dict):
            body = body.get(part)
        elif isinstance(part, int) and isinstance(body, list) and part < len(body):
            body = body[part]
        else:
            return None
    return body


def age(stamp: Any, now: float) -> str:
    """How long ago: `5s`, `3m20s`, `4h5m`, `3d`; the larger, the coarser."""
    try:
        seconds = int(now - datetime.fromisoformat(str(stamp)).timestamp())
    except ValueError:
        return "<unknown>"
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def _two(large: int, word: str, small: int, other: str) -> str:
    return f"{large}{word}" + (f"{small}{other}" if small else "")
