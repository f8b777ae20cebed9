"""What every request passes before it is answered, in this order: host and origin, who asks, how often, how much. And what every answer
gets: headers that browsers heed, a line in the log, a count.

Nothing here knows what is asked for; it is an ASGI application around another.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from flame.core.base.errors import (
    Exhausted,
    FlameError,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    Unauthenticated,
)
from flame.core.model.access import digest
from flame.gateway.callers import Callers
from flame.gateway.credentials import HEADER, credentials, knows_csrf
from flame.gateway.failures import JSON, headers_of, plain
from flame.gateway.guard import DOCS_POLICY, POLICY, SECURE, cors_headers, is_preflight, refusal
from flame.gateway.http import BODY, STATE, App, Asked, Event, Receive, Reply, Scope, Send, headers, json_reply
from flame.gateway.kube.api import ROOTS
from flame.gateway.kube.api import failed as kube_failed
from flame.gateway.kube.statuses import REASONS, failure
from flame.gateway.limits import Buckets
from flame.gateway.live import LiveSettings
from flame.gateway.metrics import Metrics

log = logging.getLogger("flame.gateway")
access = logging.getLogger("flame.gateway.access")

OPEN = ("/health", "/ready", "/login", "/favicon.ico")
"""Paths that want no token; and whatever is below STATIC."""
STATIC = "/static/"
SCHEMA = "/flame/v1/schema"
"""Where Litestar would serve the description of the API by itself, whatever the settings say: closed."""
SAFE = ("GET", "HEAD", "OPTIONS")
BEGIN = 65.0
"""Seconds until an answer must have begun."""
UPLOAD = 30.0
"""Seconds that a client may take to send the next piece of its body."""
STRANGERS = 200.0
"""Requests per second without a token that is known, of one address."""
WRONG_TOKENS = 5.0, 50.0
"""Wrong tokens per second of one address, and how many at once: who guesses, waits."""


@dataclass
class Limits:
    """`tokens`: by token; `strangers`: by address; `wrong`: wrong tokens by address."""

    tokens: Buckets = field(default_factory=lambda: Buckets(100))
    strangers: Buckets = field(default_factory=lambda: Buckets(STRANGERS))
    wrong: Buckets = field(default_factory=lambda: Buckets(*WRONG_TOKENS))


class Edge:
    """names: hosts that are ours; origins: pages that may ask while CORS is on."""

    def __init__(
        self,
        inner: App,
        callers: Callers,
        live: LiveSettings,
        metrics: Metrics,
        names: tuple[str, ...],
        origins: tuple[str, ...],
    ) -> None:
        self._inner, self._callers, self._live, self._metrics = inner, callers, live, metrics
        self._names, self._origins = names, origins
        self._limits = Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        found = headers(scope)
        asked = Asked(secrets.token_hex(8), found, scope["path"])
        scope[STATE] = asked
        answer = _Answer(self, scope, asked, send)
        self._metrics.in_flight.inc()
        try:
            async with asyncio.timeout(BEGIN) as limit:
                answer.limit = limit
                try:
                    await self._answer(scope, asked, _Body(receive, found).receive, answer)
                finally:
                    answer.limit = None
        except TimeoutError:
            await self._fail(answer, scope, 504, f"no answer within {BEGIN:g} s")
        except FlameError as error:
            await self._raised(answer, scope, error)
        except Exception:
            log.exception("request %s failed", asked.id)
            await self._fail(answer, scope, 500, f"an internal error; the log of the gateway has it under {asked.id}")
        finally:
            self._metrics.in_flight.dec()
            answer.count()

    # -- before the answer -----------------------------------------------------------------------------------------------

    async def _answer(self, scope: Scope, asked: Asked, receive: Receive, answer: _Answer) -> None:
        method = scope["method"]
        refused = refusal(method, asked.path, asked.headers, scope["scheme"], self._names, self.origins)
        if refused is not None:
            self._metrics.refused.labels("host" if refused.status == 421 else "origin").inc()
            await self._fail(answer, scope, refused.status, refused.message, refused.hint)
            return
        if is_preflight(method, asked.headers):
            asked.route = "preflight"
            await Reply(204, media="text/plain").send(receive, answer.send)
            return
        async with AsyncExitStack() as stack:
            known = credentials(asked.headers)
            if asked.path in OPEN or asked.path.startswith(STATIC):
                self._take(self._limits.strangers, _address(scope))
            elif known is None:
                self._take(self._limits.strangers, _address(scope))
                if await self._to_login(scope, asked, receive, answer):
                    return
                raise Unauthenticated("a token is needed", hint="Authorization: Bearer TOKEN, or /login for browsers")
            else:
                self._take(self._limits.tokens, digest(known.token), counted=True)
                if known.cookie and method not in SAFE and not knows_csrf(known.token, asked.headers.get(HEADER, "")):
                    raise PermissionDenied(
                        f"{method} with a cookie needs the header {HEADER}", hint="use a bearer token"
                    )
                await self._identify(stack, scope, asked, known.token)
            if asked.path.startswith(SCHEMA):
                raise NotFound(f"there is nothing at {asked.path[:200]}")
            await self._inner(scope, receive, answer.send)

    async def _identify(self, stack: AsyncExitStack, scope: Scope, asked: Asked, token: str) -> None:
        """Raises Unauthenticated, Exhausted, Unavailable."""
        address = _address(scope)
        if (wait := self._limits.wrong.peek(address, time.monotonic())) > 0:
            raise Exhausted("too many wrong tokens", hint="wait", retry_after=wait)
        try:
            asked.caller = await stack.enter_async_context(self._callers.borrow(token))
        except Unauthenticated:
            self._limits.wrong.take(address, time.monotonic())
            raise
        asked.token = token

    async def _to_login(self, scope: Scope, asked: Asked, receive: Receive, answer: _Answer) -> bool:
        """A browser that comes without a cookie is shown where to get one."""
        if scope["method"] != "GET" or asked.path not in ("/", "/docs"):
            return False
        if "text/html" not in asked.headers.get("accept", ""):
            return False
        await Reply(303, media="text/plain", headers=[("location", "/login")]).send(receive, answer.send)
        return True

    def _take(self, buckets: Buckets, key: str, counted: bool = False) -> None:
        """Raises Exhausted."""
        if counted:
            rate = self._live.now.rate_limit
            if buckets.rate != rate:
                buckets.set(rate)
            self._metrics.limit.set(rate)
        wait = buckets.take(key, time.monotonic())
        if wait > 0:
            self._metrics.limited.inc()
            raise Exhausted(
                f"more than {buckets.rate:g} requests per second",
                hint="apiServer.rateLimit is the limit",
                retry_after=wait,
            )

    @property
    def origins(self) -> tuple[str, ...]:
        """Pages of which origins may ask now."""
        return self._origins if self._live.now.cors else ()

    @property
    def live(self) -> LiveSettings:
        return self._live

    @property
    def metrics(self) -> Metrics:
        return self._metrics

    # -- when there is none ----------------------------------------------------------------------------------------------

    async def _raised(self, answer: _Answer, scope: Scope, error: FlameError) -> None:
        if answer.begun:
            log.warning("an answer could not be finished: %s: %s", error.code, error.message)
            return
        if _is_kube(scope["path"]):
            reply = kube_failed(error, None, scope["method"])
        else:
            reply = failed(error)
        await reply.send(_nothing, answer.send)

    async def _fail(self, answer: _Answer, scope: Scope, code: int, message: str, hint: str = "") -> None:
        if answer.begun:
            return
        if _is_kube(scope["path"]):
            body = failure(code, REASONS.get(code, "InternalError"), f"{message} ({hint})" if hint else message)
        else:
            body = plain(code, message, hint)
        heads = [("connection", "close")] if code in (413, 504) else []
        await json_reply(body, code, heads).send(_nothing, answer.send)


def failed(error: FlameError) -> Reply:
    """An error as Flame's own API says it."""
    from flame.gateway.failures import failed as encoded
    from flame.gateway.failures import status_of

    code = 413 if isinstance(error, PayloadTooLarge) else status_of(error)
    return Reply(code, encoded(error), JSON, headers_of(error, code))


