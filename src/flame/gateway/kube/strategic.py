"""Strategic merge patches: a merge in which lists of named things are merged by name. kubectl sends them for the kinds it knows itself.

Directives: `$patch: delete | replace`, `$deleteFromPrimitiveList/...`, `$retainKeys`; `$setElementOrder/...` only says in which order
to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.objects.schema import Field, ListOf, MapOf, Object

_ORDER, _DELETE, _RETAIN, _PATCH = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def merged(current: Any, patch: Any, schema: Field | None = None) -> Any:
    """What becomes of a value. schema: says by which keys lists are merged. Nothing given is changed. Raises InvalidArgument."""
    if not isinstance(patch, Mapping):
        return patch
    if patch.get(_PATCH) == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    kept = patch.get(_RETAIN)
    found = {
        key: value
        for key, value in (current if isinstance(current, Mapping) else {}).items()
        if not isinstance(kept, list) or key in kept
    }
    for key, value in patch.items():
        if key in (_RETAIN, _PATCH) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            found[name] = [item for item in found.get(name) or [] if item not in (value or [])]
            continue
        if value is None or (isinstance(value, Mapping) and value.get(_PATCH) == "delete"):
            found.pop(key, None)
            continue
        inner = _inner(schema, key)
        if isinstance(value, list):
            found[key] = _list(found.get(key), value, inner)
        else:
            found[key] = merged(found.get(key), value, inner)
    return found


def _inner(schema: Field | None, key: str) -> Field | None:
    if isinstance(schema, Object):
        return schema.fields.get(key)
    return schema.item if isinstance(schema, MapOf) else None


def _list(current: Any, patch: list[Any], schema: Field | None) -> list[Any]:
    if not (isinstance(schema, ListOf) and schema.keys) or any(
        isinstance(item, Mapping) and item.get(_PATCH) == "replace" for item in patch
    ):
        return [item for item in patch if not (isinstance(item, Mapping) and _PATCH in item)]
    named: dict[tuple[str, ...] | None, Any] = {schema.name_of(item): item for item in current or []}
    for item in patch:
        if not isinstance(item, Mapping) or schema.name_of(item) is None:
            raise InvalidArgument(
                "a strategic merge patch has a list of things without names", hint="use a merge patch"
            )
        key = schema.name_of(item)
        if item.get(_PATCH) == "delete":
            named.pop(key, None)
        else:
            named[key] = merged(named.get(key), item, schema.item)
    return list(named.values())
