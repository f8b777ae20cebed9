"""The states of everything, numbered as `flame.v1` numbers them where it does."""

from __future__ import annotations

from enum import IntEnum


class SessionState(IntEnum):
    OPEN = 0
    CLOSED = 1


class TaskState(IntEnum):
    PENDING = 0
    RUNNING = 1
    SUCCEED = 2
    FAILED = 3
    CANCELLED = 4


class ExecutorState(IntEnum):
    UNKNOWN = 0
    VOID = 1
    IDLE = 2
    BINDING = 3
    BOUND = 4
    UNBINDING = 5
    RELEASING = 6
    RELEASED = 7


class NodeState(IntEnum):
    UNKNOWN = 0
    READY = 1
    NOT_READY = 2


class PlacementState(IntEnum):
    RESERVED = 0
    STARTING = 1
    RUNNING = 2
    DRAINING = 3
    GONE = 4


class ClaimState(IntEnum):
    REQUESTED = 0
    PENDING = 1
    GRANTED = 2
    DENIED = 3
    REVOKED = 4


class ResultCode(IntEnum):
    """One byte a task in a Completed or Results frame."""

    SUCCEED = 0
    FAILED = 1
    RETRY = 2
    """Failed, and the executor's retry predicate says another attempt may help."""
    CANCELLED = 3
