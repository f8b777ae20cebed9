"""One Kubernetes-style request: which verb it is, who does it, and how the answer is shown."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from flame.core.base.errors import FlameError, InvalidArgument
from flame.gateway.failures import headers_of
from flame.gateway.http import Receive, Reply, Request, Scope, Send, json_reply
from flame.gateway.kube import discovery, openapi, reading, writing
from flame.gateway.kube.places import Place, locate
from flame.gateway.kube.statuses import failure, status, status_code
from flame.gateway.watches import Watches
from flame.version import __version__

log = logging.getLogger("flame.gateway")

ROOTS = ("/api", "/apis", "/openapi/v2", "/openapi/v3", "/version")
"""What this serves, each with all that is below."""
Verb = Callable[[Request, Place], Awaitable[Reply]]


class Kube:
    """An ASGI application."""

    def __init__(self, watches: Watches) -> None:
        self._reader = reading.Reader(watches)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place: Place | None = None
        try:
            request = Request.of(scope, receive)
            path = request.asked.path
            if (known := self._documents(request, path)) is not None:
                reply = known
            else:
                place = locate(path)
                reply = await self._answer(request, place)
        except FlameError as error:
            reply = failed(error, place, scope["method"])
        await reply.send(receive, send)

    def _documents(self, request: Request, path: str) -> Reply | None:
        """What is no object: the release and the schemas. Raises NotFound."""
        asked = request.asked
        path = path.rstrip("/")
        if path == "/version":
            asked.route = "version"
            return json_reply(discovery.version_info(__version__))
        if not path.startswith("/openapi/"):
            return None
        asked.route = "openapi"
        if path == "/openapi/v3":
            return Reply(body=openapi.index())
        if path == "/openapi/v2":
            return _v2(request)
        return Reply(body=openapi.document(path.removeprefix("/openapi/v3/")))

    async def _answer(self, request: Request, place: Place) -> Reply:
        asked = request.asked
        if place.what in ("groups", "group", "resources"):
            asked.route = "discovery"
            if request.method not in ("GET", "HEAD"):
                return not_allowed(request.method)
            if place.what == "groups" and "as=APIGroupDiscoveryList" in request.headers.get("accept", ""):
                return json_reply(discovery.aggregated(place.core), media=discovery.AGGREGATED)
            return json_reply(discovery.answer(place))
        asked.route = f"{place.of().plural}" + (f"/{place.subresource}" if place.subresource else "")
        verb = self._verb(request.method, place)
        if verb is None:
            return not_allowed(request.method)
        return await verb(request, place)

    def _verb(self, method: str, place: Place) -> Verb | None:
        reads = method in ("GET", "HEAD")
        if place.what == "collection":
            return self._reader.collection if reads else writing.create if method == "POST" else None
        if place.subresource == "log":
            return self._reader.log if reads else None
        if reads:
            return self._reader.scale if place.subresource == "scale" else self._reader.one
        if method == "DELETE" and not place.subresource:
            return writing.delete
        return {"PUT": writing.put, "PATCH": writing.patch}.get(method)


def _v2(request: Request) -> Reply:
    accept = request.headers.get("accept", "*/*")
    if "json" not in accept and "*/*" not in accept:
        message = "only application/json; the schemas are also at /openapi/v3"
        return json_reply(failure(406, "NotAcceptable", message), 406)
    return Reply(body=openapi.v2())


def not_allowed(method: str) -> Reply:
    message = f"the server does not allow {method} on the requested resource"
    return json_reply(failure(405, "MethodNotAllowed", message), 405)


def failed(error: FlameError, place: Place | None, method: str) -> Reply:
    """The answer that an error is."""
    code = status_code(error, writing=method in ("POST", "PUT", "PATCH"))
    if isinstance(error, writing.Unsupported):
        code = 415
    if code >= 500:
        log.warning("%s: %s", error.code, error.message)
    retry = math.ceil(error.retry_after) if code in (429, 503) else 0
    shown = (
        replace(place, kind=None) if place is not None and isinstance(error, InvalidArgument) and code == 400 else place
    )
    return json_reply(status(error, code, shown, retry), code, headers_of(error, code))


def now() -> float:
    return time.time()
