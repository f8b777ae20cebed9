"""Everything the gateway serves, put together: an ASGI application."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Litestar, Request, Response, asgi
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from flame.core.base.errors import FlameError
from flame.gateway.callers import Callers
from flame.gateway.edge import SCHEMA, Edge, failed
from flame.gateway.failures import JSON, plain
from flame.gateway.health import Health
from flame.gateway.http import App, asked
from flame.gateway.kube.api import ROOTS, Kube
from flame.gateway.live import LiveSettings
from flame.gateway.metrics import Metrics
from flame.gateway.pages.browser import PAGES
from flame.gateway.pages.overview import Overview
from flame.gateway.rest.cluster import Cluster
from flame.gateway.rest.rates import Rates
from flame.gateway.rest.sessions import Sessions
from flame.gateway.rest.streams import Streams
from flame.gateway.watches import Watches
from flame.ops.gateway import Door
from flame.version import __version__

log = logging.getLogger("flame.gateway")


def make_app(door: Door, callers: Callers, live: LiveSettings, metrics: Metrics, watches: Watches, token: str) -> App:
    """token: the cluster's own, for `/ready` and the settings."""
    rates = Rates()
    kube = Kube(watches)

    @asgi(path=list(ROOTS), is_mount=True, copy_scope=False)
    async def kubernetes(scope: Any, receive: Any, send: Any) -> None:
        await kube(scope, receive, send)

    health = Health(callers, metrics, token)
    things: dict[str, Any] = {
        "rates": rates, "watches": watches, "live": live, "health": health,
    }  # fmt: skip
    inner = Litestar(
        route_handlers=[kubernetes, Cluster, Sessions, Streams, Overview, *PAGES],
        dependencies={name: Provide(_given(thing), sync_to_thread=False) for name, thing in things.items()},
        exception_handlers={FlameError: _flame, HTTPException: _http, Exception: _bug},
        openapi_config=_openapi(),
        logging_config=None,
    )
    names = tuple(dict.fromkeys((*door.names, *door.options.hosts)))
    return Edge(inner, callers, live, metrics, names, door.options.origins)  # type: ignore[arg-type]


def _given(thing: Any) -> Any:
    return lambda: thing


def _openapi() -> OpenAPIConfig:
    scheme = SecurityScheme(type="http", scheme="bearer", description="A token of the cluster.")
    return OpenAPIConfig(
        title="Flame",
        version=__version__,
        description="Sessions, tasks and the cluster. Objects are at /apis, as Kubernetes has them; /openapi/v3 describes those.",
        path=SCHEMA,
        components=Components(security_schemes={"token": scheme}),
        security=[{"token": []}],
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    )


def _flame(request: Request[Any, Any, Any], error: FlameError) -> Response[bytes]:
    reply = failed(error)
    assert isinstance(reply.body, bytes)
    if reply.status >= 500:
        log.warning("%s: %s", error.code, error.message)
    return Response(reply.body, status_code=reply.status, media_type=JSON, headers=dict(reply.headers))


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """What Litestar itself refuses: unknown paths, verbs, parameters that are not legal."""
    extra = getattr(error, "extra", None)
    hint = ""
    if isinstance(extra, list):
        hint = "; ".join(f"{e.get('key', '')}: {e.get('message', '')}" for e in extra if isinstance(e, dict))[:1000]
    heads = {"allow": error.headers["allow"]} if error.headers and "allow" in error.headers else {}
    return Response(
        plain(error.status_code, error.detail, hint), status_code=error.status_code, media_type=JSON, headers=heads
    )


def _bug(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    id = asked(request.scope).id  # type: ignore[arg-type]
    log.error("request %s failed", id, exc_info=error)
    return Response(
        plain(500, f"an internal error; the log of the gateway has it under {id}"), status_code=500, media_type=JSON
    )
