"""Sessions and tasks: lists, one of them, why it waits, what it printed."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any, Literal

from litestar import Controller, Request, get
from litestar.params import Parameter

from flame.core.model import messages as m
from flame.core.model.states import SessionState
from flame.gateway.http import asked
from flame.gateway.rest import shapes
from flame.gateway.rest.answers import COMMON, FOUND
from flame.gateway.rest.rates import Rates
from flame.sdk.direct import Direct

Id = Annotated[str, Parameter(min_length=1, max_length=200, description="Id of a session, or its number.")]
Number = Annotated[int, Parameter(ge=1, le=2**53 - 1, description="Number of a task, from 1 on.")]
Limit = Annotated[int, Parameter(ge=1, le=1000, description="Most that are answered.")]


def direct(request: Request[Any, Any, Any], route: str) -> Direct:
    found = asked(request.scope)  # type: ignore[arg-type]
    found.route = route
    return found.by.direct


class Sessions(Controller):
    """`rates` is shared by all who ask: it holds counts only."""

    path = "/flame/v1/sessions"
    tags = ["sessions"]

    @get("/", summary="Sessions, newest first", responses=COMMON)
    async def page(
        self,
        request: Request[Any, Any, Any],
        rates: Rates,
        which: Annotated[
            Literal["all", "open", "closed"], Parameter(query="state", description="Of which state.")
        ] = "all",
        limit: Limit = 100,
        after: Annotated[
            int, Parameter(ge=0, le=2**53 - 1, description="`next` of the page before; 0: from the newest.")
        ] = 0,
    ) -> shapes.SessionsShape:
        infos = await direct(request, "sessions").sessions()
        wanted = {"open": SessionState.OPEN, "closed": SessionState.CLOSED}.get(which)
        found = [info for info in infos if wanted is None or info.state == wanted]
        total = len(found)
        found.sort(key=lambda info: -info.alias)
        left = [info for info in found if not after or info.alias < after]
        more = left[limit - 1].alias if len(left) > limit else 0
        now = time.monotonic()
        shown = [shapes.session(info, rates.seen(info.id, ended(info), now)) for info in left[:limit]]
        return shapes.SessionsShape(shown, total, more)

    @get("/{id:str}", summary="One session", responses=FOUND)
    async def one(self, request: Request[Any, Any, Any], rates: Rates, id: Id) -> shapes.SessionShape:
        info = await direct(request, "sessions/one").session(id)
        return shapes.session(info, rates.seen(info.id, ended(info), time.monotonic()))

    @get("/{id:str}/events", summary="What happened to a session", responses=FOUND)
    async def events(self, request: Request[Any, Any, Any], id: Id) -> list[shapes.Reason]:
        return shapes.reasons((await direct(request, "sessions/events").session(id)).events)

    @get("/{id:str}/explain", summary="Why a session waits", responses=FOUND)
    async def explain(self, request: Request[Any, Any, Any], id: Id) -> list[shapes.Reason]:
        return shapes.reasons((await direct(request, "sessions/explain").explain(id)).reasons)

    @get("/{id:str}/tasks", summary="Tasks of a session, a page", responses=FOUND)
    async def tasks(
        self,
        request: Request[Any, Any, Any],
        id: Id,
        start: Annotated[int, Parameter(ge=1, le=2**53 - 1, description="The first number.")] = 1,
        limit: Limit = 100,
    ) -> shapes.TasksShape:
        asking = direct(request, "tasks")
        info = await asking.session(id)
        found = await asking.tasks(info.id, start, limit)
        return shapes.TasksShape([shapes.task(one) for one in found.tasks], found.next)

    @get("/{id:str}/tasks/{no:int}", summary="One task, with input and output", responses=FOUND)
    async def task(self, request: Request[Any, Any, Any], id: Id, no: Number) -> shapes.TaskShape:
        asking = direct(request, "tasks/one")
        info = await asking.session(id)
        found = await asking.task(info.id, no)
        return shapes.task(found, _text(found.input), _text(found.output))

    @get("/{id:str}/tasks/{no:int}/explain", summary="Why a task waits", responses=FOUND)
    async def explain_task(self, request: Request[Any, Any, Any], id: Id, no: Number) -> list[shapes.Reason]:
        asking = direct(request, "tasks/explain")
        info = await asking.session(id)
        return shapes.reasons((await asking.explain(info.id, no)).reasons)

    @get("/{id:str}/logs", summary="What the tasks of a session printed", responses=FOUND)
    async def logs(
        self,
        request: Request[Any, Any, Any],
        id: Id,
        task: Annotated[int, Parameter(ge=0, le=2**53 - 1, description="Number of a task; 0: all.")] = 0,
    ) -> list[shapes.LineShape]:
        asking = direct(request, "sessions/logs")
        info = await asking.session(id)
        return [
            shapes.LineShape(line.no, line.stream, line.text, shapes.clock(line.at))
            for line in await asking.task_logs(info.id, task)
        ]


def ended(info: m.SessionInfo) -> int:
    return info.succeed + info.failed + info.cancelled


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
