"""Bodies of objects as bytes, and the form in which scaling sees them."""

from __future__ import annotations

from typing import Any

import msgspec

from flame.core.base.errors import InvalidArgument, PayloadTooLarge
from flame.core.objects.schema import Body

MAX_BODY = 1024 * 1024
"""Bytes of one object, or of what is sent to change it."""
MAX_DEPTH = 100


def decode(data: bytes) -> Any:
    """The value of a body. Raises InvalidArgument when it is not JSON or too deep, PayloadTooLarge."""
    if len(data) > MAX_BODY:
        raise PayloadTooLarge(f"a body of {len(data):,} bytes", hint=f"at most {MAX_BODY:,}")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"the body is deeper than {MAX_DEPTH} levels") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return value
    raise InvalidArgument(f"the body is deeper than {MAX_DEPTH} levels")


def encode(body: Body) -> bytes:
    """Raises InvalidArgument for what JSON cannot hold, PayloadTooLarge for an object beyond MAX_BODY."""
    try:
        data = msgspec.json.encode(body)
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise InvalidArgument(f"the object cannot be kept: {error}") from None
    if len(data) > MAX_BODY:
        raise PayloadTooLarge(f"an object of {len(data):,} bytes", hint=f"at most {MAX_BODY:,}")
    return data


def scale_of(body: Body) -> dict[str, Any]:
    """The object as autoscaling/v1 Scale sees it."""
    about, status = body["metadata"], body.get("status") or {}
    named = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = (body.get("spec") or {}).get("replicas")
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {name: about[name] for name in named if name in about},
        "spec": {"replicas": 1 if replicas is None else replicas},
        "status": {"replicas": status.get("replicas", 0), "selector": status.get("selector", "")},
    }


def scale_bytes(body: Body) -> bytes:
    return encode(scale_of(body))
