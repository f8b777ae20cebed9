"""What the dashboard shows, gathered with the rights of who looks: sessions, workloads, nodes, and for whatever waits, why."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get

from flame.core.base.quantity import quantity_milli, quantity_units
from flame.core.model import messages as m
from flame.core.model.states import SessionState
from flame.gateway.callers import Caller
from flame.gateway.http import asked
from flame.gateway.rest import shapes
from flame.gateway.rest.answers import COMMON
from flame.gateway.rest.rates import Rates
from flame.gateway.rest.sessions import ended
from flame.sdk.direct import Direct

SHOWN = 200
"""Sessions and workloads of each list, those that are open or wait first."""
EXPLAINED = 20
"""Sessions and workloads of which it is asked why they wait, at each look."""
FRESH = 0.8
"""Seconds that a look is good for: several tabs of one user cost one."""
GPU = "nvidia.com/gpu"
OVER = ("Succeeded", "Failed", "Completed")


class Wait(msgspec.Struct):
    """Why something waits, and what would help."""

    message: str
    next: str = ""


class SessionRow(msgspec.Struct):
    session: shapes.SessionShape
    waits: Wait | None


class WorkloadRow(msgspec.Struct):
    """`ready` of `replicas`; `waits`: null when nothing keeps it from running."""

    name: str
    namespace: str
    type: str
    phase: str
    ready: int
    replicas: int
    created: str
    waits: Wait | None


class NodeRow(msgspec.Struct):
    """CPU and GPU in thousandths, memory in bytes: used, and all there is."""

    name: str
    phase: str
    cpu_used: int
    cpu: int
    memory_used: int
    memory: int
    gpu_used: int
    gpu: int
    devices: list[shapes.DeviceShape]
    replicas: int
    executors: int


class OverviewShape(msgspec.Struct):
    """The cluster at a glance."""

    at: str
    status: shapes.StatusShape
    sessions: list[SessionRow]
    sessions_total: int
    workloads: list[WorkloadRow]
    workloads_total: int
    nodes: list[NodeRow]


class Overview(Controller):
    path = "/flame/v1/overview"
    tags = ["cluster"]

    @get("/", summary="The cluster at a glance", responses=COMMON)
    async def overview(self, request: Request[Any, Any, Any], rates: Rates) -> OverviewShape:
        found = asked(request.scope)  # type: ignore[arg-type]
        found.route = "overview"
        return await gather(found.by, rates)

    @get("/html", include_in_schema=False)
    async def parts(self, request: Request[Any, Any, Any], rates: Rates) -> Response[str]:
        """The lists of the dashboard as HTML, for its own script."""
        from flame.gateway.pages import html

        found = asked(request.scope)  # type: ignore[arg-type]
        found.route = "overview"
        return Response(html.lists(await gather(found.by, rates)), media_type="text/html; charset=utf-8")


async def gather(caller: Caller, rates: Rates) -> OverviewShape:
    """Raises what the cluster answers."""
    known = caller.samples.get("overview")
    now = time.monotonic()
    if known is not None and now - known[0] < FRESH and isinstance(known[1], OverviewShape):
        return known[1]
    direct = caller.direct
    status, infos, workloads, agents, nodes = await asyncio.gather(
        direct.status(), direct.sessions(), direct.list("FlameWorkload"), direct.list("FlameAgent"), direct.nodes()
    )
    sessions = sorted(infos, key=lambda info: (info.state, -(info.pending + info.running), -info.alias))
    bodies = sorted((msgspec.json.decode(body) for body in workloads.bodies), key=_place)
    found = OverviewShape(
        shapes.clock(time.time()), shapes.status(status),
        await _sessions(direct, sessions[:SHOWN], rates), len(sessions),
        await _workloads(direct, bodies[:SHOWN]), len(bodies),
        _nodes([msgspec.json.decode(body) for body in agents.bodies], nodes),
    )  # fmt: skip
    caller.samples["overview"] = (now, found)
    return found


def _place(body: dict[str, Any]) -> tuple[int, str, str]:
    """What waits, what runs, what is over."""
    phase = (body.get("status") or {}).get("phase", "Pending")
    order = 0 if phase not in ("Running", *OVER) else 1 if phase == "Running" else 2
    return order, body["metadata"].get("namespace", ""), body["metadata"]["name"]


async def _sessions(direct: Direct, infos: list[m.SessionInfo], rates: Rates) -> list[SessionRow]:
    waiting = [info for info in infos if info.state == SessionState.OPEN and info.pending and not info.running]
    told = await asyncio.gather(*(direct.explain(info.id) for info in waiting[:EXPLAINED]), return_exceptions=True)
    why = {
        info.id: Wait("; ".join(reason.message for reason in one.reasons) or "it waits for an executor")
        for info, one in zip(waiting, told, strict=False)
        if isinstance(one, m.Explanation)
    }
    now = time.monotonic()
    return [
        SessionRow(shapes.session(info, rates.seen(info.id, ended(info), now)), why.get(info.id)) for info in infos
    ]  # fmt: skip


async def _workloads(direct: Direct, bodies: list[dict[str, Any]]) -> list[WorkloadRow]:
    rows = [_workload(body) for body in bodies]
    waiting = [row for row in rows if row.waits is not None][:EXPLAINED]
    told = await asyncio.gather(
        *(direct.debug("FlameWorkload", row.name, namespace=row.namespace) for row in waiting), return_exceptions=True
    )
    for row, answer in zip(waiting, told, strict=True):
        causes = [] if isinstance(answer, BaseException) else msgspec.json.decode(answer).get("causes") or []
        if causes and row.waits is not None:
            row.waits = Wait(f"{causes[0]['kind']}: {causes[0]['message']}", causes[0].get("next", ""))
    return rows


def _workload(body: dict[str, Any]) -> WorkloadRow:
    about, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    phase = status.get("phase") or "Pending"
    wanted = spec.get("replicas")
    replicas, ready = 1 if wanted is None else int(wanted), int(status.get("readyReplicas") or 0)
    waits = phase not in ("Succeeded", "Completed") and (phase != "Running" or ready < replicas)
    said = status.get("message") or status.get("reason") or f"{ready} of {replicas} replicas are ready"
    return WorkloadRow(
        about["name"], about.get("namespace", ""), spec.get("type") or "Training", phase, ready, replicas,
        about.get("creationTimestamp", ""), Wait(str(said)) if waits else None,
    )  # fmt: skip


def _nodes(agents: list[dict[str, Any]], infos: tuple[m.NodeInfo, ...]) -> list[NodeRow]:
    devices = {info.name: shapes.node(info).devices for info in infos}
    rows = []
    for body in agents:
        name, status = body["metadata"]["name"], body.get("status") or {}
        used, there = status.get("allocated") or {}, status.get("capacity") or {}
        rows.append(NodeRow(
            name, status.get("phase", "Unknown"), _milli(used.get("cpu")), _milli(there.get("cpu")), _units(used.get("memory")),
            _units(there.get("memory")), _milli(used.get(GPU)), _milli(there.get(GPU)), devices.get(name, []),
            int(status.get("workloads") or 0), int(status.get("executors") or 0),
        ))  # fmt: skip
    return rows


def _milli(text: Any) -> int:
    return quantity_milli(str(text)) if text else 0


def _units(text: Any) -> int:
    return quantity_units(str(text)) if text else 0