class _Answer:
    """The way back: adds what every answer has, and remembers what the log wants to know."""

    def __init__(self, edge: Edge, scope: Scope, asked: Asked, send: Send) -> None:
        self._edge, self._scope, self._asked, self._send = edge, scope, asked, send
        self._began = time.monotonic()
        self.limit: asyncio.Timeout | None = None
        self.status = 0
        self._first = 0.0
        self._bytes = 0

    @property
    def begun(self) -> bool:
        return self.status != 0

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self._first = time.monotonic() - self._began
            if self.limit is not None:
                self.limit.reschedule(None)
            event = {**event, "headers": [*event.get("headers", ()), *self._added(event)]}
        elif event["type"] == "http.response.body":
            self._bytes += len(event.get("body", b""))
        await self._send(event)

    def _added(self, event: Event) -> list[tuple[bytes, bytes]]:
        asked, edge = self._asked, self._edge
        given = {name.lower() for name, _ in event.get("headers", ())}
        docs = asked.path == "/docs" or asked.path.startswith("/docs/")
        found = [*SECURE, ("content-security-policy", DOCS_POLICY if docs else POLICY), ("x-request-id", asked.id)]
        if self._scope["scheme"] == "https":
            found.append(("strict-transport-security", "max-age=31536000"))
        preflight = is_preflight(self._scope["method"], asked.headers)
        found += cors_headers(asked.headers.get("origin"), edge.origins, preflight)
        return [(n.encode(), v.encode("latin-1")) for n, v in found if n.encode() not in given]

    def count(self) -> None:
        """To the metrics and the log. Neither has a token: the log says the token's id and whose it is."""
        asked, method = self._asked, self._scope["method"]
        method = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"
        self._edge.metrics.requests.labels(method, asked.route, str(self.status)).inc()
        if self.begun:
            self._edge.metrics.seconds.labels(method, asked.route).observe(self._first)
        who = asked.caller.identity if asked.caller is not None else None
        line = {
            "id": asked.id, "method": method, "path": asked.path[:500], "status": self.status, "route": asked.route,
            "bytes": self._bytes, "seconds": round(time.monotonic() - self._began, 4), "from": _address(self._scope),
            "who": who.name if who else "", "role": who.role if who else "", "tenant": who.tenant if who else "",
            "token": who.token if who else "", "agent": asked.headers.get("user-agent", "")[:200],
        }  # fmt: skip
        access.info("%s", json.dumps(line))


class _Body:
    """The body of a request as it comes: not too much of it, and not too slowly."""

    def __init__(self, receive: Receive, found: dict[str, str]) -> None:
        self._receive, self._size = receive, 0
        self._done = False
        self._said = found.get("content-length", "")

    async def receive(self) -> Event:
        """Raises PayloadTooLarge, InvalidArgument for a client that stopped sending."""
        if self._done:
            return await self._receive()  # the client is gone: may take for ever
        if self._said.isdecimal() and int(self._said) > BODY:
            raise PayloadTooLarge(f"a body of {int(self._said):,} bytes", hint=f"at most {BODY:,}")
        try:
            event = await asyncio.wait_for(self._receive(), UPLOAD)
        except TimeoutError:
            raise InvalidArgument(f"nothing of the body came within {UPLOAD:g} s") from None
        self._size += len(event.get("body", b""))
        if self._size > BODY:
            raise PayloadTooLarge(f"a body of more than {BODY:,} bytes")
        self._done = event["type"] != "http.request" or not event.get("more_body")
        return event


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _is_kube(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in ROOTS)


async def _nothing() -> Event:
    return {"type": "http.disconnect"}
