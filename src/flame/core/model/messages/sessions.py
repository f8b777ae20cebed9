"""Client to session manager: sessions, applications, and how the cluster is."""

from __future__ import annotations

from flame.core.model.messages.base import Message
from flame.core.model.messages.nouns import (
    AppInfo,
    AppSpec,
    EventInfo,
    ExecutorInfo,
    NodeInfo,
    SessionInfo,
    SessionSpec,
)


class OpenSession(Message):
    """`mode`: create (the id must be new), open (must exist) or either. Answer: SessionInfo."""

    id: str
    spec: SessionSpec | None
    mode: str = "create"
    owned: bool = False  # closes when the owner is gone for owner_grace


class CloseSession(Message):
    """`mode`: strict (an error while tasks run), drain (Pending cancelled, running finish), finish (everything finishes first) or
    cancel (running tasks are cancelled too). Answer: SessionInfo, once closed."""

    id: str
    mode: str = "drain"


class DeleteSession(Message):
    id: str


class GetSession(Message):
    id: str  # an id or a numeric alias


class ListSessions(Message):
    pass


class SessionList(Message):
    sessions: tuple[SessionInfo, ...]


class RegisterApp(Message):
    name: str
    spec: AppSpec
    if_absent: bool = False


class UpdateApp(Message):
    name: str
    spec: AppSpec


class UnregisterApp(Message):
    name: str


class GetApp(Message):
    name: str


class ListApps(Message):
    pass


class AppList(Message):
    apps: tuple[AppInfo, ...]


class ListNodes(Message):
    pass


class NodeList(Message):
    nodes: tuple[NodeInfo, ...]


class ListExecutors(Message):
    pass


class ExecutorList(Message):
    executors: tuple[ExecutorInfo, ...]


class GetStatus(Message):
    pass


class Status(Message):
    release: str
    epoch: int
    history: str
    durability: str
    started: float
    sessions_open: int
    sessions_closed: int
    pending: int
    running: int
    nodes_ready: int
    nodes: int
    executors: int
    storage: str  # ok, or why the store cannot write
    allocator: bool  # is the allocator connected
    memory: int = 0  # resident bytes of the session manager


class Explain(Message):
    """Why does `object` (a session, or session/task) wait? Answer: Explanation."""

    object: str


class Explanation(Message):
    object: str
    reasons: tuple[EventInfo, ...]


class WhoAmI(Message):
    """Answer: Identity."""
