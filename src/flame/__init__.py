"""Flame: an elastic engine for AI work.

    import flame

    @flame.task
    def square(x): return x * x

    print(sum(square.map(range(1000))))

Names are loaded on first use: importing this module loads no event loop, no protobuf and no grpc.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flame.version import __version__

_HOME = {
    "connect": "flame.sdk.connect",
    "default_client": "flame.sdk.connect",
    "Client": "flame.sdk.client",
    "Session": "flame.sdk.session",
    "Future": "flame.sdk.future",
    "FlameService": "flame.sdk.service",
    "SessionContext": "flame.sdk.service",
    "TaskContext": "flame.sdk.service",
    "run": "flame.sdk.serve",
    "task": "flame.sdk.tasks",
    "current_task": "flame.sdk.tasks",
    "FlameExecutor": "flame.sdk.pool",
    "AppSpec": "flame.core.model.messages",
} | {
    name: "flame.core.base.errors"
    for name in (
        "FlameError", "InvalidArgument", "SpecMismatch", "PayloadTooLarge", "Unpicklable", "PythonMismatch", "InvalidState",
        "SessionClosed", "SessionBusy", "AppInUse", "NotFound", "AlreadyExists", "Unimplemented", "Unauthenticated",
        "PermissionDenied", "Exhausted", "StorageFull", "StorageCorrupt", "Unavailable", "NoCluster", "ProtocolError",
        "VersionMismatch", "HistoryLost", "WouldBlock", "ClientForked", "PortTaken", "DataDirLocked", "TaskError", "TaskFailed",
        "TaskTimeout", "TaskCancelled", "WorkerDied", "ServiceFailed",
    )
}  # fmt: skip

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from flame.core.base.errors import *  # noqa: F403
    from flame.core.model.messages import AppSpec
    from flame.sdk.client import Client
    from flame.sdk.connect import connect, default_client
    from flame.sdk.future import Future
    from flame.sdk.pool import FlameExecutor
    from flame.sdk.serve import run
    from flame.sdk.service import FlameService, SessionContext, TaskContext
    from flame.sdk.session import Session
    from flame.sdk.tasks import current_task, task


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        if name == "aio":
            return importlib.import_module("flame.aio")
        raise AttributeError(f"module 'flame' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
