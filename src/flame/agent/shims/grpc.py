"""The gRPC shim: a program that serves `flame.v1.Instance` on a unix socket, as a service of the executor.

One call at a time: enter, invoke again and again, leave. A program that dies under a task takes its executor with it: the engine then
counts the loss, tells signal and last lines, and tries the task elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Services are forked only to be executed: threads that gRPC starts again in the fork would be in the way of that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from flame.agent.shims.environment import plan
from flame.agent.shims.process import ServiceProcess
from flame.core.base.errors import PayloadTooLarge, ServiceFailed, TaskFailed
from flame.core.model import messages as m
from flame.ops import limits
from flame.sdk.service import FlameService, SessionContext, TaskContext
from flame.wire.v1 import shim_pb2 as pb
from flame.wire.v1 import types_pb2
from flame.wire.v1.shim_pb2_grpc import InstanceStub

START_SECONDS = 60.0
"""To listen and speak gRPC; importing a large client library takes several."""
ENTER_SECONDS = 60.0
LEAVE_SECONDS = 10.0
PAYLOAD_LIMIT = 4 * 1024 * 1024 - 64 * 1024
"""gRPC servers take messages of 4 MiB unless they say otherwise."""
LOOK_SECONDS = 0.05
"""Between looks at whether the task is cancelled."""
OPTIONS = (
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


class GrpcShim(FlameService):
    """Made where the service is created, so that a program that cannot start is a failed creation, not a failed enter."""

    def __init__(self, enter: m.Enter) -> None:
        made = plan(os.environ.get("FLAME_EXECUTOR_ID", "executor"), enter.app, enter.spec)
        limit = limits.limit(limits.START, START_SECONDS)
        deadline = time.monotonic() + limit
        self._process = ServiceProcess(made)
        self._channel = grpc.insecure_channel(f"unix://{made.socket}", options=OPTIONS)
        self._stub: Any = InstanceStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            self._process.wait_until_listening(deadline, limit)
            self._wait_until_ready(deadline)
        except BaseException:
            self._end()
            raise

    def _wait_until_ready(self, deadline: float) -> None:
        ready = grpc.channel_ready_future(self._channel)
        while True:
            try:
                ready.result(timeout=2 * LOOK_SECONDS)
                return
            except grpc.FutureTimeoutError:
                self._process.refuse_the_dead()
                if time.monotonic() > deadline:
                    raise ServiceFailed(f"the service listens but does not speak gRPC{self._process.said()}") from None

    def on_session_enter(self, ctx: SessionContext) -> None:
        request = pb.SessionContext(session_id=ctx.session_id, application=application(ctx))
        if ctx.common_data is not None:
            request.common_data = ctx.common_data
        seconds = limits.limit(limits.ENTER, ENTER_SECONDS)
        try:
            result = self._stub.OnSessionEnter(request, timeout=seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._end()
                text = f"the service hung: OnSessionEnter did not return within {seconds:g} s{self._process.said()}"
                raise ServiceFailed(text) from None
            died = self._has_died(error)
            words = self._process.said() if died else ""
            self.on_session_leave()
            raise ServiceFailed(f"{_said(error)}{words}") from None
        if result.return_code:
            self.on_session_leave()  # as published: after a failed enter it is still asked to leave
            raise ServiceFailed(result.message or f"the service returned {result.return_code}")

    def on_task_invoke(self, ctx: TaskContext) -> bytes | None:
        request = pb.TaskContext(task_id=ctx.task_id, session_id=ctx.session_id)
        if ctx.input is not None:
            if len(ctx.input) > PAYLOAD_LIMIT:
                raise PayloadTooLarge(
                    f"an input of {len(ctx.input):,} bytes; a gRPC service takes at most {PAYLOAD_LIMIT:,}"
                )
            request.input = ctx.input
        call = self._stub.OnTaskInvoke.future(request)
        while True:
            try:
                result = call.result(timeout=LOOK_SECONDS)
                break
            except grpc.FutureTimeoutError:
                if ctx.cancelled:
                    call.cancel()
            except grpc.FutureCancelledError:
                raise TaskFailed("the call was cancelled") from None
            except grpc.RpcError as error:
                if self._has_died(error):
                    self._process.follow()
                raise TaskFailed(_said(error)) from None
        if result.return_code:
            raise TaskFailed(
                result.message or f"the service returned {result.return_code}", return_code=result.return_code
            )
        return bytes(result.output) if result.HasField("output") else None

    def on_session_leave(self) -> None:
        if self._process.exit_code is None:
            with contextlib.suppress(grpc.RpcError):  # it is ended anyway
                self._stub.OnSessionLeave(types_pb2.EmptyRequest(), timeout=limits.limit(limits.LEAVE, LEAVE_SECONDS))
        self._end()

    def _has_died(self, error: grpc.RpcError) -> bool:
        """A broken connection is told before the end of the process is: a core dump takes a while."""
        broken = error.code() is grpc.StatusCode.UNAVAILABLE
        return self._process.settled(3.0 if broken else 0.02) is not None

    def _end(self) -> None:
        self._channel.close()
        self._process.stop()


def application(ctx: SessionContext) -> pb.ApplicationContext:
    """The application as registered, not as expanded."""
    shim = types_pb2.Shim.Name(ctx.spec.shim if ctx.spec is not None else types_pb2.Host)
    found = pb.ApplicationContext(name=ctx.application, shim=shim)
    if ctx.spec is not None:
        for name in ("image", "command", "working_directory", "url", "installer"):
            if (text := getattr(ctx.spec, name)) is not None:
                setattr(found, name, text)
    return found


def _said(error: grpc.RpcError) -> str:
    """The status text of a failed call."""
    return str(error.details() or error.code().name)
