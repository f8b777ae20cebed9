"""`flame.run(service)`: serve a FlameService from a process of its own.

For applications whose command is a Python program: the agent starts it with `FLAME_INSTANCE_ENDPOINT`, and it serves gRPC
`flame.v1.Instance` there until it is ended.
"""

from __future__ import annotations

import os
import threading
from concurrent import futures
from typing import Any

from flame.core.base.errors import InvalidArgument, TaskError
from flame.core.model.messages import AppSpec
from flame.sdk.service import FlameService, SessionContext, TaskContext


def run(service: FlameService) -> None:
    """Serve until the process is ended. Raises InvalidArgument where no agent started it."""
    endpoint = os.environ.get("FLAME_INSTANCE_ENDPOINT")
    if not endpoint:
        raise InvalidArgument(
            "FLAME_INSTANCE_ENDPOINT is not set: flame.run is for programs that an agent starts",
            hint="register this program with `flmctl register`, or pass the class to client.session()",
        )
    import grpc

    from flame.wire.v1 import shim_pb2_grpc

    server = grpc.server(
        futures.ThreadPoolExecutor(4), options=(("grpc.max_receive_message_length", 64 * 1024 * 1024),)
    )
    shim_pb2_grpc.add_InstanceServicer_to_server(_instance(service), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"unix://{endpoint}")
    server.start()
    server.wait_for_termination()


def _instance(service: FlameService) -> Any:
    from flame.wire.v1 import shim_pb2_grpc, types_pb2

    class Instance(shim_pb2_grpc.InstanceServicer):
        """Calls come one at a time; the lock says so to anybody else."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.session: SessionContext | None = None

        def OnSessionEnter(self, request: Any, context: Any) -> Any:  # noqa: N802
            app = request.application
            common = request.common_data if request.HasField("common_data") else None
            self.session = SessionContext(
                request.session_id, app.name, common, AppSpec(shim=app.shim, command=app.command)
            )
            return self._guard(types_pb2.Result, lambda: service.on_session_enter(self.session))

        def OnTaskInvoke(self, request: Any, context: Any) -> Any:  # noqa: N802
            assert self.session is not None, "invoked before enter"
            given = request.input if request.HasField("input") else None
            ctx = TaskContext(int(request.task_id), 1, given, self.session, lambda: not context.is_active())
            return self._guard(types_pb2.TaskResult, lambda: service.on_task_invoke(ctx))

        def OnSessionLeave(self, request: Any, context: Any) -> Any:  # noqa: N802
            return self._guard(types_pb2.Result, service.on_session_leave)

        def _guard(self, answer: Any, call: Any) -> Any:
            with self.lock:
                try:
                    output = call()
                except TaskError as error:  # says itself what to return, as where the executor runs the service
                    return answer(return_code=error.return_code or -1, message=error.message)
                except Exception as error:
                    return answer(return_code=-1, message=f"{type(error).__name__}: {error}")
            if output is None:
                return answer(return_code=0)
            return answer(return_code=0, output=output)

    return Instance()
