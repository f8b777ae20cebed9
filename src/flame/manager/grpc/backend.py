"""`flame.v1.Backend`: node agents that speak the published interface, as agents of the allocator and executors of sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from flame.core.base.errors import FlameError, InvalidArgument, NotFound
from flame.core.model import messages as m
from flame.core.model.access import COMPAT
from flame.core.model.states import SessionState, TaskState
from flame.manager.desk import Desk
from flame.manager.grpc.errors import guarded, guarded_stream
from flame.manager.grpc.link import DRAIN, NodeLink
from flame.manager.grpc.office import Office
from flame.manager.grpc.slot import Slot
from flame.wire import convert
from flame.wire.v1 import backend_pb2 as be
from flame.wire.v1 import backend_pb2_grpc
from flame.wire.v1 import types_pb2 as pb

SILENCE = 15.0
"""Seconds without a heartbeat after which a stream is given up."""


class Backend(backend_pb2_grpc.BackendServicer):
    def __init__(self, desk: Desk, drain: float = DRAIN) -> None:
        self._desk, self._drain = desk, drain
        self._office = Office(desk, identity=COMPAT)
        self._links: dict[str, NodeLink] = {}

    def close(self) -> None:
        for link in list(self._links.values()):
            link.close()
        self._office.close()

    # -- nodes ----------------------------------------------------------------------------------------------------

    @guarded
    async def RegisterNode(self, request: be.RegisterNodeRequest, context: Any) -> pb.Result:
        await self._register(request)
        return pb.Result(return_code=0)

    @guarded
    async def SyncNode(self, request: be.SyncNodeRequest, context: Any) -> be.SyncNodeResponse:
        link = await self._register(request)
        executors = [convert.executor(slot.info()) for slot in link.slots.values()]
        return be.SyncNodeResponse(node=request.node, executors=executors)

    async def _register(self, request: be.RegisterNodeRequest | be.SyncNodeRequest) -> NodeLink:
        if not request.HasField("node"):
            raise InvalidArgument("node is missing")
        node = convert.to_register_node(request.node, request.executors)
        link = self._links.get(node.name)
        if link is None:
            link = NodeLink(self._desk, node, self._forget, self._drain)
        await link.register(node)
        self._links[node.name] = link
        return link

    def _forget(self, link: NodeLink) -> None:
        if self._links.get(link.node.name) is link:
            del self._links[link.node.name]

    @guarded
    async def ReleaseNode(self, request: be.ReleaseNodeRequest, context: Any) -> pb.Result:
        link = self._links.get(request.node_name)
        if link is None:
            raise NotFound(f"node <{request.node_name[:128]}> not found")
        link.release()
        return pb.Result(return_code=0)

    @guarded_stream
    async def WatchNode(
        self, requests: AsyncIterator[be.WatchNodeRequest], context: Any
    ) -> AsyncIterator[be.WatchNodeResponse]:
        """The first heartbeat names the node; a node that never registered ends the stream."""
        out: asyncio.Queue[be.WatchNodeResponse | None] = asyncio.Queue()
        reader = asyncio.get_running_loop().create_task(self._listen(requests, out))
        try:
            while (response := await out.get()) is not None:
                yield response
        finally:
            reader.cancel()

    async def _listen(
        self, requests: AsyncIterator[be.WatchNodeRequest], out: asyncio.Queue[be.WatchNodeResponse | None]
    ) -> None:
        link: NodeLink | None = None
        watching: asyncio.Queue[m.ExecutorInfo] | None = None
        forwarder: asyncio.Task[None] | None = None
        try:
            while True:
                request = await asyncio.wait_for(anext(requests), SILENCE)
                if link is None:
                    link = self._links.get(request.heartbeat.node_name)
                    if link is None:
                        return
                    watching = link.watch()
                    forwarder = asyncio.get_running_loop().create_task(_forward(watching, out))
                link.beat()
                out.put_nowait(be.WatchNodeResponse(ack=be.Acknowledgement(timestamp=int(time.time()))))
        except (StopAsyncIteration, TimeoutError):
            return
        finally:
            if forwarder is not None:
                forwarder.cancel()
            if link is not None and watching is not None:
                link.unwatch(watching)
            out.put_nowait(None)

    # -- executors ------------------------------------------------------------------------------------------------

    def _slot(self, id: str) -> tuple[NodeLink, Slot]:
        for link in self._links.values():
            if slot := link.slots.get(id):
                return link, slot
        raise NotFound(f"executor <{id[:128]}> not found")

    @guarded
    async def RegisterExecutor(self, request: be.RegisterExecutorRequest, context: Any) -> pb.Result:
        if not request.HasField("executor_spec"):
            raise InvalidArgument("executor spec is missing")
        link, slot = self._slot(request.executor_id)
        slot.register()
        link.started(slot)
        return pb.Result(return_code=0)

    @guarded
    async def UnregisterExecutor(self, request: be.UnregisterExecutorRequest, context: Any) -> pb.Result:
        link, slot = self._slot(request.executor_id)
        slot.unregister()
        link.ended(slot)
        return pb.Result(return_code=0)

    @guarded
    async def BindExecutor(self, request: be.BindExecutorRequest, context: Any) -> be.BindExecutorResponse:
        _, slot = self._slot(request.executor_id)
        enter = await slot.bind()
        if enter is None:
            return be.BindExecutorResponse()
        try:
            session = await self._office.ask(m.GetSession(enter.session), m.SessionInfo)
        except FlameError:  # vanished between the push and this answer
            return be.BindExecutorResponse()
        if session.state != SessionState.OPEN:
            return be.BindExecutorResponse()
        app = m.AppInfo(enter.app, enter.spec, 0, session.created)
        return be.BindExecutorResponse(application=convert.application(app), session=convert.session(session))

    @guarded
    async def BindExecutorCompleted(self, request: be.BindExecutorCompletedRequest, context: Any) -> pb.Result:
        _, slot = self._slot(request.executor_id)
        slot.bound(request.result.return_code, request.result.message)
        return pb.Result(return_code=0)

    @guarded
    async def UnbindExecutor(self, request: be.UnbindExecutorRequest, context: Any) -> pb.Result:
        self._slot(request.executor_id)[1].unbind()
        return pb.Result(return_code=0)

    @guarded
    async def UnbindExecutorCompleted(self, request: be.UnbindExecutorCompletedRequest, context: Any) -> pb.Result:
        self._slot(request.executor_id)[1].unbound()
        return pb.Result(return_code=0)

    # -- tasks ----------------------------------------------------------------------------------------------------

    @guarded
    async def LaunchTask(self, request: be.LaunchTaskRequest, context: Any) -> be.LaunchTaskResponse:
        _, slot = self._slot(request.executor_id)
        held = await slot.launch()
        if held is None or slot.session is None:
            return be.LaunchTaskResponse()
        task = m.TaskInfo(slot.session, held.no, TaskState.RUNNING, held.attempt, time.time(), None, held.payload, None)
        return be.LaunchTaskResponse(task=convert.task(task))

    @guarded
    async def CompleteTask(self, request: be.CompleteTaskRequest, context: Any) -> pb.Result:
        if not request.HasField("task_result"):
            raise InvalidArgument("task result is missing")
        result = request.task_result
        _, slot = self._slot(request.executor_id)
        await slot.complete(
            result.return_code,
            result.output if result.HasField("output") else None,
            result.message if result.HasField("message") else None,
        )
        return pb.Result(return_code=0)


async def _forward(changes: asyncio.Queue[m.ExecutorInfo], out: asyncio.Queue[be.WatchNodeResponse | None]) -> None:
    while True:
        out.put_nowait(be.WatchNodeResponse(executor=convert.executor(await changes.get())))
