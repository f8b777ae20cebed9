"""Schemas as data: one table per kind says which fields there are, what they mean, what they default to and what they may hold.

Validation is here; `describe` makes documentation, defaults and OpenAPI of the same tables. A value of null counts as not given, as in
Kubernetes. Nothing is filled in: defaults are shown and read, never stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_duration, parse_quantity
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem, unknown

Body: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[[Any, str], Iterable[Problem]]
"""A check across fields: (value, its path) -> problems. It runs only on a value whose own fields are right."""

_PERCENT = re.compile(r"(100|[0-9]{1,2})%")


@dataclass(frozen=True)
class Field:
    """Base of the field types, and by itself a field that may hold anything.

    doc:      one line for people
    default:  what holds when the field is not given; None: nothing
    required: must be given
    unused:   accepted for compatibility; Flame does not act upon it and says so
    checks:   across what is inside
    """

    doc: str = ""
    default: Any = None
    required: bool = False
    unused: bool = False
    checks: tuple[Check, ...] = ()

    name = "anything"

    def problems(self, value: Any, path: str) -> Iterator[Problem]:
        """Everything wrong with a given value (never None)."""
        found = list(self.inside(value, path))
        yield from found
        if not found:
            for check in self.checks:
                yield from check(value, path)

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        yield from ()

    def child(self, key: str) -> Field | None:
        """The field under a key; None where there is none, or nobody knows."""
        return None


def kind_of(value: Any) -> str:
    """What people call such a value, with the value where it is short."""
    match value:
        case bool():
            return f"boolean {str(value).lower()}"
        case int() | float():
            return f"number {value}"
        case str():
            return f"text {value[:40]!r}{'...' if len(value) > 40 else ''}"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return "null"


def mistyped(path: str, asked: str, value: Any, hint: str = "") -> Problem:
    return Problem(path, f"must be {asked}, found {kind_of(value)}", hint)


@dataclass(frozen=True)
class Text(Field):
    """choices: the legal texts, if few; pattern: must match whole; rule: says in words what the pattern means."""

    choices: tuple[str, ...] = ()
    pattern: str = ""
    rule: str = ""
    longest: int = 0
    empty: bool = True

    name = "text"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, str):
            number = isinstance(value, int | float)
            yield mistyped(path, "a text", value, "put it in quotes" if number else "")
        elif self.choices and value not in self.choices:
            near = unknown(path, "value", value, self.choices)
            yield near._replace(
                hint=f"{near.hint}; legal: {', '.join(self.choices)}" if "mean" in near.hint else near.hint
            )
        elif not value and not self.empty:
            yield Problem(path, "must not be empty")
        elif self.pattern and value and not re.fullmatch(self.pattern, value):
            yield Problem(path, f"{value[:80]!r} is not legal here", self.rule or f"it must match {self.pattern}")
        elif self.longest and len(value) > self.longest:
            yield Problem(path, f"has {len(value)} characters", f"at most {self.longest}")


@dataclass(frozen=True)
class Number(Field):
    """minimum, maximum: both inclusive."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None

    name = "number"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield mistyped(path, "a number", value)
            return
        yield from self.bounds(value, path)

    def bounds(self, value: float, path: str) -> Iterator[Problem]:
        if self.minimum is not None and value < self.minimum:
            yield Problem(path, f"must be at least {self.minimum:g}, found {value}")
        if self.maximum is not None and value > self.maximum:
            yield Problem(path, f"must be at most {self.maximum:g}, found {value}")
        if self.above is not None and value <= self.above:
            yield Problem(path, f"must be more than {self.above:g}, found {value}")


@dataclass(frozen=True)
class Integer(Number):
    name = "whole number"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, int):
            quoted = isinstance(value, str) and value.lstrip("-").isdigit()
            yield mistyped(path, "a whole number", value, "leave the quotes out" if quoted else "")
        elif not -(2**63) <= value < 2**63:
            yield Problem(path, "does not fit into 64 bits")
        else:
            yield from self.bounds(value, path)


@dataclass(frozen=True)
class Boolean(Field):
    name = "boolean"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, bool):
            yield mistyped(path, "true or false", value)


@dataclass(frozen=True)
class Quantity(Field):
    """An amount as Kubernetes writes it: 2, 0.5, 500m, 16Gi, 1e3; not negative unless `signed`. whole: no fractions."""

    whole: bool = False

    name = "quantity"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            yield mistyped(path, "a quantity", value, "write something like 2, 500m or 16Gi")
            return
        try:
            amount = parse_quantity(value)
        except InvalidArgument as error:
            yield Problem(path, error.message, error.hint)
            return
        if amount < 0:
            yield Problem(path, f"must not be negative, found {value}")
        elif self.whole and amount != amount.to_integral_value():
            yield Problem(path, f"must be whole, found {value}")


