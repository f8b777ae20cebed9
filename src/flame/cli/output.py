"""How commands speak: one value, several voices.

table (people), wide (a table with everything), json, yaml, name (one name a line, for shell loops). Errors go to stderr as one sentence
and a hint.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flame.core.base.errors import FlameError

VOICES = ("table", "wide", "json", "yaml", "name")


class Column(NamedTuple):
    """`of` reads a cell from a row's record. `wide` columns show only in the wide voice. `key` names it in JSON (else the title)."""

    title: str
    of: Callable[[dict[str, Any]], object]
    wide: bool = False


def write(text: str) -> None:
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Something beside the output: to stderr, after what was printed before."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Borderless: columns padded with spaces, one leading space a cell, header first."""
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    return "\n".join(
        "".join(f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (titles, *rows)
    )


def classic(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The fixed columns of the first release: ten wide, the third fifteen; wider where a cell needs it."""
    floors = [15 if index == 2 else 10 for index in range(len(titles))]
    widths = [
        max(floor, *(len(cell) + 2 for cell in column))
        for floor, column in zip(floors, zip(titles, *rows, strict=True), strict=True)
    ]
    return "\n".join(
        "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in (titles, *rows)
    )


def say_list(
    records: Sequence[dict[str, Any]],
    columns: Sequence[Column],
    voice: str,
    *,
    name: str = "id",
    layout: Callable[[Sequence[str], Sequence[Sequence[str]]], str] = table,
) -> None:
    """Print records. JSON and YAML tell them whole; `name` prints one field of each."""
    if voice == "name":
        for record in records:
            write(str(record[name]))
    elif voice in ("json", "yaml"):
        say_data(list(records), voice)
    else:
        shown = [column for column in columns if voice == "wide" or not column.wide]
        rows = [[str(column.of(record)) for column in shown] for record in records]
        write(layout([column.title for column in shown], rows))


def say_data(value: object, voice: str) -> None:
    """Print a value as JSON or YAML."""
    if voice == "yaml":
        import yaml

        sys.stdout.write(yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True))
    else:
        write(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: object) -> object:
    """Only dictionaries, lists, texts and numbers; bytes become text, what is not UTF-8 in them replaced."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value


def labelled(pairs: Sequence[tuple[str, str]], width: int = 15) -> str:
    """`Label:` in a column of its own; further lines of a value are indented by a tab."""
    out = []
    for label, value in pairs:
        first, *rest = value.split("\n")
        out.append(f"{label + ':':<{width}}{first}".rstrip())
        out.extend(f"\t{line}" for line in rest)
    return "\n".join(out)


def clock(at: float) -> str:
    """`HH:MM:SS` UTC, as in every list."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def fine_clock(at: float) -> str:
    """`HH:MM:SS.mmm` UTC, as in event lines."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def fail(error: BaseException, code: int = 1) -> int:
    """Say an error on stderr: one sentence, then a hint. Returns the exit code."""
    sys.stdout.flush()
    text = str(error.message) if isinstance(error, FlameError) else f"{type(error).__name__}: {error}"
    sys.stderr.write(f"Error: {text}\n")
    if hint := getattr(error, "hint", ""):
        sys.stderr.write(f"Hint: {hint}\n")
    return code
