"""Session manager and allocator."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.model.messages.base import Message
from flame.core.model.messages.nouns import AppSpec, EventInfo, ExecutorInfo, NodeInfo


class DemandChanged(Message):
    """What a session wants placed. `want`: executors it could use now (outstanding tasks, rounded up above 16); `idle`: bound executors
    waiting for a task; `hold`: no new executors (bind failures reached the limit)."""

    session: str
    app: str
    app_spec: AppSpec
    resources: Mapping[str, int]
    want: int
    idle: int
    min_instances: int
    max_instances: int | None
    priority: int
    created: float
    weight: int = 1
    hold: bool = False
    tenant: str = "default"
    namespace: str = "default"
    common_digest: str = ""


class DemandGone(Message):
    """The session is closed: drain what it has."""

    session: str


class ExecutorChanged(Message):
    """How the manager sees a placement: a lifecycle ExecutorState, whether it waits for a task, whether it lent its slot."""

    placement: str
    session: str
    state: int
    idle: bool = False
    lent: bool = False


class KillExecutor(Message):
    """End the process of this placement now (a task timeout, a forced cancel)."""

    placement: str
    reason: str


class Granted(Message):
    """A placement was made for a session; its executor will connect with `token`."""

    placement: str
    session: str
    node: str
    token: str
    resources: Mapping[str, int] = {}


class DrainExecutor(Message):
    """Let this executor leave at its next task boundary."""

    placement: str
    reason: str


class PlacementGone(Message):
    """The process of a placement ended. `current`: the run of the task it was executing, or (). `log`: last lines of stderr and stdout."""

    placement: str
    session: str
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    current: tuple[int, ...] = ()
    log: str = ""


class ClusterChanged(Message):
    """The allocator's whole view, for lists."""

    nodes: tuple[NodeInfo, ...]
    executors: tuple[ExecutorInfo, ...]


class Reasons(Message):
    """Why a session's demand is not (fully) placed; empty when it is."""

    session: str
    reasons: tuple[EventInfo, ...]


class ManagerJoined(Message):
    """A session manager on its connection to the allocator: where executors reach its plane, and what it knows to run."""

    address: str
    epoch: int
    placements: tuple[str, ...] = ()
    shard: int = 0  # of several; one that takes over from another has its number and a later epoch
