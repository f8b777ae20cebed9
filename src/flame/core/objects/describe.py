"""Schemas for readers: documentation (`explain`), defaults (`--show-defaults`) and OpenAPI, all from the tables of the kinds."""

from __future__ import annotations

from typing import Any

from flame.core.base.errors import NotFound
from flame.core.objects.kinds import Kind, find_kind
from flame.core.objects.problems import closest
from flame.core.objects.schema import (
    Boolean,
    Duration,
    Field,
    Integer,
    IntOrText,
    ListOf,
    MapOf,
    Number,
    Object,
    Quantity,
    Text,
)

BARE = {
    "workload": "flameworkload",
    "workloads": "flameworkload",
    "agent": "flameagent",
    "agents": "flameagent",
}
"""What people say for a kind of Flame, without its first syllable."""


def find_kind_of_word(word: str) -> Kind:
    """`find_kind`, and `workload` or `agents` for Flame's own kinds. Raises NotFound."""
    return find_kind(BARE.get(word.strip().lower(), word))


def find_field(path: str) -> tuple[Kind, list[str], Field]:
    """The field of `workload.spec.strategy`: a kind by any of its names (`workload` for FlameWorkload, too), then fields. Lists are passed
    through. Raises NotFound with the nearest name."""
    word, *rest = path.split(".")
    kind = find_kind_of_word(word)
    at: Field = kind.schema
    for number, part in enumerate(rest):
        while isinstance(at, ListOf):
            at = at.item
        inner = at.child(part)
        if inner is None:
            known = list(at.fields) if isinstance(at, Object) else []
            near = closest(part, known)
            where = ".".join([word, *rest[:number]])
            hint = (f"did you mean {near}? " if near else "") + (
                f"known: {', '.join(known)}" if known else "it has no fields"
            )
            raise NotFound(f"{where} has no field {part[:80]!r}", hint=hint)
        at = inner
    return kind, rest, at


def explain(path: str) -> str:
    """What people read of a field and what is in it."""
    kind, rest, at = find_field(path)
    lines = [f"KIND:     {kind.name}", f"VERSION:  {kind.api_version}", ""]
    if rest:
        lines += [f"FIELD:    {'.'.join(rest)} <{type_name(at)}>{_marks(at)}", ""]
    lines += [at.doc or "No description.", *_bounds(at)]
    inner = at
    while isinstance(inner, ListOf | MapOf):
        inner = inner.item
    if isinstance(inner, Object) and inner.fields:
        lines += ["", "FIELDS:"]
        width = max(len(name) for name in inner.fields)
        for name, part in inner.fields.items():
            lines.append(f"  {name.ljust(width)}  <{type_name(part)}>{_marks(part)}  {part.doc}".rstrip())
    return "\n".join(lines)


def type_name(at: Field) -> str:
    """`list of text`, `mapping of quantity`, `object`."""
    if isinstance(at, ListOf | MapOf):
        return f"{at.name} of {type_name(at.item)}"
    return at.name


def _marks(at: Field) -> str:
    marks = [" required"] if at.required else []
    if at.default is not None:
        marks.append(f" default {_plain(at.default)}")
    if at.unused:
        marks.append(" accepted, not acted upon")
    return ("," + ",".join(marks)) if marks else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def _bounds(at: Field) -> list[str]:
    if isinstance(at, Text) and at.choices:
        return [f"One of: {', '.join(choice or repr(choice) for choice in at.choices)}."]
    if isinstance(at, Text) and at.rule:
        return [f"It is {at.rule}."]
    if isinstance(at, Number):
        bounds = [f"at least {at.minimum:g}"] if at.minimum is not None else []
        bounds += [f"more than {at.above:g}"] if at.above is not None else []
        bounds += [f"at most {at.maximum:g}"] if at.maximum is not None else []
        return [f"It is {', '.join(bounds)}."] if bounds else []
    return []


def defaults(at: Field) -> Any:
    """What holds where nothing is given; None where there is nothing to say. Lists have no defaults inside: nothing is in them."""
    if not isinstance(at, Object):
        return at.default
    inner = {name: defaults(part) for name, part in at.fields.items()}
    found = {name: value for name, value in inner.items() if value is not None}
    return found or None


def with_defaults(at: Field, value: Any) -> Any:
    """The value with every default filled in that would hold; the value itself is left as it is. Objects that were not given stay away:
    an absent probe has no period."""
    if value is None:
        return at.default
    if isinstance(at, Object) and isinstance(value, dict):
        filled = {key: with_defaults(part, value[key]) if (part := at.fields.get(key)) else value[key] for key in value}
        for name, part in at.fields.items():
            if filled.get(name) is None and part.default is not None:
                filled[name] = part.default
        return {key: item for key, item in filled.items() if item is not None}
    if isinstance(at, ListOf) and isinstance(value, list):
        return [with_defaults(at.item, item) for item in value]
    if isinstance(at, MapOf) and isinstance(value, dict):
        return {key: with_defaults(at.item, item) for key, item in value.items()}
    return value


def show_defaults(kind: Kind | str) -> dict[str, Any]:
    """Every default of a kind, as a document."""
    found = find_kind(kind) if isinstance(kind, str) else kind
    head = {"apiVersion": found.api_version, "kind": found.name}
    return {**head, **{key: value for key, value in (defaults(found.schema) or {}).items() if key != "metadata"}}


def openapi(kind: Kind | str) -> dict[str, Any]:
    """The structural schema of a kind, as a CustomResourceDefinition holds it in `openAPIV3Schema`."""
    found = find_kind(kind) if isinstance(kind, str) else kind
    schema = _openapi(found.schema)
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes checks it itself and lets nobody else
    schema["properties"]["apiVersion"] = schema["properties"]["kind"] = {"type": "string"}
    return schema


def _openapi(at: Field) -> dict[str, Any]:
    found: dict[str, Any] = {"description": at.doc} if at.doc else {}
    match at:
        case Object():
            found |= {"type": "object", "properties": {name: _openapi(part) for name, part in at.fields.items()}}
            needed = [name for name, part in at.fields.items() if part.required]
            found |= {"required": needed} if needed else {}
            found |= {"x-kubernetes-preserve-unknown-fields": True} if at.open else {}
        case ListOf():
            found |= {"type": "array", "items": _openapi(at.item)} | ({"minItems": at.least} if at.least else {})
        case MapOf():
            found |= {"type": "object", "additionalProperties": _openapi(at.item)}
        case Text():
            found |= {"type": "string"} | ({"enum": list(at.choices)} if at.choices else {})
            found |= {"pattern": f"^({at.pattern})$"} if at.pattern and not at.choices else {}
            found |= {"maxLength": at.longest} if at.longest else {}
            found |= {"minLength": 1} if not at.empty else {}
        case Integer():
            found |= {"type": "integer", "format": "int64"} | _numeric(at)
        case Number():
            found |= {"type": "number"} | _numeric(at)
        case Boolean():
            found |= {"type": "boolean"}
        case Quantity() | IntOrText():
            found |= {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
        case Duration():
            found |= {"type": "string"}
        case _:
            found |= {"x-kubernetes-preserve-unknown-fields": True}
    if at.default is not None and not isinstance(at, Object):
        found["default"] = at.default
    return found


def _numeric(at: Number) -> dict[str, Any]:
    found: dict[str, Any] = {"minimum": at.minimum} if at.minimum is not None else {}
    found |= {"maximum": at.maximum} if at.maximum is not None else {}
    # Nobody agrees on how an exclusive bound is written: the bound itself is let through here and refused by the engine.
    return found | ({"minimum": at.above} if at.above is not None else {})
