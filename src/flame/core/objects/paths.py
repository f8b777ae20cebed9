"""How a place in a document is written: `spec.template.spec.containers[0].image`, `metadata.labels[app.kubernetes.io/name]`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_PART = re.compile(r"\.?([A-Za-z_$][A-Za-z0-9_$-]*)|\[([^\]]*)\]")


def join(path: str, key: str | int) -> str:
    """The path of what is under `key`: a list's index, or a mapping's key (in brackets where it is no plain word)."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def parts(path: str) -> list[str | int]:
    """The keys of a path, a number for an index: the inverse of `join`, save for keys that are numbers or hold a `]`."""
    found: list[str | int] = []
    for plain, bracketed in _PART.findall(path):
        found.append(plain or (int(bracketed) if bracketed.isdigit() else bracketed))
    return found


def dig(body: object, path: str) -> object:
    """The value at a path, or None."""
    for part in parts(path):
        if isinstance(part, int):
            body = body[part] if isinstance(body, list) and part < len(body) else None
        else:
            body = body.get(part) if isinstance(body, Mapping) else None
    return body


def parent(path: str) -> str:
    """The path of what holds it; empty for the document."""
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path.rpartition(".")[0]


def nearest(path: str, lines: Mapping[str, int]) -> int:
    """The line of the path, or of the closest thing around it that has one; 0 when nobody knows."""
    while path and path not in lines:
        path = parent(path)
    return lines.get(path, 0)
