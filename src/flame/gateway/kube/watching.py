"""A watch: changes of a kind as JSON lines, in order and without gaps, until its time is over or the client goes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from flame.core.base.errors import Expired, FlameError, Unavailable
from flame.core.objects.kinds import Kind
from flame.gateway.kube.statuses import status, status_code
from flame.gateway.kube.tables import partial, table
from flame.sdk.direct import Direct

LONGEST = 3600
"""Seconds that a watch lasts when nobody says how long."""
PAUSE = 20.0
"""Seconds without news after which a bookmark is sent to those who take them."""
INITIAL_END = "k8s.io/initial-events-end"

Shape = Callable[[bytes, bool], bytes]
"""From a body, and whether it is the first, to how it is shown."""


@dataclass(frozen=True)
class Watch:
    """`since`: None: begin with what there is; `mark_initial`: say when that has been sent."""

    kind: Kind
    namespace: str
    labels: str
    fields: str
    since: int | None
    seconds: float
    bookmarks: bool
    mark_initial: bool
    shape: Shape


async def lines(direct: Direct, watch: Watch) -> AsyncIterator[bytes]:
    """JSON lines. An error that comes while it lasts is its last line, as Kubernetes does it."""
    deadline = time.monotonic() + watch.seconds
    first = True
    asked: dict[str, Any] = {"namespace": watch.namespace, "labels": watch.labels, "fields": watch.fields}
    try:
        version = watch.since
        if version is None:
            found = await direct.list(watch.kind.name, **asked)
            version = found.version
            for body in found.bodies:
                yield _line("ADDED", watch.shape(body, first))
                first = False
            if watch.mark_initial:
                yield _line("BOOKMARK", _bookmark(watch.kind, version, initial=True))
        while (left := deadline - time.monotonic()) > 0:
            try:
                news = await direct.changes(watch.kind.name, version, **asked, wait=min(PAUSE, left))
            except Unavailable:
                if direct.client.link.closed:
                    raise
                continue  # the engine starts again, and nothing is missed
            version = news.version
            for change in news.changes:
                yield _line(change.change, watch.shape(change.body, first))
                first = False
            if watch.bookmarks and not news.changes:
                yield _line("BOOKMARK", _bookmark(watch.kind, version))
    except FlameError as error:
        yield _line("ERROR", msgspec.json.encode(status(error, status_code(error))))


async def refuse_expired(direct: Direct, kind: Kind, namespace: str, since: int) -> None:
    """Raises Expired before an answer has begun."""
    try:
        await direct.changes(kind.name, since, namespace=namespace, wait=0)
    except Expired as error:
        raise Expired(f"too old resource version: {since}; {error.message}", hint=error.hint) from None


def _line(change: str, body: bytes) -> bytes:
    return b'{"type":"' + change.encode() + b'","object":' + body + b"}\n"


def _bookmark(kind: Kind, version: int, initial: bool = False) -> bytes:
    about: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial:
        about["annotations"] = {INITIAL_END: "true"}
    return msgspec.json.encode({"kind": kind.name, "apiVersion": kind.api_version, "metadata": about})


def plain(body: bytes, first: bool) -> bytes:
    return body


def as_table(kind: Kind, include: str, version: str) -> Shape:
    def shape(body: bytes, first: bool) -> bytes:
        found = msgspec.json.decode(body)
        about = {"resourceVersion": found["metadata"].get("resourceVersion", "")}
        return msgspec.json.encode(
            table(kind, [found], about, time.time(), include=include, version=version, heads=first)
        )

    return shape


def as_partial(version: str) -> Shape:
    return lambda body, first: msgspec.json.encode(partial(msgspec.json.decode(body), version))
