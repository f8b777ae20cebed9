"""HTTP as the Kubernetes part speaks it: what came, and what goes back. Flame's own API is Litestar's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from flame.core.base.errors import FlameError, InvalidArgument, PayloadTooLarge
from flame.gateway.callers import Caller

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("flame.gateway")

JSON = "application/json"
BODY = 3 << 20
"""Bytes of a request's body; an object may have 1 MiB."""
STATE = "flame.gateway"
"""Key of a scope under which `Asked` is."""


@dataclass
class Asked:
    """What the outer layers found out about a request. `route`: for the metrics, one of few words."""

    id: str
    headers: Mapping[str, str]
    path: str
    caller: Caller | None = None
    token: str = ""
    route: str = "other"

    @property
    def by(self) -> Caller:
        assert self.caller is not None, "only requests with a token come this far"
        return self.caller


def asked(scope: Scope) -> Asked:
    found: Asked = scope[STATE]
    return found


def headers(scope: Scope) -> dict[str, str]:
    """By lower-case name; of a name that comes twice the values are joined, as HTTP says."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        found[name] = f"{found[name]}{'; ' if name == 'cookie' else ', '}{text}" if name in found else text
    return found


@dataclass
class Request:
    method: str
    scope: Scope
    receive: Receive
    query: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        """Raises InvalidArgument for a query that cannot be read."""
        try:
            pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=100)
        except (ValueError, UnicodeDecodeError):
            raise InvalidArgument("the query of the URL cannot be read") from None
        return cls(scope["method"], scope, receive, dict(reversed(pairs)))

    @property
    def asked(self) -> Asked:
        return asked(self.scope)

    @property
    def headers(self) -> Mapping[str, str]:
        return self.asked.headers

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true")

    def number(self, name: str, default: int = 0, most: int = 1 << 53) -> int:
        """Raises InvalidArgument."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdecimal()) or len(text) > 16 or int(text) > most:
            raise InvalidArgument(f"{name}={text[:40]!r}; a number from 0 to {most}")
        return int(text)

    async def body(self) -> bytes:
        """Raises PayloadTooLarge."""
        return await read_body(self.receive)

    def media(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(receive: Receive, most: int = BODY) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise asyncio.CancelledError
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise PayloadTooLarge(f"a body of more than {most:,} bytes")
        if not event.get("more_body"):
            return b"".join(parts)


@dataclass
class Reply:
    """body: all of it, or its pieces as they come."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    media: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)

    async def send(self, receive: Receive, send: Send) -> None:
        heads = [("content-type", self.media), *self.headers]
        if isinstance(self.body, bytes):
            heads.append(("content-length", str(len(self.body))))
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in heads]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if isinstance(self.body, bytes):
            await send({"type": "http.response.body", "body": self.body})
            return
        await _stream(self.body, receive, send)


def json_reply(value: Any, status: int = 200, heads: list[tuple[str, str]] | None = None, media: str = JSON) -> Reply:
    return Reply(status, msgspec.json.encode(value), media, heads or [])


async def _stream(pieces: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Until the pieces end or the client is gone, which is noticed also while there is nothing to send."""
    writing = asyncio.ensure_future(_write(pieces, send))
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((writing, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, gone):
            task.cancel()
        outcomes = await asyncio.gather(writing, gone, return_exceptions=True)
    trouble = outcomes[0]
    if isinstance(trouble, FlameError):
        # The answer has begun: all that is left is to break it off, which the client notices.
        log.warning("an answer was broken off: %s: %s", trouble.code, trouble.message)
    elif isinstance(trouble, Exception) and not isinstance(trouble, OSError):
        raise trouble


async def _write(pieces: AsyncIterator[bytes], send: Send) -> None:
    try:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
