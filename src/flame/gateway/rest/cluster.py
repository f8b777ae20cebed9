"""The cluster itself: how it is, its nodes, its applications, why a workload does not run."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get
from litestar.params import Parameter

from flame.gateway.rest import shapes
from flame.gateway.rest.answers import COMMON, FOUND
from flame.gateway.rest.sessions import direct

Name = Annotated[str, Parameter(min_length=1, max_length=253, description="Name of a workload.")]
Namespace = Annotated[str, Parameter(max_length=63, description="Its namespace; empty: default.")]


class Cluster(Controller):
    path = "/flame/v1"
    tags = ["cluster"]

    @get("/status", summary="How the cluster is", responses=COMMON)
    async def status(self, request: Request[Any, Any, Any]) -> shapes.StatusShape:
        return shapes.status(await direct(request, "status").status())

    @get("/whoami", summary="Who the token is of", responses=COMMON)
    async def whoami(self, request: Request[Any, Any, Any]) -> shapes.WhoShape:
        who = await direct(request, "whoami").whoami()
        return shapes.WhoShape(who.name, who.role, who.tenant, who.kind)

    @get("/nodes", summary="Nodes and their accelerators", responses=COMMON)
    async def nodes(self, request: Request[Any, Any, Any]) -> list[shapes.NodeShape]:
        return [shapes.node(info) for info in await direct(request, "nodes").nodes()]

    @get("/applications", summary="Registered applications", responses=COMMON)
    async def applications(self, request: Request[Any, Any, Any]) -> list[shapes.ApplicationShape]:
        found = await direct(request, "applications").applications()
        return [
            shapes.ApplicationShape(a.name, a.spec.description or "", list(a.spec.labels), shapes.clock(a.created)) for a in found
        ]  # fmt: skip

    @get("/workloads/{name:str}/debug", summary="Why a workload does not run", responses=FOUND, tags=["workloads"])
    async def debug(
        self, request: Request[Any, Any, Any], name: Name, namespace: Namespace = ""
    ) -> shapes.DiagnosisShape:
        body = await direct(request, "workloads/debug").debug("FlameWorkload", name, namespace=namespace)
        return msgspec.json.decode(body, type=shapes.DiagnosisShape)
