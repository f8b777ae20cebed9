"""Writing a service: three methods, one process per session.

    class Greeter(flame.FlameService):
        def on_session_enter(self, ctx): self.greeting = (ctx.common_data or b"hello").decode()
        def on_task_invoke(self, ctx): return f"{self.greeting} {ctx.input.decode()}".encode()

A service object is made once per executor process, enters one session, and gets its tasks one at a time. What it keeps in `self` (a
connection, a model) is there for every task of the session and for nobody else.
"""

from __future__ import annotations

from typing import Any

from flame.core.model.messages import AppSpec


class SessionContext:
    """What a service learns when it enters a session.

    session_id: text; application: name; common_data: bytes the session was created with, or None; spec: how the application is registered;
    resources: what one executor has (milli-CPU, bytes, milli-GPU)
    """

    __slots__ = ("application", "common_data", "resources", "session_id", "spec")

    def __init__(
        self,
        session_id: str,
        application: str,
        common_data: bytes | None,
        spec: AppSpec | None = None,
        resources: Any = None,
    ) -> None:
        self.session_id, self.application, self.common_data = session_id, application, common_data
        self.spec, self.resources = spec, dict(resources or {})


class TaskContext:
    """One task.

    task_no: 1.. in its session; attempt: 1, or more when it was started before and lost or retried; input: bytes or None
    """

    __slots__ = ("_cancelled", "attempt", "input", "session", "task_no")

    def __init__(
        self, task_no: int, attempt: int, input: bytes | None, session: SessionContext, cancelled: Any = None
    ) -> None:
        self.task_no, self.attempt, self.input, self.session, self._cancelled = (
            task_no,
            attempt,
            input,
            session,
            cancelled,
        )

    @property
    def task_id(self) -> str:
        return str(self.task_no)

    @property
    def session_id(self) -> str:
        return self.session.session_id

    @property
    def common_data(self) -> bytes | None:
        return self.session.common_data

    @property
    def cancelled(self) -> bool:
        """Has somebody asked this task to stop? A long task looks now and then, and returns; else its process is ended after a grace."""
        return bool(self._cancelled is not None and self._cancelled())


class FlameService:
    """Base of services. Every method may raise: entering then fails the bind, invoking fails the task."""

    def on_session_enter(self, ctx: SessionContext) -> None:
        """Once, before the first task."""

    def on_task_invoke(self, ctx: TaskContext) -> bytes | None:
        """One task: returns its output (bytes, at most 64 MiB) or None."""
        raise NotImplementedError(f"{type(self).__name__} has no on_task_invoke")

    def on_session_leave(self) -> None:
        """Once, when the executor leaves the session: at its close, at scale-in, at shutdown. Not after a kill."""
