"""The life of everything, as tables: (state, command) -> state.

A step that a table does not have is an InvalidState which says what can happen instead. The diagrams in the documentation are
rendered from these tables (`Machine.diagram`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Generic, TypeVar

from flame.core.base.errors import InvalidState
from flame.core.model.states import (
    ClaimState,
    ExecutorState,
    NodeState,
    PlacementState,
    SessionState,
    TaskState,
)

S = TypeVar("S", bound=IntEnum)


class Machine(Generic[S]):
    """One lifecycle. Immutable; the states live in whatever goes through it."""

    def __init__(self, name: str, initial: S, table: Mapping[tuple[S, str], S]) -> None:
        self.name = name
        self.initial = initial
        self.table = dict(table)

    def step(self, state: S, command: str) -> S:
        """The state after `command`. Raises InvalidState, naming the state first and then what it allows."""
        after = self.table.get((state, command))
        if after is None:
            allowed = ", ".join(self.allowed(state)) or "nothing: it is over"
            raise InvalidState(
                f"{self.name.capitalize()} is {words(state)}: cannot {command.replace('_', ' ')}",
                hint=f"possible now: {allowed}",
            )
        return after

    def can(self, state: S, command: str) -> bool:
        return (state, command) in self.table

    def allowed(self, state: S) -> list[str]:
        """The commands that `state` takes, in the order of the table."""
        return [command for before, command in self.table if before == state]

    def reaches(self, before: S, after: S) -> bool:
        """Is there one arrow from `before` to `after`? Staying where one is always counts."""
        return before == after or any(b == before and a == after for (b, _), a in self.table.items())

    def diagram(self) -> str:
        """The table as a mermaid state diagram; arrows between the same two states share a line."""
        arrows: dict[tuple[S, S], list[str]] = {}
        for (before, command), after in self.table.items():
            arrows.setdefault((before, after), []).append(command)
        lines = ["stateDiagram-v2", f"    [*] --> {_title(self.initial)}"]
        for (before, after), commands in arrows.items():
            lines.append(f"    {_title(before)} --> {_title(after)}: {', '.join(commands)}")
        states = list(dict.fromkeys([self.initial, *self.table.values()]))
        lines += [f"    {_title(state)} --> [*]" for state in states if not self.allowed(state)]
        return "\n".join(lines) + "\n"


def words(state: IntEnum) -> str:
    """A state as people read it: `not ready`."""
    return state.name.lower().replace("_", " ")


def _title(state: IntEnum) -> str:
    return state.name.title().replace("_", "")


S_, T, E, N, P, C = SessionState, TaskState, ExecutorState, NodeState, PlacementState, ClaimState

SESSION: Machine[SessionState] = Machine("session", S_.OPEN, {(S_.OPEN, "close"): S_.CLOSED})

TASK: Machine[TaskState] = Machine(
    "task",
    T.PENDING,
    {
        (T.PENDING, "start"): T.RUNNING,
        (T.RUNNING, "requeue"): T.PENDING,
        # A short task ends before its start was worth a message, so Pending may end directly.
        (T.PENDING, "succeed"): T.SUCCEED,
        (T.RUNNING, "succeed"): T.SUCCEED,
        (T.PENDING, "fail"): T.FAILED,
        (T.RUNNING, "fail"): T.FAILED,
        (T.PENDING, "cancel"): T.CANCELLED,
        (T.RUNNING, "cancel"): T.CANCELLED,
    },
)

EXECUTOR: Machine[ExecutorState] = Machine(
    "executor",
    E.VOID,
    {
        (E.VOID, "register"): E.IDLE,
        (E.IDLE, "bind"): E.BINDING,
        (E.IDLE, "release"): E.RELEASING,
        (E.BINDING, "bound"): E.BOUND,
        (E.BINDING, "bind_failed"): E.UNBINDING,
        (E.BINDING, "unbind"): E.UNBINDING,
        (E.BINDING, "unbound"): E.IDLE,
        (E.BINDING, "unregister"): E.RELEASED,
        (E.BOUND, "launch"): E.BOUND,
        (E.BOUND, "complete"): E.BOUND,
        (E.BOUND, "unbind"): E.UNBINDING,
        (E.UNBINDING, "launch"): E.UNBINDING,
        (E.UNBINDING, "complete"): E.UNBINDING,
        (E.UNBINDING, "unbind"): E.UNBINDING,
        (E.UNBINDING, "unbound"): E.IDLE,
        (E.RELEASING, "unregister"): E.RELEASED,
    },
)

NODE: Machine[NodeState] = Machine(
    "node",
    N.UNKNOWN,
    {
        (N.UNKNOWN, "register"): N.READY,
        (N.READY, "register"): N.READY,
        (N.NOT_READY, "register"): N.READY,
        # Silence first makes a node Unknown: it keeps what it has and gets nothing new.
        (N.READY, "miss"): N.UNKNOWN,
        (N.UNKNOWN, "beat"): N.READY,
        (N.UNKNOWN, "lose"): N.NOT_READY,
        (N.READY, "lose"): N.NOT_READY,
    },
)

PLACEMENT: Machine[PlacementState] = Machine(
    "placement",
    P.RESERVED,
    {
        (P.RESERVED, "start"): P.STARTING,
        (P.RESERVED, "end"): P.GONE,
        (P.STARTING, "run"): P.RUNNING,
        (P.STARTING, "drain"): P.DRAINING,
        (P.STARTING, "end"): P.GONE,
        (P.RUNNING, "drain"): P.DRAINING,
        (P.RUNNING, "end"): P.GONE,
        (P.DRAINING, "end"): P.GONE,
    },
)

CLAIM: Machine[ClaimState] = Machine(
    "claim",
    C.REQUESTED,
    {
        (C.REQUESTED, "wait"): C.PENDING,
        (C.PENDING, "wait"): C.PENDING,
        (C.REQUESTED, "grant"): C.GRANTED,
        (C.PENDING, "grant"): C.GRANTED,
        (C.REQUESTED, "deny"): C.DENIED,
        (C.PENDING, "deny"): C.DENIED,
        (C.REQUESTED, "revoke"): C.REVOKED,
        (C.PENDING, "revoke"): C.REVOKED,
        (C.GRANTED, "revoke"): C.REVOKED,
    },
)

MACHINES = (SESSION, TASK, EXECUTOR, NODE, PLACEMENT, CLAIM)
"""All of them, for the documentation and the tests."""
