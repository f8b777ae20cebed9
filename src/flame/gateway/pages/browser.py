"""The pages: dashboard, login, documentation, and the files they need."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.status_codes import HTTP_200_OK, HTTP_303_SEE_OTHER, HTTP_401_UNAUTHORIZED

from flame.core.base.errors import Unauthenticated
from flame.gateway.credentials import cookie, csrf
from flame.gateway.health import Health
from flame.gateway.http import asked
from flame.gateway.live import LiveSettings
from flame.gateway.metrics import TYPE as METRICS
from flame.gateway.pages import html
from flame.gateway.pages.overview import gather
from flame.gateway.rest.rates import Rates

HTML = "text/html; charset=utf-8"
OWN = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
    ".json": "application/json",
}  # fmt: skip
SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
"""Files of the package `swagger-ui-py` that the documentation needs."""
FOR_A_DAY = {"cache-control": "private, max-age=86400"}


@get("/", include_in_schema=False)
async def dashboard(request: Request[Any, Any, Any], rates: Rates) -> Response[str]:
    found = asked(request.scope)  # type: ignore[arg-type]
    found.route = "dashboard"
    return Response(
        html.dashboard(await gather(found.by, rates), found.by.identity, csrf(found.token)), media_type=HTML
    )


@get("/login", include_in_schema=False)
async def login_page(request: Request[Any, Any, Any]) -> Response[str]:
    asked(request.scope).route = "login"  # type: ignore[arg-type]
    return Response(html.login(), media_type=HTML)


@post("/login", status_code=HTTP_303_SEE_OTHER, include_in_schema=False)
async def login(request: Request[Any, Any, Any], health: Health) -> Response[str]:
    """The token is tried; then the browser keeps it. Pages of others cannot post here: the origin is checked before."""
    asked(request.scope).route = "login"  # type: ignore[arg-type]
    form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    token = form.get("token", [""])[0].strip()
    try:
        await health.check(token)
    except Unauthenticated as error:
        return Response(html.login(error.message), media_type=HTML, status_code=HTTP_401_UNAUTHORIZED)
    heads = {"location": "/", "set-cookie": cookie(token, request.scope["scheme"] == "https")}
    return Response("", media_type=HTML, status_code=HTTP_303_SEE_OTHER, headers=heads)


@post("/logout", status_code=HTTP_200_OK, include_in_schema=False)
async def logout(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    asked(request.scope).route = "logout"  # type: ignore[arg-type]
    return Response({}, headers={"set-cookie": cookie("", request.scope["scheme"] == "https")})


@get("/docs", include_in_schema=False)
async def docs(request: Request[Any, Any, Any], live: LiveSettings) -> Response[str]:
    asked(request.scope).route = "docs"  # type: ignore[arg-type]
    _served(live)
    return Response(html.docs(), media_type=HTML)


@get("/docs/{name:str}", include_in_schema=False)
async def docs_file(request: Request[Any, Any, Any], live: LiveSettings, name: str) -> Response[bytes]:
    asked(request.scope).route = "docs"  # type: ignore[arg-type]
    _served(live)
    if name not in SWAGGER:
        raise NotFoundException(name)
    return _file(swagger_directory() / name)


@get("/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any], live: LiveSettings) -> Response[dict[str, Any]]:
    asked(request.scope).route = "openapi.json"  # type: ignore[arg-type]
    _served(live)
    return Response(request.app.openapi_schema.to_schema(), media_type="application/json")


@get("/static/{name:str}", include_in_schema=False)
async def static_file(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    asked(request.scope).route = "static"  # type: ignore[arg-type]
    path = OWN / name
    if "/" in name or name.startswith(".") or path.suffix not in TYPES or not path.is_file():
        raise NotFoundException(name)
    return _file(path)


@get("/favicon.ico", include_in_schema=False)
async def favicon(request: Request[Any, Any, Any]) -> Response[bytes]:
    asked(request.scope).route = "static"  # type: ignore[arg-type]
    return _file(OWN / "flame.svg")


@get("/health", include_in_schema=False)
async def alive(request: Request[Any, Any, Any]) -> dict[str, str]:
    """This process answers; nothing else is asked."""
    asked(request.scope).route = "health"  # type: ignore[arg-type]
    return {"status": "ok"}


@get("/ready", include_in_schema=False)
async def ready(request: Request[Any, Any, Any], health: Health) -> Response[Any]:
    asked(request.scope).route = "ready"  # type: ignore[arg-type]
    found = await health.ready()
    return Response(found, status_code=200 if found.ready else 503, headers={} if found.ready else {"retry-after": "1"})


@get("/metrics", include_in_schema=False)
async def metrics(request: Request[Any, Any, Any], health: Health) -> Response[bytes]:
    asked(request.scope).route = "metrics"  # type: ignore[arg-type]
    return Response(health.metrics(), media_type=METRICS)


PAGES = (
    dashboard, login_page, login, logout, docs, docs_file, openapi, static_file, favicon, alive, ready, metrics,
)  # fmt: skip


def _served(live: LiveSettings) -> None:
    """Raises NotFoundException while `enableSwagger` is false."""
    if not live.now.swagger:
        raise NotFoundException("apiServer.enableSwagger is false")


@cache
def swagger_directory() -> Path:
    """Of the package that brings Swagger UI; found without importing it."""
    spec = importlib.util.find_spec("swagger_ui")
    assert spec is not None and spec.origin is not None, "the extra `gateway` installs it"
    return Path(spec.origin).parent / "static"


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def _file(path: Path) -> Response[bytes]:
    return Response(_read(path), media_type=TYPES[path.suffix], headers=FOR_A_DAY)
