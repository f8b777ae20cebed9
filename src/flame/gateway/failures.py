"""How an error looks over HTTP: as Flame's own API says it, and which status it has."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from flame.core.base.errors import FlameError
from flame.wire.status import edge

JSON = "application/json"
BY_STATUS = {
    400: "invalid_argument", 401: "unauthenticated", 403: "permission_denied", 404: "not_found", 405: "unimplemented",
    406: "unimplemented", 409: "conflict", 413: "payload_too_large", 415: "invalid_argument", 421: "permission_denied",
    429: "exhausted", 500: "internal", 503: "unavailable", 504: "unavailable",
}  # fmt: skip
"""HTTP status -> the code of an error that has no better one."""


class Failed(msgspec.Struct):
    """What went wrong. `code` is one word, `hint` says what would work."""

    code: str
    message: str
    hint: str = ""


def status_of(error: FlameError) -> int:
    return edge(error).http


def failed(error: FlameError) -> bytes:
    return msgspec.json.encode(Failed(error.code, error.message, error.hint))


def headers_of(error: FlameError, status: int) -> list[tuple[str, str]]:
    """Retry-After in whole seconds, where trying again makes sense; how to say who one is."""
    found: list[tuple[str, str]] = []
    if status in (429, 503):
        found.append(("retry-after", str(max(1, math.ceil(error.retry_after)))))
    if status == 401:
        found.append(("www-authenticate", 'Bearer realm="flame"'))
    return found


def plain(status: int, message: str, hint: str = "") -> dict[str, Any]:
    return {"code": BY_STATUS.get(status, "internal"), "message": message, "hint": hint}
