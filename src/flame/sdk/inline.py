"""FLAME_SYNC=1: sessions whose tasks run in the caller, where a debugger sees them. No cluster, no processes, no record."""

from __future__ import annotations

import importlib
import secrets
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from flame.core.base.errors import AlreadyExists, NotFound, SessionClosed, TaskFailed
from flame.core.base.ids import session_id
from flame.core.model.messages import AppSpec
from flame.sdk import current
from flame.sdk.client import Client
from flame.sdk.future import Future
from flame.sdk.service import FlameService, SessionContext, TaskContext

_BUILT_IN = {"flmping": "flame.apps.ping:PingService", "flmexec": "flame.apps.exec:ExecService"}


class InlineSession:
    """Runs a task when it is submitted."""

    def __init__(self, id: str, app: str, service: FlameService, common_data: bytes | None) -> None:
        self.id, self.service = id, service
        self.context = SessionContext(id, app, common_data)
        self.count = 0
        self.closed = False
        current.session = self.context
        service.on_session_enter(self.context)

    def run(self, input: bytes | None = None) -> Future:
        if self.closed:
            raise SessionClosed(f"session {self.id} is not open")
        self.count += 1
        future = Future()
        ctx = current.task = TaskContext(self.count, 1, input, self.context)
        try:
            future.set_result(self.service.on_task_invoke(ctx))
        except Exception as error:
            failed = TaskFailed(
                f"{type(error).__name__}: {error}", session=self.id, no=self.count, kind=type(error).__name__
            )
            failed.__cause__ = error
            future.set_exception(failed)
        finally:
            current.task = None
        return future

    def invoke(self, input: bytes | None = None, timeout: float | None = None) -> Any:
        return self.run(input).result()

    def map(self, inputs: Iterable[bytes | None], **_: Any) -> Iterator[Any]:
        return (self.run(i).result() for i in inputs)

    def flush(self, timeout: float | None = None) -> None: ...

    def close(self, mode: str = "drain", timeout: float | None = None) -> None:
        if not self.closed:
            self.closed = True
            self.service.on_session_leave()

    def __enter__(self) -> InlineSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InlineClient(Client):
    """What `flame.connect` returns under FLAME_SYNC=1."""

    def __init__(self) -> None:
        self.endpoint, self.private = "inline", None
        self.apps: dict[str, AppSpec] = {}

    def register(
        self,
        name: str,
        spec: AppSpec | None = None,
        *,
        service: str | None = None,
        path: str = ".",
        if_absent: bool = False,
        **_: Any,
    ) -> None:
        if name in self.apps and not if_absent:
            raise AlreadyExists(f"application {name} already exists")
        self.apps[name] = spec or AppSpec(environments={"FLAME_SERVICE": service or "", "FLAME_SERVICE_PATH": path})

    def session(self, app: Any, *, id: str | None = None, common_data: bytes | None = None, **_: Any) -> Any:
        if not isinstance(app, str):
            return InlineSession(id or session_id(app.__name__, secrets.randbelow), app.__name__, app(), common_data)
        spec = self.apps.get(app)
        target = spec.environments.get("FLAME_SERVICE", "") if spec else _BUILT_IN.get(app, "")
        if not target:
            raise NotFound(
                f"application {app!r} not found here", hint="FLAME_SYNC=1 runs services that this process registered"
            )
        path = spec.environments.get("FLAME_SERVICE_PATH", ".") if spec else "."
        if path not in sys.path:
            sys.path.insert(0, path)
        module, _colon, name = target.partition(":")
        return InlineSession(
            id or session_id(app, secrets.randbelow), app, getattr(importlib.import_module(module), name)(), common_data
        )

    def close(self) -> None: ...
