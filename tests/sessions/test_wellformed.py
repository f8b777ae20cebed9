"""Broken messages change nothing; invariants are checked after each, and the reactor goes on."""

from __future__ import annotations

import pytest
from sessions.test_reactor import World

from flame.core.model import messages as m
from flame.core.model.payloads import pack_payloads
from flame.core.model.reactor import Close, Joined, Received

NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture
def world():
    world = World()
    world.session()
    world.submit(b"a", b"b", b"c")
    return world


def refused(world, message, code, peer=1):
    answer = world.ask(message, peer)
    assert isinstance(answer, m.Failure), answer
    assert answer.code == code
    assert len(answer.message) < 400
    assert world.counts() == (3, 0, 0, 0, 0)


@pytest.mark.parametrize("runs", [(1,), (1, 0), (0, 1), (-1, 2), (1, -3)])
def test_ranges_that_are_none(world, runs):
    refused(world, m.CancelTasks("s", runs), "protocol")
    world = World()
    world.session()
    world.submit(b"a", b"b", b"c")
    refused(world, m.Resume("s", runs), "protocol")


def test_tasks_named_twice_are_cancelled_once(world):
    answer = world.ask(m.CancelTasks("s", (1, 2, 2, 2, 1, 3)))
    assert sum(answer.runs[1::2]) == 3
    assert world.counts() == (0, 0, 0, 0, 3)


def test_a_frame_without_tasks_or_with_wrong_lengths(world):
    for lengths, blob in ((b"", b""), (b"\1\0\0", b"x"), (b"\2\0\0\0", b"x"), (b"\0\0\0\0", b"x")):
        refused(a_world(), m.Submit("s", 2, lengths, blob), "protocol")


def a_world():
    world = World()
    world.session()
    world.submit(b"a", b"b", b"c")
    return world


@pytest.mark.parametrize(
    "spec",
    [
        {"timeout": NAN}, {"timeout": -1.0}, {"timeout": INFINITE}, {"wait_timeout": INFINITE}, {"backoff": NAN},
        {"min_instances": -1}, {"max_instances": -1}, {"retries": -2}, {"retries": 2**40}, {"priority": 2**40},
        {"resources": {"cpu": -5}}, {"resources": {"": 5}},
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense(world, spec):
    refused(world, m.OpenSession("new", m.SessionSpec("app", **spec)), "invalid_argument")


def test_a_mode_that_does_not_exist(world):
    refused(world, m.OpenSession("new", m.SessionSpec("app"), mode="x" * 10_000_000), "invalid_argument")


@pytest.mark.parametrize("spec", [{"delay_release": NAN}, {"delay_release": INFINITE}, {"max_instances": -1}])
def test_applications_that_make_no_sense(world, spec):
    refused(world, m.RegisterApp("other", m.AppSpec(**spec)), "invalid_argument")


HUGE = "9" * 10_000_000


@pytest.mark.parametrize(
    "message",
    [
        m.GetSession(HUGE), m.CloseSession(HUGE), m.DeleteSession(HUGE), m.Submit(HUGE, 2, b"\0\0\0\0", b""), m.Explain(HUGE),
        m.GetTask(HUGE, 1), m.ListTasks(HUGE), m.CancelTasks(HUGE, (1, 1)), m.GetApp(HUGE), m.UnregisterApp(HUGE), m.GetSession(""),
        m.OpenSession("new", m.SessionSpec(HUGE)), m.OpenSession(HUGE, None), m.WatchTask(HUGE, 1, 1), m.GetTask("s", 9),
        m.GetTask("s", -1), m.GetTask("s", 2**62), m.Explain("s/9"), m.Explain("s/" + HUGE[:18]),
    ],
)  # fmt: skip
def test_names_of_nothing_are_not_found(world, message):
    refused(world, message, "not_found")


@pytest.mark.parametrize("object", ["s/abc", "s/-1", "s/1.5", "s/²", "s/" + HUGE])
def test_explain_of_a_task_that_is_no_number(world, object):
    refused(world, m.Explain(object), "invalid_argument")


@pytest.mark.parametrize("id", [HUGE, "../x", "a/b", "a\\b", "..", "a\nb", ""])
def test_session_ids_that_are_none(world, id):
    refused(world, m.OpenSession(id, m.SessionSpec("app")), "invalid_argument")


@pytest.mark.parametrize(
    "broken",
    [
        {"runs": (1, 1)}, {"runs": (1, 2, 1, 1, 1)}, {"runs": (1, -1, 1, 1, 1)}, {"lengths": b"\5\0\0\0"}, {"codes": b"\0\0"},
        {"codes": b"\x2a"},
    ],
)  # fmt: skip
def test_a_broken_frame_of_results_costs_the_executor_its_connection(world, broken):
    world.executor()
    (run,) = world.assigned()
    frame = {"runs": run, "codes": b"", "lengths": b"\1\0\0\0", "blob": b"y"} | broken
    effects = world.sessions.handle(Received(10, 0, m.Completed("s", 1, **frame, began=1.0, ended=2.0)), world.now)
    assert [e.peer for e in effects if isinstance(e, Close)] == [10]
    world.sessions.check()
    assert world.counts() == (3, 0, 0, 0, 0)


def test_an_executor_that_says_it_holds_nonsense(world):
    world.executor()
    hello = m.Hello("executor", client_id="e10", token="token", held=(1, 2, 3), features=("entered",))
    effects = world.sessions.handle(Joined(20, hello), world.now)
    assert [e.peer for e in effects if isinstance(e, Close)] == [20]
    world.sessions.check()


def test_an_executor_may_ask_for_nothing_but_the_bytes_of_its_session(world):
    world.executor()
    world.ask(m.ShareBlob("s", "d", b"function"))
    assert world.ask(m.FetchBlob("s", "d"), peer=10) == m.Blob(b"function")
    for message in (m.GetSession("s"), m.OpenSession("new", m.SessionSpec("app")), m.FetchBlob("other", "d")):
        answer = world.ask(message, peer=10)
        assert isinstance(answer, m.Failure)
        assert answer.code == "permission_denied"


def test_a_stranger_with_the_name_of_an_executor_gets_nothing(world):
    world.handle(Joined(30, m.Hello("executor", client_id="unknown", token="guess")))
    answer = world.ask(m.ListSessions(), peer=30)
    assert isinstance(answer, m.Failure)
    assert answer.code == "permission_denied"


def test_what_comes_behind_a_goodbye_is_not_looked_at(world):
    assert world.ask(m.GetSession("s"), peer=77) is None


@pytest.mark.parametrize(
    ("began", "ended", "code"), [(0.0, 5e-324, ""), (0.0, 1e308, ""), (2.0, 1.0, ""), (0.0, float("nan"), "protocol")]
)
def test_whatever_an_executors_clock_says_work_goes_on(world, began, ended, code):
    """Found by fuzzing: the measured time of a task may be anything, and credits are divided by it."""
    world.session()
    world.submit(*[b"x"] * 8)
    peer = world.executor()
    run = world.assigned(peer)[0]
    lengths, blob = pack_payloads([b"y"] * run[1])
    world.handle(Received(peer, 0, m.Completed("s", 1, run, b"", lengths, blob, began, ended)))
    said = [s.message.code for s in world.said if isinstance(s.message, m.Failure)]
    assert said == ([code] if code else [])
    assert code or world.assigned(peer)