@dataclass(frozen=True)
class Duration(Field):
    """As Go writes it: 30s, 1h30m; `zero`: may it be nothing?"""

    zero: bool = True

    name = "duration"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            yield mistyped(path, "a duration", value, "write something like 30s, 10m or 1h30m")
            return
        try:
            seconds = parse_duration(value)
        except InvalidArgument as error:
            yield Problem(path, error.message, error.hint)
            return
        if not seconds and not self.zero:
            yield Problem(path, "must be more than nothing")


@dataclass(frozen=True)
class IntOrText(Field):
    """A whole number, or a text: a percentage (`percent`) or a name."""

    percent: bool = False

    name = "whole number or text"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield mistyped(path, "a whole number or a text", value)
        elif isinstance(value, int) and value < 0:
            yield Problem(path, f"must not be negative, found {value}")
        elif self.percent and isinstance(value, str) and not _PERCENT.fullmatch(value):
            yield Problem(path, f"{value[:40]!r} is no percentage", "write a whole number, or 0% to 100%")


_TEXT, _ANY = Text(), Field()


@dataclass(frozen=True)
class ListOf(Field):
    """keys: which fields of an item name it, for `apply` to merge by; items of one name are refused (`unique`). Defaults of missing key
    fields count (`protocol` is TCP)."""

    item: Field = _ANY
    keys: tuple[str, ...] = ()
    least: int = 0
    unique: bool = True

    name = "list"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield mistyped(path, "a list", value)
            return
        if len(value) < self.least:
            yield Problem(path, f"must have at least {self.least} of them, found {len(value)}")
        seen: dict[tuple[str, ...], int] = {}
        for index, item in enumerate(value):
            place = join(path, index)
            if item is None:
                yield Problem(place, "must not be null")
                continue
            yield from self.item.problems(item, place)
            name = self.name_of(item) if self.unique else None
            if name is not None and seen.setdefault(name, index) != index:
                yield Problem(
                    place, f"{' '.join(filter(None, name))!r} is given twice", f"see {join(path, seen[name])}"
                )

    def name_of(self, item: Any) -> tuple[str, ...] | None:
        """What names this item among its list; None where it has no name."""
        if not self.keys or not isinstance(item, dict):
            return None
        defaults = ((self.item.child(key) or _ANY).default for key in self.keys)
        found = [item.get(key, default) for key, default in zip(self.keys, defaults, strict=True)]
        return None if found[0] is None else tuple(str(part) for part in found)

    def child(self, key: str) -> Field | None:
        return self.item


@dataclass(frozen=True)
class MapOf(Field):
    """Free keys. key: says what is wrong with one, or nothing."""

    item: Field = _TEXT
    key: Callable[[str], str] | None = None

    name = "mapping"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield mistyped(path, "a mapping", value)
            return
        for key, item in value.items():
            place = join(path, key)
            wrong = self.key(key) if self.key else ""
            if wrong:
                yield Problem(place, wrong)
            elif item is not None:
                yield from self.item.problems(item, place)

    def child(self, key: str) -> Field | None:
        return self.item


@dataclass(frozen=True)
class Object(Field):
    """fields: by name. open: other fields are kept as they are instead of refused."""

    fields: Mapping[str, Field] = field(default_factory=dict)
    open: bool = False

    name = "object"

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield mistyped(path, "a mapping", value)
            return
        for key, item in value.items():
            inner = self.fields.get(key)
            if inner is None:
                if not self.open:
                    yield unknown(join(path, key), "field", str(key), tuple(self.fields))
            elif item is not None:
                yield from inner.problems(item, join(path, key))
        for key, inner in self.fields.items():
            if inner.required and value.get(key) is None:
                yield Problem(join(path, key), "is missing", inner.doc)

    def child(self, key: str) -> Field | None:
        return self.fields.get(key)


def unused_fields(schema: Field, value: Any, path: str = "") -> Iterator[str]:
    """Paths of what is given and not acted upon."""
    if schema.unused:
        yield path
    elif isinstance(schema, Object) and isinstance(value, dict):
        for key, item in value.items():
            inner = schema.fields.get(key)
            if inner is not None and item is not None:
                yield from unused_fields(inner, item, join(path, key))
    elif isinstance(schema, MapOf) and isinstance(value, dict):
        for key, item in value.items():
            yield from unused_fields(schema.item, item, join(path, key))
    elif isinstance(schema, ListOf) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from unused_fields(schema.item, item, join(path, index))
