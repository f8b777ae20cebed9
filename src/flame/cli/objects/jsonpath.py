"""The part of JSONPath that people use: `.status.phase`, `{.items[*].metadata.name}`, `.metadata.labels.app\\.io/x`, `['a.b']`, `[0]`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from flame.core.base.errors import InvalidArgument

_STEP = re.compile(
    r"""\.?\[\s*(?:(?P<all>\*)|(?P<index>-?\d+)|'(?P<quoted>[^']*)'|"(?P<double>[^"]*)")\s*\]|\.(?P<key>(?:\\.|[^.\[\]{}\\])+)"""
)


def values(body: Any, path: str) -> list[Any]:
    """Everything at a path; empty where nothing is. Raises InvalidArgument for what is no path."""
    text = path.strip().removeprefix("{").removesuffix("}").strip().removeprefix("$")
    text = text if text.startswith((".", "[")) or not text else f".{text}"
    found, at = [body], 0
    while at < len(text):
        if text[at:] == ".":
            break
        match = _STEP.match(text, at)
        if match is None:
            raise InvalidArgument(
                f"{path[:120]!r} is no path", hint="such as {.status.phase} or {.items[*].metadata.name}"
            )
        found, at = [inner for value in found for inner in _step(value, match)], match.end()
    return found


def _step(value: Any, match: re.Match[str]) -> list[Any]:
    if match["all"] or match["key"] == "*":
        return list(value.values()) if isinstance(value, Mapping) else list(value) if isinstance(value, list) else []
    if match["index"] is not None:
        number = int(match["index"])
        return [value[number]] if isinstance(value, list) and -len(value) <= number < len(value) else []
    key = next((match[name] for name in ("quoted", "double") if match[name] is not None), None)
    if key is None:
        key = re.sub(r"\\(.)", r"\1", match["key"])
    return [value[key]] if isinstance(value, Mapping) and key in value else []


def text(value: Any) -> str:
    """As a shell wants it: texts bare, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def filled(template: str, body: Any) -> str:
    """A template with `{path}` replaced by what is there, several values with spaces between; `{"\\n"}` is a line end."""

    def fill(match: re.Match[str]) -> str:
        inner = match[1].strip()
        if inner.startswith('"') and inner.endswith('"') and len(inner) > 1:
            return inner[1:-1].replace("\\n", "\n").replace("\\t", "\t")
        return " ".join(text(value) for value in values(body, inner))

    if "{" not in template:
        template = "{" + template + "}"
    return re.sub(r"\{([^{}]*)\}", fill, template)
