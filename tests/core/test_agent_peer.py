"""The agent's half: orders, processes, reports."""

import signal

import pytest

from flame.core.model import messages as m
from flame.core.peers.agent import AgentPeer, Look, Signal, Spawn
from flame.testing.world import a_node


def an_order(id="p", app="a"):
    return m.StartPlacement(id, "n1", "s", app, m.AppSpec(), {"cpu": 1000}, {}, "unix:/plane", "t")


@pytest.fixture
def agent():
    agent = AgentPeer([a_node()])
    agent.joined(0.0)
    agent.drain()
    return agent


def spawned(agent):
    return [action.order.id for action in agent.actions() if isinstance(action, Spawn)]


def signals(agent):
    return [action.number for action in agent.actions() if isinstance(action, Signal)]


def start(agent, id="p", now=0.0, app="a"):
    agent.receive(an_order(id, app), now)
    agent.actions()
    agent.spawned(id, 77, now)
    assert agent.drain() == [m.PlacementStarted(id, 77)]


def test_it_registers_its_nodes_first():
    agent = AgentPeer([a_node("n1"), a_node("n2")])
    agent.joined(0.0)
    assert [message.name for message in agent.drain()] == ["n1", "n2"]


def test_an_order_is_done_once(agent):
    agent.receive(an_order(), 0.0)
    agent.receive(an_order(), 0.0)
    assert spawned(agent) == ["p"]


def test_an_end_is_reported_with_what_was_running(agent):
    start(agent)
    agent.exited("p", None, 9, (3, 1, 1, 1, 1), "boom", 5.0)
    assert agent.drain() == [m.PlacementExited("p", None, 9, (3, 1, 1, 1, 1), "boom")]
    agent.receive(an_order(), 5.0)
    assert spawned(agent) == []  # a late order of something that has ended


def test_stopping_asks_first_and_kills_after_the_grace(agent):
    start(agent)
    agent.receive(m.StopPlacement("p", 10.0), 1.0)
    assert signals(agent) == [signal.SIGTERM]
    agent.receive(m.StopPlacement("p", 10.0), 2.0)
    assert signals(agent) == []
    agent.tick(10.9)
    assert signals(agent) == []
    agent.tick(11.0)
    agent.tick(12.0)
    assert signals(agent) == [signal.SIGKILL]


def test_a_grace_of_nothing_kills_at_once(agent):
    start(agent)
    agent.receive(m.StopPlacement("p", 10.0), 1.0)
    agent.actions()
    agent.receive(m.StopPlacement("p", 0.0), 1.0)
    assert signals(agent) == [signal.SIGKILL]


def test_what_is_being_spawned_is_stopped_as_soon_as_it_runs(agent):
    agent.receive(an_order(), 0.0)
    agent.receive(m.StopPlacement("p", 5.0), 0.0)
    assert spawned(agent) == ["p"]
    agent.spawned("p", 7, 1.0)
    assert signals(agent) == [signal.SIGTERM]


def test_stopping_what_is_not_there_is_answered(agent):
    agent.receive(m.StopPlacement("x"), 0.0)
    assert agent.drain() == [m.PlacementExited("x", reason="not running here")]


def test_failed_starts_of_an_application_wait_longer_and_longer(agent):
    now = 0.0
    for n, delay in enumerate([0.0, 0.1, 0.2, 0.4]):
        agent.receive(an_order(f"p{n}"), now)
        agent.tick(now + delay - 0.01)
        assert spawned(agent) == ([] if delay else ["p0"])
        now += delay
        agent.tick(now)
        agent.actions()
        agent.failed(f"p{n}", "no such file", now)
    agent.receive(an_order("other", app="b"), now)
    assert spawned(agent) == ["other"]


def test_an_order_that_is_given_again_does_not_wait_again(agent):
    for n in range(20):
        agent.receive(an_order(f"p{n}"), 100.0 * n)
        agent.actions()
        agent.failed(f"p{n}", "no such file", 100.0 * n)
    agent.receive(an_order("taken back"), 1915.0)
    assert spawned(agent) == []
    agent.receive(m.StopPlacement("taken back"), 1920.0)
    agent.receive(an_order("again"), 1920.0)
    agent.tick(1929.9)
    assert spawned(agent) == []
    agent.tick(1930.0)
    assert spawned(agent) == ["again"], "30 s behind the failure, whatever came between"


def test_what_the_node_lacks_makes_nobody_wait_long(agent):
    """After some full disks every order waited for half a minute, and was taken back before that."""
    for n in range(20):
        agent.receive(an_order(f"p{n}"), 2.0 * n)
        agent.actions()
        agent.failed(f"p{n}", "cannot start: [Errno 28] No space left on device", 2.0 * n, of_node=True)
    agent.receive(an_order("now there is room"), 38.2)
    agent.tick(38.9)
    assert spawned(agent) == []
    agent.tick(39.0)
    assert spawned(agent) == ["now there is room"]


def test_what_the_node_lacks_is_not_the_fault_of_the_service(agent):
    """The session manager counts exit codes against the service, and gives its session up after a few."""
    agent.receive(an_order("p"), 0.0)
    agent.actions()
    agent.failed("p", "cannot start: [Errno 28] No space left on device", 0.0, of_node=True)
    report = agent.drain()[-1]
    assert (report.exit_code, report.signal) == (None, None) and "No space left" in report.reason


def test_a_good_start_ends_the_waiting(agent):
    start(agent, "p1")
    agent.exited("p1", 1, None, (), "", 0.5)
    agent.receive(an_order("p2"), 1.0)
    agent.tick(1.1)
    agent.spawned("p2", 7, 1.1)
    agent.exited("p2", 0, None, (), "", 9.0)
    agent.actions()
    agent.receive(an_order("p3"), 9.0)
    assert spawned(agent) == ["p3"]


def test_what_waits_to_be_started_can_be_stopped(agent):
    start(agent, "p1")
    agent.exited("p1", 1, None, (), "", 0.5)
    agent.receive(an_order("p2"), 0.5)
    agent.drain()
    agent.receive(m.StopPlacement("p2"), 0.5)
    assert agent.drain() == [m.PlacementExited("p2", reason="stopped before it started")]
    agent.tick(9.0)
    assert spawned(agent) == []


def test_a_new_connection_hears_what_runs_and_then_what_ended(agent):
    start(agent, "p1")
    start(agent, "p2")
    agent.lost()
    agent.exited("p1", 0, None, (), "", 1.0)
    assert agent.drain() == []
    agent.joined(2.0)
    node, report = agent.drain()
    assert [(p.id, p.pid, p.token) for p in node.running] == [("p2", 77, "t")]
    assert report == m.PlacementExited("p1", 0, None, (), "")


def test_it_beats_every_five_seconds(agent):
    assert agent.deadline() == 5.0
    agent.tick(5.0)
    assert agent.drain() == [m.Heartbeat("n1", 5.0)]
    agent.lost()
    assert agent.deadline() is None


@pytest.mark.ledger("B-029", "B-030")
def test_it_beats_and_looks_as_often_as_it_is_told(agent):
    agent.receive(m.AgentTuned(1.0, 2.0), 0.0)
    assert agent.deadline() == 1.0
    agent.tick(1.0)
    assert agent.drain() == [m.Heartbeat("n1", 1.0)] and agent.actions() == []
    agent.tick(2.0)
    assert agent.actions() == [Look()]
    agent.change(a_node(cpus=9))
    assert [message.capacity["cpu"] for message in agent.drain() if isinstance(message, m.RegisterNode)] == [9000]
    agent.lost()
    agent.joined(3.0)
    assert agent.deadline() == 8.0  # until it is told again
