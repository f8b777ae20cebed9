"""`flame.v1.Frontend`: what published clients ask, on the same state as the task plane.

Where the published behaviour is a known defect the better answer is given: unknown ids in WatchTask are NOT_FOUND, the terminal update
carries the task's events, lists of tasks are in order.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any

from flame.core.base.errors import (
    FlameError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    SessionBusy,
    SessionClosed,
    Unauthenticated,
)
from flame.core.base.ids import check_app_name, check_session_id
from flame.core.model import messages as m
from flame.core.model.states import TaskState
from flame.manager.desk import Desk
from flame.manager.grpc.callers import Callers
from flame.manager.grpc.errors import guarded, guarded_stream
from flame.manager.schema import check_schemas
from flame.shell.gate import Gate
from flame.wire import convert
from flame.wire.v1 import frontend_pb2 as fe
from flame.wire.v1 import frontend_pb2_grpc
from flame.wire.v1 import types_pb2 as pb

PAGE = 128
"""Tasks read at a time by ListTask."""
LIST_BYTES = 3 * 1024 * 1024
"""A longer ListSession leaves out common data: clients take messages of 4 MiB."""


class Frontend(frontend_pb2_grpc.FrontendServicer):
    """`gate`: who comes this way."""

    def __init__(self, desk: Desk, gate: Gate) -> None:
        self._callers = Callers(desk, gate)

    def close(self) -> None:
        self._callers.close()

    # -- applications ---------------------------------------------------------------------------------------------

    @guarded
    async def RegisterApplication(self, request: fe.RegisterApplicationRequest, context: Any) -> pb.Result:
        spec = checked_spec(request)
        return await self._result(context, request.name, m.RegisterApp(request.name, spec))

    @guarded
    async def UpdateApplication(self, request: fe.UpdateApplicationRequest, context: Any) -> pb.Result:
        spec = checked_spec(request)
        return await self._result(context, request.name, m.UpdateApp(request.name, spec))

    @guarded
    async def UnregisterApplication(self, request: fe.UnregisterApplicationRequest, context: Any) -> pb.Result:
        return await self._result(context, None, m.UnregisterApp(request.name))

    async def _result(self, context: Any, name: str | None, message: m.Message) -> pb.Result:
        """These three tell failures in the result, not in the status; but not who is not let in."""
        caller = await self._callers.of(context)
        try:
            if name is not None:
                check_app_name(name)
            await caller.ask(message, m.Message)
        except (Unauthenticated, PermissionDenied):
            raise
        except FlameError as error:
            return pb.Result(return_code=-1, message=error.message)
        return pb.Result(return_code=0)

    @guarded
    async def GetApplication(self, request: fe.GetApplicationRequest, context: Any) -> pb.Application:
        return convert.application(await (await self._callers.of(context)).ask(m.GetApp(request.name), m.AppInfo))

    @guarded
    async def ListApplication(self, request: fe.ListApplicationRequest, context: Any) -> pb.ApplicationList:
        found = await (await self._callers.of(context)).ask(m.ListApps(), m.AppList)
        return pb.ApplicationList(applications=map(convert.application, found.apps))

    # -- nodes and executors --------------------------------------------------------------------------------------

    @guarded
    async def ListExecutor(self, request: fe.ListExecutorRequest, context: Any) -> pb.ExecutorList:
        found = await (await self._callers.of(context)).ask(m.ListExecutors(), m.ExecutorList)
        return pb.ExecutorList(executors=map(convert.executor, found.executors))

    @guarded
    async def ListNodes(self, request: fe.ListNodesRequest, context: Any) -> pb.NodeList:
        found = await (await self._callers.of(context)).ask(m.ListNodes(), m.NodeList)
        return pb.NodeList(nodes=map(convert.node, found.nodes))

    @guarded
    async def GetNode(self, request: fe.GetNodeRequest, context: Any) -> fe.GetNodeResponse:
        found = await (await self._callers.of(context)).ask(m.ListNodes(), m.NodeList)
        for node in found.nodes:
            if node.name == request.name:
                return fe.GetNodeResponse(node=convert.node(node))
        raise NotFound(f"node <{request.name[:128]}> not found", hint="flmctl list -n shows the nodes")

    # -- sessions -------------------------------------------------------------------------------------------------

    @guarded
    async def CreateSession(self, request: fe.CreateSessionRequest, context: Any) -> pb.Session:
        if not request.HasField("session"):
            raise InvalidArgument("session spec is missing")
        spec = convert.to_session_spec(request.session)
        return await self._opened(context, m.OpenSession(check_session_id(request.session_id), spec, mode="create"))

    @guarded
    async def OpenSession(self, request: fe.OpenSessionRequest, context: Any) -> pb.Session:
        id = check_session_id(request.session_id)
        if not request.HasField("session"):
            return await self._opened(context, m.OpenSession(id, None, mode="open"))
        return await self._opened(context, m.OpenSession(id, convert.to_session_spec(request.session), mode="either"))

    async def _opened(self, context: Any, message: m.OpenSession) -> pb.Session:
        try:
            return convert.session(await (await self._callers.of(context)).ask(message, m.SessionInfo))
        except SessionClosed as error:
            # Published clients look for these words, here and below.
            text = error.message if "not open" in error.message else f"session <{message.id}> is not open"
            raise SessionClosed(text, hint=error.hint) from error
        except NotFound as error:
            text = error.message if "not found" in error.message.lower() else f"{error.message}: not found"
            raise NotFound(text, hint=error.hint) from error

    @guarded
    async def CloseSession(self, request: fe.CloseSessionRequest, context: Any) -> pb.Session:
        try:
            found = await (await self._callers.of(context)).ask(
                m.CloseSession(request.session_id, mode="strict"), m.SessionInfo
            )
        except SessionBusy as error:
            raise SessionBusy(
                f"Cannot close session with running tasks: {request.session_id}", hint=error.hint
            ) from error
        return convert.session(found)

    @guarded
    async def DeleteSession(self, request: fe.DeleteSessionRequest, context: Any) -> pb.Session:
        before = await (await self._callers.of(context)).ask(m.GetSession(request.session_id), m.SessionInfo)
        found = await (await self._callers.of(context)).ask(m.DeleteSession(before.id), m.Message)
        return convert.session(found if isinstance(found, m.SessionInfo) else before)

    @guarded
    async def GetSession(self, request: fe.GetSessionRequest, context: Any) -> pb.Session:
        return convert.session(
            await (await self._callers.of(context)).ask(m.GetSession(request.session_id), m.SessionInfo), events=True
        )

    @guarded
    async def ListSession(self, request: fe.ListSessionRequest, context: Any) -> pb.SessionList:
        found = await (await self._callers.of(context)).ask(m.ListSessions(), m.SessionList)
        sessions = [convert.session(info, events=True) for info in found.sessions]
        if sum(len(session.spec.common_data) + 256 for session in sessions) > LIST_BYTES:
            for session in sessions:
                session.spec.ClearField("common_data")
        return pb.SessionList(sessions=sessions)

    # -- tasks ----------------------------------------------------------------------------------------------------

    @guarded
    async def CreateTask(self, request: fe.CreateTaskRequest, context: Any) -> pb.Task:
        if not request.HasField("task"):
            raise InvalidArgument("task spec is missing")
        spec = request.task
        payload = spec.input if spec.HasField("input") else None
        no = await (await self._callers.of(context)).intake.submit(spec.session_id, payload)
        return convert.task(m.TaskInfo(spec.session_id, no, TaskState.PENDING, 1, time.time(), None, payload, None))

    @guarded
    async def GetTask(self, request: fe.GetTaskRequest, context: Any) -> pb.Task:
        no = convert.to_task_no(request.task_id)
        return convert.task(await (await self._callers.of(context)).ask(m.GetTask(request.session_id, no), m.TaskInfo))

    @guarded_stream
    async def WatchTask(self, request: fe.WatchTaskRequest, context: Any) -> AsyncIterator[pb.Task]:
        no = convert.to_task_no(request.task_id)
        watch = await (await self._callers.of(context)).watch(request.session_id, no)
        try:
            while True:
                task = await watch.next()
                yield convert.task(task)
                if task.state >= TaskState.SUCCEED:
                    return
        finally:
            watch.close()

    @guarded_stream
    async def ListTask(self, request: fe.ListTaskRequest, context: Any) -> AsyncIterator[pb.Task]:
        start = 1
        while start:
            page = await (await self._callers.of(context)).ask(m.ListTasks(request.session_id, start, PAGE), m.TaskList)
            for task in page.tasks:
                yield convert.task(task)
            start = page.next


def checked_spec(request: fe.RegisterApplicationRequest | fe.UpdateApplicationRequest) -> m.AppSpec:
    """The application of a request. Raises InvalidArgument, the only failures of these calls that are statuses."""
    if not request.HasField("application"):
        raise InvalidArgument("application spec is missed")
    spec = convert.to_app_spec(request.application)
    directory = spec.working_directory
    if directory and not PurePosixPath(directory).is_absolute():
        raise InvalidArgument(f"working_directory must be absolute, found <{directory[:256]}>")
    check_schemas(spec)
    return spec
