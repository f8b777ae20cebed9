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

_HOME: dict[str, str] = {
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
} | dict.fromkeys(
    (
        "FlameError", "InvalidArgument", "SpecMismatch", "PayloadTooLarge", "Unpicklable", "PythonMismatch", "InvalidState",
        "SessionClosed", "SessionBusy", "AppInUse", "NotFound", "AlreadyExists", "Unimplemented", "Unauthenticated",
        "PermissionDenied", "Exhausted", "StorageFull", "StorageUnreachable", "StorageCorrupt", "Unavailable", "NoCluster",
        "ProtocolError", "VersionMismatch", "HistoryLost", "WouldBlock", "ClientForked", "PortTaken", "DataDirLocked",
        "TaskError", "TaskFailed", "TaskTimeout", "TaskCancelled", "WorkerDied", "ServiceFailed",
    ),
    "flame.core.base.errors",
)  # fmt: skip

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    # "X as X": exported, for type checkers.
    from flame.core.base.errors import AlreadyExists as AlreadyExists
    from flame.core.base.errors import AppInUse as AppInUse
    from flame.core.base.errors import ClientForked as ClientForked
    from flame.core.base.errors import DataDirLocked as DataDirLocked
    from flame.core.base.errors import Exhausted as Exhausted
    from flame.core.base.errors import FlameError as FlameError
    from flame.core.base.errors import HistoryLost as HistoryLost
    from flame.core.base.errors import InvalidArgument as InvalidArgument
    from flame.core.base.errors import InvalidState as InvalidState
    from flame.core.base.errors import NoCluster as NoCluster
    from flame.core.base.errors import NotFound as NotFound
    from flame.core.base.errors import PayloadTooLarge as PayloadTooLarge
    from flame.core.base.errors import PermissionDenied as PermissionDenied
    from flame.core.base.errors import PortTaken as PortTaken
    from flame.core.base.errors import ProtocolError as ProtocolError
    from flame.core.base.errors import PythonMismatch as PythonMismatch
    from flame.core.base.errors import ServiceFailed as ServiceFailed
    from flame.core.base.errors import SessionBusy as SessionBusy
    from flame.core.base.errors import SessionClosed as SessionClosed
    from flame.core.base.errors import SpecMismatch as SpecMismatch
    from flame.core.base.errors import StorageCorrupt as StorageCorrupt
    from flame.core.base.errors import StorageFull as StorageFull
    from flame.core.base.errors import StorageUnreachable as StorageUnreachable
    from flame.core.base.errors import TaskCancelled as TaskCancelled
    from flame.core.base.errors import TaskError as TaskError
    from flame.core.base.errors import TaskFailed as TaskFailed
    from flame.core.base.errors import TaskTimeout as TaskTimeout
    from flame.core.base.errors import Unauthenticated as Unauthenticated
    from flame.core.base.errors import Unavailable as Unavailable
    from flame.core.base.errors import Unimplemented as Unimplemented
    from flame.core.base.errors import Unpicklable as Unpicklable
    from flame.core.base.errors import VersionMismatch as VersionMismatch
    from flame.core.base.errors import WorkerDied as WorkerDied
    from flame.core.base.errors import WouldBlock as WouldBlock
    from flame.core.model.messages import AppSpec as AppSpec
    from flame.sdk.client import Client as Client
    from flame.sdk.connect import connect as connect
    from flame.sdk.connect import default_client as default_client
    from flame.sdk.future import Future as Future
    from flame.sdk.pool import FlameExecutor as FlameExecutor
    from flame.sdk.serve import run as run
    from flame.sdk.service import FlameService as FlameService
    from flame.sdk.service import SessionContext as SessionContext
    from flame.sdk.service import TaskContext as TaskContext
    from flame.sdk.session import Session as Session
    from flame.sdk.tasks import current_task as current_task
    from flame.sdk.tasks import task as task


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
