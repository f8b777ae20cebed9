"""The tables of the lifecycles."""

from pathlib import Path

import pytest

from flame.core.base.errors import InvalidState
from flame.core.model.lifecycle import EXECUTOR, MACHINES, PLACEMENT, SESSION, TASK, Machine
from flame.core.model.states import ExecutorState as E
from flame.core.model.states import PlacementState as P
from flame.core.model.states import SessionState, TaskState
from flame.testing.diagrams import document


def test_an_executor_serves_and_may_serve_again():
    state = E.VOID
    for command in ("register", "bind", "bound", "launch", "complete", "unbind", "unbound", "release", "unregister"):
        state = EXECUTOR.step(state, command)
    assert state == E.RELEASED


@pytest.mark.parametrize("state", [E.VOID, E.IDLE, E.BINDING, E.BOUND, E.UNBINDING, E.RELEASING, E.RELEASED])
def test_a_step_that_is_not_there_says_where_the_executor_is(state):
    with pytest.raises(InvalidState, match=f"^Executor is {state.name.lower()}: cannot fly") as caught:
        EXECUTOR.step(state, "fly")
    assert all(command in caught.value.hint for command in EXECUTOR.allowed(state))


def test_what_is_over_stays_over():
    assert not SESSION.allowed(SessionState.CLOSED)
    assert not any(TASK.allowed(state) for state in (TaskState.SUCCEED, TaskState.FAILED, TaskState.CANCELLED))
    assert (
        not PLACEMENT.allowed(P.GONE)
        and PLACEMENT.reaches(P.RUNNING, P.DRAINING)
        and not PLACEMENT.reaches(P.GONE, P.RUNNING)
    )


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_state_can_be_reached(machine: Machine):
    found = [machine.initial]
    for state in found:
        found += [a for (b, _), a in machine.table.items() if b == state and a not in found]
    assert set(found) >= set(machine.table.values())


def test_a_table_draws_itself():
    assert SESSION.diagram().splitlines() == [
        "stateDiagram-v2",
        "    [*] --> Open",
        "    Open --> Closed: close",
        "    Closed --> [*]",
    ]
    assert "Running --> Draining: drain" in PLACEMENT.diagram()


def test_the_documentation_shows_the_tables_as_they_are():
    page = Path(__file__).parents[2] / "docs" / "lifecycles.md"
    assert page.read_text() == document(), "run: python -m flame.testing.diagrams > docs/lifecycles.md"
