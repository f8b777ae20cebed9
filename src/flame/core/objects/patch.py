"""How one document becomes another: JSON merge patch (RFC 7386), JSON patch (RFC 6902), and the three-way merge of `apply`.

Nothing is changed in place; what is given may be shared by what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame.core.base.errors import Conflict, InvalidArgument
from flame.core.objects.schema import Field, ListOf, MapOf, Object

_MOST = 10_000
"""Operations of one JSON patch."""
_COPIED = 100_000
"""Values that one JSON patch may copy in all: copies of copies grow without bound."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: mappings are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def without_nulls(value: Any) -> Any:
    """The value with every null taken out of mappings: null is how `not given` is written."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def three_way(last: Any, live: Any, new: Any, schema: Field | None) -> Any:
    """What is live after `new` is applied, where `last` was applied before: what `last` had and `new` does not have goes, what others
    set stays, lists of named things are merged by name."""
    if isinstance(new, dict) and isinstance(live, dict):
        before = last if isinstance(last, dict) else {}
        merged = {key: value for key, value in live.items() if key not in before or new.get(key) is not None}
        for key, value in new.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = three_way(before.get(key), live.get(key), value, _child(schema, key))
        return merged
    if isinstance(new, list) and isinstance(live, list) and isinstance(schema, ListOf) and schema.keys:
        return _named(last if isinstance(last, list) else [], live, new, schema)
    return without_nulls(new)


def _child(schema: Field | None, key: str) -> Field | None:
    return schema.child(key) if isinstance(schema, Object | MapOf) else None


def _named(last: list[Any], live: list[Any], new: list[Any], schema: ListOf) -> Any:
    """The order of `new`, then what others added."""
    olds, lives, news = (_by_name(items, schema) for items in (last, live, new))
    if lives is None or news is None:  # something has no name, or one twice: nothing to merge by
        return without_nulls(new)
    before = olds or {}
    merged = [
        three_way(before.get(name), lives[name], item, schema.item) if name in lives else without_nulls(item)
        for name, item in news.items()
    ]
    return merged + [item for name, item in lives.items() if name not in news and name not in before]


def _by_name(items: Sequence[Any], schema: ListOf) -> dict[tuple[str, ...], Any] | None:
    found: dict[tuple[str, ...], Any] = {}
    for item in items:
        name = schema.name_of(item)
        if name is None or name in found:
            return None
        found[name] = item
    return found


# -- RFC 6902 ----------------------------------------------------------------------------------------------------------


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902. Raises InvalidArgument for an operation that is not legal or has no place, Conflict for a `test` that fails."""
    if not isinstance(operations, list):
        raise InvalidArgument(
            "a JSON patch is a list of operations", hint='[{"op": "replace", "path": "/spec/replicas", "value": 2}]'
        )
    if len(operations) > _MOST:
        raise InvalidArgument(f"a JSON patch of {len(operations):,} operations", hint=f"at most {_MOST:,}")
    left = [_COPIED]
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict):
            raise InvalidArgument(f"operation {number} of the JSON patch is no mapping")
        target = _operate(target, operation, number, left)
    return target


def _operate(target: Any, operation: Mapping[str, Any], number: int, left: list[int]) -> Any:
    name = operation.get("op")
    what = f"operation {number} ({name}) of the JSON patch"
    path = _pointer(operation, "path", what)
    if name in ("add", "replace", "test") and "value" not in operation:
        raise InvalidArgument(f"{what} has no value")
    match name:
        case "add":
            return _put(target, path, operation["value"], what, new=True)
        case "replace":
            return _put(target, path, operation["value"], what, new=False)
        case "remove":
            return _drop(target, path, what)
        case "test":
            found = _at(target, path, what)
            if not _same(found, operation["value"]):
                raise Conflict(f"{what}: {operation['path']} is not what it should be", hint="read the object again")
            return target
        case "copy" | "move":
            source = _pointer(operation, "from", what)
            value = _at(target, source, what)
            if name == "copy":
                _spend(value, left)
            else:
                if path[: len(source)] == source and len(path) > len(source):
                    raise InvalidArgument(f"{what} moves something into itself")
                target = _drop(target, source, what)
            return _put(target, path, value, what, new=True)
    raise InvalidArgument(f"{what} is none", hint="add, remove, replace, move, copy or test")


def _spend(value: Any, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise InvalidArgument(f"a JSON patch that copies more than {_COPIED:,} values")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _spend(item, left)


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _pointer(operation: Mapping[str, Any], key: str, what: str) -> list[str]:
    text = operation.get(key)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise InvalidArgument(
            f"{what}: {key} is no pointer: {text!r}"[:200], hint="write something like /spec/replicas"
        )
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(container: list[Any], part: str, what: str, end: int) -> int:
    legal = part.isascii() and part.isdigit() and (part == "0" or not part.startswith("0")) and len(part) < 10
    if not legal or int(part) > end:
        raise InvalidArgument(f"{what}: there is no index {part[:40]!r} in a list of {len(container)}")
    return int(part)


def _at(target: Any, path: list[str], what: str) -> Any:
    for part in path:
        target = _inside(target, part, what)
    return target


def _inside(target: Any, part: str, what: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, what, len(target) - 1)]
    if isinstance(target, dict) and part in target:
        return target[part]
    raise InvalidArgument(f"{what}: there is no {part[:80]!r}")


def _put(target: Any, path: list[str], value: Any, what: str, new: bool) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(target, list):
        changed = list(target)
        if rest:
            index = _index(changed, part, what, len(changed) - 1)
            changed[index] = _put(changed[index], rest, value, what, new)
        elif new:
            changed.insert(len(changed) if part == "-" else _index(changed, part, what, len(changed)), value)
        else:
            changed[_index(changed, part, what, len(changed) - 1)] = value
        return changed
    if isinstance(target, dict):
        if rest or not new:
            inner = _inside(target, part, what)
            return {**target, part: _put(inner, rest, value, what, new) if rest else value}
        return {**target, part: value}
    raise InvalidArgument(f"{what}: there is nothing to put {part[:80]!r} into")


def _drop(target: Any, path: list[str], what: str) -> Any:
    if not path:
        raise InvalidArgument(f"{what} would remove everything")
    part, rest = path[0], path[1:]
    inner = _inside(target, part, what)
    if isinstance(target, list):
        index = int(part)
        return [*target[:index], *([_drop(inner, rest, what)] if rest else []), *target[index + 1 :]]
    if rest:
        return {**target, part: _drop(inner, rest, what)}
    return {key: value for key, value in target.items() if key != part}
