"""Server-sent events: what a replica writes, what a session's tasks print, and what happens, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get
from litestar.params import Parameter
from litestar.response import Stream

from flame.core.base.errors import FlameError
from flame.core.model.messages import ReplicaAnswer
from flame.core.objects.kinds import KINDS
from flame.gateway.callers import Caller
from flame.gateway.failures import failed
from flame.gateway.http import asked
from flame.gateway.kube import logs, watching
from flame.gateway.rest import shapes
from flame.gateway.rest.answers import FOUND
from flame.gateway.rest.sessions import Id
from flame.gateway.watches import Watches

TYPE = "text/event-stream"
LOOK = 1.0
"""Seconds between two looks at what tasks printed."""
BEAT = 15.0
"""Seconds after which a comment is sent when there is nothing else: proxies close what is silent."""
Tail = Annotated[int, Parameter(ge=0, le=100_000, description="Only so many of the last lines that are there.")]


class Streams(Controller):
    path = "/flame/v1"
    tags = ["streams"]

    @get("/events", summary="Events of objects, as they come", responses=FOUND, media_type=TYPE)
    async def events(
        self,
        request: Request[Any, Any, Any],
        watches: Watches,
        namespace: Annotated[str, Parameter(max_length=63, description="Empty: all.")] = "",
        since: Annotated[int, Parameter(ge=0, le=2**53 - 1, description="resourceVersion; 0: all there are.")] = 0,
    ) -> Stream:
        caller = _caller(request, watches, "events:stream")
        kind = KINDS["Event"]
        if since:
            await watching.refuse_expired(caller.direct, kind, namespace, since)
        watch = watching.Watch(
            kind, namespace, "", "", since or None, watching.LONGEST, False, False, watching.plain
        )  # fmt: skip
        return _stream(watches, caller, _each(watching.lines(caller.direct, watch)))

    @get("/workloads/{name:str}/logs", summary="What a replica writes", responses=FOUND, media_type=TYPE)
    async def replica(
        self,
        request: Request[Any, Any, Any],
        watches: Watches,
        name: Annotated[
            str, Parameter(min_length=1, max_length=253, description="A replica; a workload's name is rank 0.")
        ],
        namespace: Annotated[str, Parameter(max_length=63, description="Empty: default.")] = "",
        container: Annotated[str, Parameter(max_length=253, description="Empty: the first.")] = "",
        previous: Annotated[bool, Parameter(description="Of the run before.")] = False,
        follow: Annotated[bool, Parameter(description="Go on until it ends.")] = True,
        tail: Tail = 1000,
    ) -> Stream:
        caller = _caller(request, watches, "workloads/logs:stream")

        def read(offset: int, following: bool) -> AsyncIterator[ReplicaAnswer]:
            return caller.direct.log(
                name, namespace=namespace, container=container, previous=previous, offset=offset, follow=following
            )

        first = read(0, False)
        await anext(first, None)  # an error has a status of its own before the stream begins
        await first.aclose()  # type: ignore[attr-defined]
        pieces = logs.shown(read, logs.Wanted(tail=tail, stamps=True), follow)
        return _stream(watches, caller, _texts(pieces))

    @get("/sessions/{id:str}/logs/stream", summary="What tasks print", responses=FOUND, media_type=TYPE)
    async def session(
        self,
        request: Request[Any, Any, Any],
        watches: Watches,
        id: Id,
        task: Annotated[int, Parameter(ge=0, le=2**53 - 1, description="Number of a task; 0: all.")] = 0,
    ) -> Stream:
        caller = _caller(request, watches, "sessions/logs:stream")
        info = await caller.direct.session(id)
        return _stream(watches, caller, _printed(caller, info.id, task))


def _caller(request: Request[Any, Any, Any], watches: Watches, route: str) -> Caller:
    """Raises Exhausted."""
    found = asked(request.scope)  # type: ignore[arg-type]
    found.route = route
    watches.check(found.by)
    return found.by


def _stream(watches: Watches, caller: Caller, events: AsyncIterator[bytes]) -> Stream:
    return Stream(watches.pieces(caller, _beating(events)), media_type=TYPE, status_code=200)


async def _beating(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """With a comment at once, so that the answer begins, and whenever nothing has come for a while. An error is the last event."""
    yield b": flame\n\n"
    following: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(events, None))
            done, _ = await asyncio.wait((following,), timeout=BEAT)
            if not done:
                yield b": still here\n\n"
                continue
            piece, following = following.result(), None
            if piece is None:
                return
            yield piece
    except FlameError as error:
        yield _event("error", failed(error))
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await events.aclose()  # type: ignore[attr-defined]


async def _each(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield b"data: " + line.rstrip(b"\n") + b"\n\n"


async def _texts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of a log, each one JSON text: so any byte may be in it."""
    async for piece in pieces:
        lines = piece.decode("utf-8", "replace").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        yield b"".join(_event("line", msgspec.json.encode(line)) for line in lines)
    yield _event("end", b"{}")


async def _printed(caller: Caller, id: str, task: int) -> AsyncIterator[bytes]:
    told = 0
    while True:
        info = await caller.direct.session(id)
        lines = await caller.direct.task_logs(id, task)
        if len(lines) < told:
            told = 0  # the oldest were dropped: better twice than not at all
        for line in lines[told:]:
            shape = shapes.LineShape(line.no, line.stream, line.text, shapes.clock(line.at))
            yield _event("line", msgspec.json.encode(shape))
        told = len(lines)
        if info.state:
            yield _event("end", b"{}")
            return
        await asyncio.sleep(LOOK)


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
