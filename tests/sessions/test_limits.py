"""Services that hang while they start, enter or leave are ended, and said to have hung."""

from __future__ import annotations

import pytest
from sessions.test_reactor import ALLOCATOR, World

from flame.core.model import messages as m
from flame.core.model.reactor import Joined, Received
from flame.core.sessions.reactor import Settings

NATIVE = m.AppSpec(labels=(m.NATIVE,))


@pytest.fixture
def world():
    world = World(Settings(retry_limit=2))
    world.ask(m.RegisterApp("native", NATIVE))
    return world


def a_session(world, app="native"):
    return world.ask(m.OpenSession("s", m.SessionSpec(app)))


def granted(world, id="e10"):
    world.handle(Received(ALLOCATOR, 0, m.Granted(id, "s", "n1", "token")))


def enters(world, id="e10", peer=10):
    granted(world, id)
    world.handle(Joined(peer, m.Hello("executor", client_id=id, token="token")))


def killed(world):
    return [k.placement for k in world.heard(ALLOCATOR, m.KillExecutor)]


def events(world):
    return [(e.code, e.message) for e in world.ask(m.GetSession("s")).events]


def test_an_executor_that_never_connects_is_given_up(world):
    a_session(world)
    granted(world)
    world.pass_time(59.9)
    assert killed(world) == []
    world.pass_time(0.2)
    assert killed(world) == ["e10"]
    ((code, text),) = events(world)
    assert code == 1001
    assert "return_code 11" in text
    assert "did not connect within 60 s" in text


def test_a_service_that_hangs_in_enter_is_ended_and_counts_as_a_failed_bind(world):
    a_session(world)
    enters(world)
    world.pass_time(59.9)
    assert killed(world) == []
    world.pass_time(0.2)
    assert killed(world) == ["e10"]
    ((_, text),) = events(world)
    assert "return_code 12" in text
    assert "hung" in text
    world.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "killed", signal=9)))
    assert len(events(world)) == 1, "the end of a killed process is no second failure"


def test_tasks_learn_that_every_service_hung(world):
    a_session(world)
    world.submit(b"a")
    for peer in (10, 11):
        enters(world, f"e{peer}", peer)
        world.pass_time(61)
    code, payload = world.results()[1]
    assert code == 1
    assert b"hung" in payload


def test_a_service_that_entered_in_time_is_left_alone(world):
    a_session(world)
    enters(world)
    world.pass_time(30)
    world.handle(Received(10, 0, m.Entered(0)))
    world.pass_time(50)
    assert killed(world) == []


def test_the_shim_of_a_foreign_service_keeps_the_limits_itself_and_speaks_first(world):
    a_session(world, "app")
    enters(world)
    world.pass_time(120)
    assert killed(world) == []
    world.pass_time(11)
    assert killed(world) == ["e10"]


def test_a_service_that_hangs_in_leave_is_ended(world):
    a_session(world)
    enters(world)
    world.handle(Received(10, 0, m.Entered(0)))
    world.ask(m.CloseSession("s"))
    assert world.heard(10, m.Leave)
    world.pass_time(9.9)
    assert killed(world) == []
    world.pass_time(0.2)
    assert killed(world) == ["e10"]


def test_leaving_begins_when_the_last_task_has_ended(world):
    a_session(world)
    enters(world)
    world.handle(Received(10, 0, m.Entered(0)))
    world.submit(b"long")
    (run,) = world.assigned()
    world.handle(Received(ALLOCATOR, 0, m.DrainExecutor("e10", "make room")))
    world.pass_time(100)
    assert killed(world) == [], "the task may take as long as it likes"
    world.complete(run, b"done")
    world.pass_time(9.9)
    assert killed(world) == []
    world.pass_time(10)
    assert killed(world) == ["e10"]


def test_who_left_in_time_is_not_killed(world):
    a_session(world)
    enters(world)
    world.handle(Received(10, 0, m.Entered(0)))
    world.ask(m.CloseSession("s"))
    world.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "left", exit_code=0)))
    world.pass_time(100)
    assert killed(world) == []
