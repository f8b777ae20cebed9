"""Errors as Kubernetes says them: a Status object with a reason that its clients act upon."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flame.core.base.errors import FlameError, InvalidArgument
from flame.gateway.failures import status_of
from flame.gateway.kube.places import Place

REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed", 406: "NotAcceptable",
    409: "Conflict", 410: "Expired", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType", 421: "Forbidden", 422: "Invalid",
    429: "TooManyRequests", 500: "InternalError", 501: "NotImplemented", 503: "ServiceUnavailable", 504: "Timeout", 507: "InternalError",
}  # fmt: skip
_PROBLEM = re.compile(r"^\s*(?:line \d+: )?((?:metadata|spec|status|data|apiVersion|kind)[\w.\[\]/-]*): (.*)$")


def status_code(error: FlameError, writing: bool = False) -> int:
    """An object that is not legal is 422 to Kubernetes, and 400 everywhere else."""
    found = status_of(error)
    return 422 if writing and found == 400 and isinstance(error, InvalidArgument) else found


def status(error: FlameError, code: int, place: Place | None = None, retry_after: int = 0) -> dict[str, Any]:
    """The Status of an error, about an object where `place` says so."""
    text = error.message + (f" ({error.hint})" if error.hint else "")
    reason = "AlreadyExists" if error.code == "already_exists" else REASONS.get(code, "Unknown")
    details: dict[str, Any] = {}
    if place is not None and place.kind is not None:
        details = {"group": place.group, "kind": place.kind.plural if code == 404 else place.kind.name}
        details |= {"name": place.name} if place.name else {}
    if code == 422 and (causes := _causes(error.message)):
        details["causes"] = causes
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    return failure(code, reason, text, details)


def failure(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return found | ({"details": details} if details else {})


def gone(place: Place, body: bytes) -> dict[str, Any]:
    """What a deletion answers that has ended already."""
    kind = place.of()
    uid = msgspec.json.decode(body).get("metadata", {}).get("uid", "")
    details = {"name": place.name, "group": place.group, "kind": kind.plural, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _causes(message: str) -> list[dict[str, str]]:
    """The problems of a message that names them by path."""
    found = []
    for line in message.partition(" is not valid: ")[2].splitlines() or message.splitlines():
        match = _PROBLEM.match(line)
        if match:
            reason = "FieldValueRequired" if match[2].startswith("is missing") else "FieldValueInvalid"
            found.append({"reason": reason, "field": match[1], "message": match[2]})
    return found
