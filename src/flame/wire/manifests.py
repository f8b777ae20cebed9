"""Text -> documents, YAML or JSON, with the line of everything in them.

Stricter than YAML and safer: a key given twice is an error, only `true` and `false` are booleans (`no`, `on` and `12:30` stay texts),
dates stay texts, tags beyond the plain ones are refused, and aliases count as what they stand for, so that a small text cannot become
a huge value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from flame.core.base.errors import InvalidArgument, PayloadTooLarge
from flame.core.objects import check
from flame.core.objects.kinds import Kind
from flame.core.objects.kinds.configuration import CONFIG_MAP, HELM_VALUES
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem, invalid
from flame.core.objects.schema import Body
from flame.core.objects.settings import config_problems, values_problems

MAX_TEXT = 4 * 1024 * 1024
"""Characters of one text."""
MAX_DEPTH = 64
MAX_VALUES = 200_000
"""Values in all documents of one text, aliases counted as what they stand for."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o?([0-7]+)")
_HEX = re.compile(r"0x([0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_MERGE = "<<"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its parser is used; libyaml's is twenty times as fast."""


@dataclass(frozen=True)
class Document:
    """One object as it was written.

    lines:  path -> line, from 1, of what is there
    blocks: paths of literal texts (`|`): their own first line is the line after
    """

    body: Mapping[str, Any]
    file: str
    lines: Mapping[str, int] = field(default_factory=dict)
    blocks: frozenset[str] = frozenset()


def read(text: str, file: str = "-") -> list[Document]:
    """Every object of a text; lists (`kind: List`) are taken apart, empty documents skipped.

    Raises InvalidArgument with file and line of the first thing that is not legal, PayloadTooLarge beyond MAX_TEXT.
    """
    if len(text) > MAX_TEXT:
        raise PayloadTooLarge(f"{file}: {len(text):,} characters", hint=f"at most {MAX_TEXT:,}")
    found: list[Document] = []
    for value, reader in _values(text, file):
        if value is None:
            continue
        if not isinstance(value, dict):
            raise InvalidArgument(f"{file}:{reader.lines.get('', 1)}: a document must be a mapping")
        found += _expanded(Document(value, file, dict(reader.lines), frozenset(reader.blocks)))
    return found


def parse(text: str, file: str = "-") -> tuple[Any, Mapping[str, int]]:
    """The only document of a text and its lines; (None, {}) for an empty one. For YAML inside of a ConfigMap. Raises InvalidArgument."""
    if len(text) > MAX_TEXT:
        raise PayloadTooLarge(f"{file}: {len(text):,} characters", hint=f"at most {MAX_TEXT:,}")
    found = [(value, reader.lines) for value, reader in _values(text, file)]
    if len(found) > 1:
        raise InvalidArgument(f"{file}:{found[1][1].get('', 1)}: there is a second document in it")
    return found[0] if found else (None, {})


def embedded_line(document: Document, path: str, inner: int) -> int:
    """The line of the file where line `inner` (from 1) of a text inside of it is; the text's own where that cannot be told."""
    line = document.lines.get(path, 0)
    return line + inner if line and path in document.blocks else line


def checked(document: Document) -> tuple[Kind, Body]:
    """The object of a document, found legal, with settings inside of a ConfigMap looked at, too; a values file becomes its object.

    Raises InvalidArgument with every problem as `file:line: path: what is wrong`, NotFound for a kind nobody knows.
    """
    body = check.named(document.body)
    kind = check.check(body, document.file, document.lines)
    problems: Sequence[Problem] = ()
    if kind is CONFIG_MAP:
        problems = config_problems(body, parse, lambda path, line: embedded_line(document, path, line))
    elif kind is HELM_VALUES:
        problems = values_problems(body)
    if problems:
        raise invalid(problems, file=document.file, lines=document.lines)
    return kind, body


def _expanded(document: Document) -> Iterator[Document]:
    body = document.body
    items = body.get("items")
    if not (str(body.get("kind", "")).endswith("List") and isinstance(items, list)):
        yield document
        return
    for index, item in enumerate(items):
        prefix = f"items[{index}]"
        if not isinstance(item, dict):
            raise InvalidArgument(f"{document.file}:{document.lines.get(prefix, 1)}: {prefix} must be a mapping")
        lines = {path[len(prefix) :].lstrip("."): n for path, n in document.lines.items() if path.startswith(prefix)}
        blocks = frozenset(path[len(prefix) :].lstrip(".") for path in document.blocks if path.startswith(prefix))
        yield from _expanded(Document(item, document.file, lines, blocks))


def _values(text: str, file: str) -> Iterator[tuple[Any, _Reader]]:
    if text.lstrip()[:1] in ("{", "["):
        known = _json(text, file)
        if known is not None:
            yield known
            return
    events: Iterator[Event] | None = None
    left = [MAX_VALUES]
    try:
        events = iter(yaml.parse(text, _LOADER))
        for event in events:
            if isinstance(event, StreamEndEvent):
                return
            if isinstance(event, DocumentStartEvent):
                reader = _Reader(events, file, left)
                yield reader.value(next(events), "", 0), reader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InvalidArgument(f"{file}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{file}: not YAML: {' '.join(str(error).split())[:200]}") from None


def _json(text: str, file: str) -> tuple[Any, _Reader] | None:
    """The value where the text is JSON, with lines where it is YAML, too (JSON may hold tabs); None where it is not JSON."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(found)
        if len(known) < len(found):
            names = [key for key, _ in found]
            twice = next(key for key in names if names.count(key) > 1)
            raise InvalidArgument(f"{file}: the key {twice[:80]!r} is given twice in one mapping")
        return known

    def constant(word: str) -> Any:
        raise InvalidArgument(f"{file}: {word} is no number of JSON")

    reader = _Reader(iter(()), file, [MAX_VALUES])
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError:
        raise InvalidArgument(f"{file}: deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        if isinstance(error, InvalidArgument):
            raise
        return None
    reader.measure(value, 0)
    try:
        events = iter(yaml.parse(text, _LOADER))
        next(event for event in events if isinstance(event, DocumentStartEvent))
        lined = _Reader(events, file, [MAX_VALUES])
        lined.value(next(events), "", 0)
    except (yaml.YAMLError, InvalidArgument):
        return value, reader
    return value, lined


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


class _Reader:
    """Makes the value of one document from its events, and notes where everything is."""

    def __init__(self, events: Iterator[Event], file: str, left: list[int]) -> None:
        self.lines: dict[str, int] = {}
        self.blocks: set[str] = set()
        self._events = events
        self._file = file
        self._left = left
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open: set[str] = set()

    def value(self, event: Event, path: str, depth: int) -> Any:
        """The value that begins with this event."""
        self.lines.setdefault(path, _line(event))
        if depth > MAX_DEPTH:
            raise self._wrong(event, f"deeper than {MAX_DEPTH} levels")
        before = self._left[0]
        self._count(event, 1)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        anchor = event.anchor  # type: ignore[attr-defined]
        if anchor:
            self._open.add(anchor)
            self._anchors.pop(anchor, None)
        if isinstance(event, ScalarEvent):
            found: Any = self._scalar(event)
            if event.style == "|":
                self.blocks.add(path)
        elif isinstance(event, SequenceStartEvent):
            self._tagged(event, "seq")
            found = self._sequence(path, depth)
        else:
            assert isinstance(event, MappingStartEvent)
            self._tagged(event, "map")
            found = self._mapping(path, depth)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = (found, before - self._left[0])
        return found

    def measure(self, value: Any, depth: int) -> None:
        """Refuse what is too deep or too much, of a value that came otherwise."""
        self._left[0] -= 1
        if depth > MAX_DEPTH or self._left[0] < 0:
            what = f"deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_VALUES:,} values"
            raise InvalidArgument(f"{self._file}: {what}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidArgument(f"{self._file}: a number is too large")
        if isinstance(value, str) and _SURROGATE.search(value):
            raise InvalidArgument(f"{self._file}: half of a surrogate pair is no character")
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            self.measure(item, depth + 1)

    def _sequence(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self.value(event, join(path, len(found)), depth + 1))
        return found

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise self._wrong(event, "a key must be a text")
            key = self._key(event)
            if key in found:
                raise self._wrong(
                    event, f"{join(path, key)} is given twice (first in line {self.lines[join(path, key)]})"
                )
            if key == _MERGE and event.implicit[0]:
                merged = self._merge(next(self._events), path, depth)
                continue
            self.lines[join(path, key)] = _line(event)
            found[key] = self.value(next(self._events), join(path, key), depth + 1)
        return {**merged, **found} if merged else found

    def _merge(self, event: Event, path: str, depth: int) -> dict[str, Any]:
        value = self.value(event, join(path, _MERGE), depth + 1)
        together: dict[str, Any] = {}
        for part in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(part, dict):
                raise self._wrong(event, "<< needs a mapping")
            together |= part
        for key in together:
            self.lines.setdefault(join(path, key), _line(event))
        return together

    def _key(self, event: ScalarEvent) -> str:
        """Keys are texts: a number, true or null is taken as it is written."""
        self._count(event, 1)
        return str(event.value)

    def _alias(self, event: AliasEvent) -> Any:
        if event.anchor in self._open:
            raise self._wrong(event, f"*{event.anchor} is inside of itself")
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"there is no &{event.anchor} before it")
        value, size = self._anchors[event.anchor]
        self._count(event, size)
        return value

    def _scalar(self, event: ScalarEvent) -> Any:
        text = event.value
        if _SURROGATE.search(text):
            raise self._wrong(event, "half of a surrogate pair is no character")
        tag = self._tagged(event, "") if event.tag else ""
        if tag == "str" or (not tag and not event.implicit[0]):
            return text
        found = self._plain(event, text)
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        if tag and (not isinstance(found, kinds[tag]) or (tag == "int" and isinstance(found, bool))):
            raise self._wrong(event, f"!!{tag} cannot be {text[:40]!r}")
        return float(found) if tag == "float" else found

    def _plain(self, event: ScalarEvent, text: str) -> Any:
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return text.lower() == "true"
        if len(text) > 400 or text[0] not in "+-.0123456789":
            return text
        if _INT.fullmatch(text):
            return int(text)
        for pattern, base in ((_OCTAL, 8), (_HEX, 16)):
            if match := pattern.fullmatch(text):
                return int(match[1], base)
        if text.lower().lstrip("+-") in (".inf", ".nan"):
            raise self._wrong(event, f"{text} is no number of JSON")
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._wrong(event, f"{text[:40]} is too large a number")
            return number
        return text

    def _tagged(self, event: Any, expected: str) -> str:
        """The plain name of its tag; refuses tags that make anything else of it."""
        tag = event.tag
        if tag in (None, "!"):
            return "str" if tag == "!" and not expected else ""
        name = _TAGS.get(tag)
        if name is None or (expected and name != expected) or (not expected and name in ("map", "seq")):
            raise self._wrong(event, f"the tag {tag[:80]!r} is not allowed")
        return name

    def _count(self, event: Event, size: int) -> None:
        self._left[0] -= size
        if self._left[0] < 0:
            raise self._wrong(event, f"more than {MAX_VALUES:,} values, aliases counted as what they stand for")

    def _wrong(self, event: Event, what: str) -> InvalidArgument:
        return InvalidArgument(f"{self._file}:{_line(event)}: {what}")
