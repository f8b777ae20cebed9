"""GET: one object, a list, a watch, a log; as objects, as tables, or only their metadata."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import ObjectList, ReplicaAnswer
from flame.core.objects.bodies import scale_bytes
from flame.core.objects.kinds import Kind
from flame.gateway.http import Reply, Request, json_reply
from flame.gateway.kube import logs, watching
from flame.gateway.kube.places import Place
from flame.gateway.kube.tables import META, partial, table
from flame.gateway.watches import Watches, check_selectors

MOST_ITEMS = 100_000
_AS = re.compile(r"as=(Table|PartialObjectMetadata(?:List)?)\b[^,]*")


class Form(NamedTuple):
    """How objects are shown. `word`: Table, PartialObjectMetadata, or empty for as they are; `version`: v1 or v1beta1."""

    word: str = ""
    version: str = "v1"


def form(accept: str) -> Form:
    """The first form of the list that we have."""
    for part in accept.split(","):
        match = _AS.search(part)
        if match is not None and f"g={META}" in part:
            version = "v1beta1" if "v=v1beta1" in part else "v1"
            return Form(match[1].removesuffix("List"), version)
        if "json" in part or "*/*" in part:
            break
    return Form()


class Reader:
    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    async def one(self, request: Request, place: Place) -> Reply:
        kind = place.of()
        body = await request.asked.by.direct.get(kind.name, place.name, namespace=place.namespace)
        shape = form(request.headers.get("accept", ""))
        if not shape.word:
            return Reply(body=body)
        found = msgspec.json.decode(body)
        if shape.word != "Table":
            return json_reply(partial(found, shape.version))
        about = {"resourceVersion": found["metadata"].get("resourceVersion", "")}
        include = request.query.get("includeObject", "Metadata")
        return json_reply(table(kind, [found], about, time.time(), include=include, version=shape.version))

    async def scale(self, request: Request, place: Place) -> Reply:
        body = await request.asked.by.direct.get(place.of().name, place.name, namespace=place.namespace)
        return Reply(body=scale_bytes(msgspec.json.decode(body)))

    async def collection(self, request: Request, place: Place) -> Reply:
        if request.flag("watch"):
            return await self._watch(request, place)
        if request.query.get("resourceVersionMatch") == "Exact":
            raise InvalidArgument("resourceVersionMatch=Exact: only the newest version is kept", hint="leave it out")
        found = await request.asked.by.direct.list(
            place.of().name, namespace=place.namespace, labels=request.query.get("labelSelector", ""),
            fields=request.query.get("fieldSelector", ""), limit=request.number("limit", most=MOST_ITEMS),
            after=_after(request.query.get("continue", "")),
        )  # fmt: skip
        return _list(request, place.of(), found)

    async def _watch(self, request: Request, place: Place) -> Reply:
        kind, asked = place.of(), request.asked
        asked.route += ":watch"
        labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        check_selectors(labels, fields)
        self._watches.check(asked.by)
        version = request.number("resourceVersion")
        initial = request.flag("sendInitialEvents")
        since = version if version and not initial else None
        if since is not None:
            await watching.refuse_expired(asked.by.direct, kind, place.namespace, since)
        seconds = min(request.number("timeoutSeconds") or watching.LONGEST, watching.LONGEST)
        watch = watching.Watch(
            kind, place.namespace, labels, fields, since, seconds, request.flag("allowWatchBookmarks"), initial,
            _shape(kind, request),
        )  # fmt: skip
        return Reply(body=self._watches.pieces(asked.by, watching.lines(asked.by.direct, watch)))

    async def log(self, request: Request, place: Place) -> Reply:
        direct, query = request.asked.by.direct, request.query
        follow = request.flag("follow")
        since = logs.stamp_of(request.number("sinceSeconds"), query.get("sinceTime", ""), time.time())
        wanted = logs.Wanted(
            request.number("tailLines") if query.get("tailLines") else None, since, request.number("limitBytes"),
            request.flag("timestamps"),
        )  # fmt: skip

        def read(offset: int, following: bool) -> AsyncIterator[ReplicaAnswer]:
            return direct.log(
                place.name, namespace=place.namespace, container=query.get("container", ""), offset=offset,
                previous=request.flag("previous"), follow=following,
            )  # fmt: skip

        if follow:
            self._watches.check(request.asked.by)
        # The first answer comes before ours begins: what is wrong has a status of its own then.
        first = read(0, False)
        await anext(first, None)
        await first.aclose()  # type: ignore[attr-defined]
        pieces = logs.shown(read, wanted, follow)
        body = self._watches.pieces(request.asked.by, pieces) if follow else pieces
        return Reply(body=body, media="text/plain; charset=utf-8")


def _list(request: Request, kind: Kind, found: ObjectList) -> Reply:
    about: dict[str, Any] = {"resourceVersion": str(found.version)}
    if found.after:
        about["continue"] = base64.urlsafe_b64encode(found.after.encode()).decode()
    if found.remaining:
        about["remainingItemCount"] = found.remaining
    shape = form(request.headers.get("accept", ""))
    if not shape.word:
        head = msgspec.json.encode({"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": about})
        return Reply(body=b"".join((head[:-1], b',"items":[', b",".join(found.bodies), b"]}")))
    items = [msgspec.json.decode(body) for body in found.bodies]
    if shape.word == "Table":
        include = request.query.get("includeObject", "Metadata")
        return json_reply(table(kind, items, about, time.time(), include=include, version=shape.version))
    return json_reply({
        "kind": "PartialObjectMetadataList", "apiVersion": f"{META}/{shape.version}", "metadata": about,
        "items": [partial(item, shape.version) for item in items],
    })  # fmt: skip


def _shape(kind: Kind, request: Request) -> watching.Shape:
    shape = form(request.headers.get("accept", ""))
    if not shape.word:
        return watching.plain
    if shape.word == "Table":
        return watching.as_table(kind, request.query.get("includeObject", "Metadata"), shape.version)
    return watching.as_partial(shape.version)


def _after(text: str) -> str:
    """Raises InvalidArgument for what was never a continue token."""
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True).decode() if text else ""
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"continue={text[:40]!r} is none", hint="give the one of the page before") from None
