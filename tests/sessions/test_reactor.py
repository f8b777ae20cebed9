"""The sessions reactor, one event at a time, invariants after each."""

from __future__ import annotations

import pytest

from flame.core.model import messages as m
from flame.core.model.payloads import TaskFailure, encode_failure, pack_payloads, unpack_payloads
from flame.core.model.reactor import NOW, Joined, Lost, Persist, Received, Recorded, Send, Ticked
from flame.core.model.states import ExecutorState, ResultCode
from flame.core.sessions import records as r
from flame.core.sessions.reactor import Fetch, Fetched, Sessions, Settings

CLIENT, ALLOCATOR = 1, 90


class World:
    """A reactor with a client and an allocator; keeps what it said and wrote."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.now = 1000.0
        self.rows: dict[int, r.Record] = {}
        self.position = 0
        self.said: list[Send] = []
        self.start(Sessions(self.settings))

    def start(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.take_in(sessions.begin(1, "h", self.now))
        self.handle(Joined(ALLOCATOR, m.Hello("allocator")))
        self.handle(Joined(CLIENT, m.Hello("client", client_id="c", features=("results",))))
        self.ask(m.RegisterApp("app", m.AppSpec(delay_release=5.0), if_absent=True))

    def handle(self, event) -> None:
        self.take_in(self.sessions.handle(event, self.now))

    def take_in(self, effects) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                self.position += 1
                self.rows[self.position] = r.decode_record(r.encode_record(effect.record))
            elif isinstance(effect, Send):
                self.said.append(effect)
            elif isinstance(effect, Fetch):
                rows = tuple(self.rows[p] for p in effect.positions)
                self.handle(Fetched(effect.token, rows))
        self.sessions.check()

    def ask(self, message, peer: int = CLIENT):
        self.handle(Received(peer, 7, message))
        answers = [s.message for s in self.said if s.request == 7 and s.peer == peer]
        self.said = [s for s in self.said if s.request != 7]
        return answers[-1] if answers else None

    def heard(self, peer: int, kind):
        found = [s.message for s in self.said if s.peer == peer and isinstance(s.message, kind)]
        self.said = [s for s in self.said if not (s.peer == peer and isinstance(s.message, kind))]
        return found

    def session(self, id: str = "s", **spec):
        return self.ask(m.OpenSession(id, m.SessionSpec("app", **spec)))

    def submit(self, *payloads, seq: int = 1, session: str = "s", **options):
        return self.ask(m.Submit(session, seq, *pack_payloads(payloads), **options))

    def executor(self, peer: int = 10, session: str = "s", enter: int = 0) -> int:
        """Grant, connect and enter one executor."""
        self.handle(Received(ALLOCATOR, 0, m.Granted(f"e{peer}", session, "n1", "token")))
        self.handle(Joined(peer, m.Hello("executor", client_id=f"e{peer}", token="token")))
        self.handle(Received(peer, 0, m.Entered(enter, "" if not enter else "on_session_enter failed: boom")))
        return peer

    def assigned(self, peer: int = 10):
        """Runs handed to an executor since the last look: (first, count, epoch, lease, attempt)."""
        runs = [n for a in self.heard(peer, m.Assign) for n in a.runs]
        return [tuple(runs[i : i + 5]) for i in range(0, len(runs), 5)]

    def complete(self, run, *outputs, peer: int = 10, seq: int = 1, codes: bytes = b"", took: float = 1e-6) -> None:
        lengths, blob = pack_payloads(outputs)
        done = m.Completed("s", seq, (run[0], len(outputs), *run[2:]), codes, lengths, blob, self.now, self.now + took)
        self.handle(Received(peer, 0, done))

    def results(self):
        """{task number: (code, payload)} that the client got."""
        out = {}
        for result in self.heard(CLIENT, m.Results):
            numbers = [
                n for i in range(0, len(result.runs), 2) for n in range(result.runs[i], sum(result.runs[i : i + 2]))
            ]
            payloads = unpack_payloads(result.lengths, result.blob)
            for i, no in enumerate(numbers):
                assert no not in out
                out[no] = (result.codes[i] if result.codes else 0, payloads[i])
        return out

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.sessions.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.handle(Ticked())
        self.now = end

    def counts(self, session: str = "s"):
        i = self.ask(m.GetSession(session))
        return (i.pending, i.running, i.succeed, i.failed, i.cancelled)

    def restart(self) -> None:
        """The process died: recover from the rows alone."""
        again = Sessions(self.settings)
        for position, record in self.rows.items():
            again.handle(Recorded(position, record), self.now)
        again.core.position = self.position
        self.said.clear()
        self.start(again)


@pytest.fixture
def world():
    return World()


def test_tasks_are_numbered_densely_from_one(world):
    """A-10"""
    world.session()
    assert world.submit(b"a", b"b").first == 1
    assert world.submit(b"c", seq=2).first == 3


def test_a_frame_sent_twice_is_the_same_tasks(world):
    world.session()
    first = world.submit(b"a", b"b")
    assert world.submit(b"a", b"b") == first
    assert world.counts() == (2, 0, 0, 0, 0)


def test_a_lone_task_goes_out_at_once_before_anything_is_committed(world):
    world.session()
    world.executor()
    world.said.clear()
    world.submit(b"a")
    sends = [s for s in world.said if isinstance(s.message, m.Assign)]
    assert [s.when for s in sends] == [NOW]


def test_a_result_is_recorded_and_delivered(world):
    world.session()
    world.executor()
    world.submit(b"a")
    world.complete(world.assigned()[0], b"A")
    assert world.results() == {1: (0, b"A")}
    assert world.counts() == (0, 0, 1, 0, 0)


def test_absent_and_empty_outputs_stay_apart(world):
    world.session()
    world.executor()
    world.submit(None, b"")
    run = world.assigned()[0]
    world.complete(run, None)
    run = world.assigned()[0]
    world.complete(run, b"", seq=2)
    assert world.results() == {1: (0, None), 2: (0, b"")}


def test_a_result_under_another_lease_is_fenced(world):
    world.session()
    world.executor()
    world.submit(b"a")
    first, count, epoch, lease, attempt = world.assigned()[0]
    world.complete((first, count, epoch, lease + 1, attempt), b"late")
    assert world.results() == {}
    assert world.counts() == (1, 0, 0, 0, 0)


def test_the_same_frame_of_results_counts_once(world):
    world.session()
    world.executor()
    world.submit(b"a")
    run = world.assigned()[0]
    world.complete(run, b"A")
    world.complete(run, b"A")
    assert world.counts() == (0, 0, 1, 0, 0)


def test_credit_starts_at_one_and_grows_with_short_tasks(world):
    """The first task is measured; then an executor gets as many as fill its credit."""
    world.session()
    world.executor()
    world.submit(*[b"x"] * 500)
    run = world.assigned()[0]
    assert run[1] == 1
    world.complete(run, b"y", took=1e-5)
    assert sum(r[1] for r in world.assigned()) == 400


def test_long_tasks_are_handed_out_one_by_one(world):
    world.session()
    world.executor()
    world.submit(*[b"x"] * 10)
    world.complete(world.assigned()[0], b"y", took=0.5)
    assert sum(r[1] for r in world.assigned()) == 1


def test_what_waits_behind_a_long_task_is_recalled_and_given_to_others(world):
    world.session()
    world.executor()
    world.submit(*[b"x"] * 50)
    world.complete(world.assigned()[0], b"y", took=1e-5)
    run = world.assigned()[0]
    world.now += 0.03
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now - 0.02)))
    (recall,) = world.heard(10, m.Recall)
    assert recall.runs[:2] == (run[0] + 1, run[1] - 1)
    world.handle(Received(10, 0, m.Recalled("s", recall.runs)))
    world.executor(11)
    assert world.assigned(11)[0][0] == run[0] + 1
    assert world.counts()[1] == 1


def test_a_recalled_task_is_not_handed_out_before_the_executor_confirms(world):
    world.session()
    world.executor()
    world.submit(*[b"x"] * 50)
    world.complete(world.assigned()[0], b"y", took=1e-5)
    run = world.assigned()[0]
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now)))
    world.executor(11)
    taken = [n for r in world.assigned(11) for n in range(r[0], r[0] + r[1])]
    assert not set(taken) & set(range(run[0], run[0] + run[1]))


def test_a_failed_task_keeps_its_reason(world):
    """A-12"""
    world.session()
    world.executor()
    world.submit(b"a")
    payload = encode_failure(TaskFailure("task_failed", "no such thing", "ValueError", traceback="Traceback ..."))
    world.complete(world.assigned()[0], payload, codes=bytes([ResultCode.FAILED]))
    assert world.results()[1][0] == ResultCode.FAILED
    task = world.ask(m.GetTask("s", 1))
    assert task.events[-1].code == 3
    assert "no such thing" in task.events[-1].message


def test_retries_come_back_after_their_backoff_with_the_next_attempt(world):
    world.session(retries=1, backoff=2.0)
    world.executor()
    world.submit(b"a")
    world.complete(world.assigned()[0], b"", codes=bytes([ResultCode.RETRY]))
    assert world.assigned() == []
    world.pass_time(2.1)
    run = world.assigned()[0]
    assert run[4] == 2
    world.complete(run, b"", seq=2, codes=bytes([ResultCode.RETRY]))
    assert world.results()[1][0] == ResultCode.FAILED


def test_an_executor_death_costs_only_the_task_that_ran(world):
    world.session()
    world.executor()
    world.submit(*[b"x"] * 20)
    world.complete(world.assigned()[0], b"y", took=1e-5)
    first, _, epoch, lease, _ = world.assigned()[0]
    world.handle(Lost(10))
    world.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "", signal=9, current=(first, 1, epoch, lease, 1))))
    world.executor(11)
    world.complete(world.assigned(11)[0], b"y", peer=11, took=1e-5)
    attempts = {no: attempt for a, n, _, _, attempt in world.assigned(11) for no in range(a, a + n)}
    assert world.ask(m.GetTask("s", first)).attempt == 2
    assert all(attempt == 1 for no, attempt in attempts.items() if no != first)


def test_three_deaths_by_one_task_end_it_and_the_rest_goes_on(world):
    """A-14"""
    world.session()
    world.submit(b"killer", b"fine")
    for round in range(3):
        peer = world.executor(20 + round)
        first, _, epoch, lease, _ = world.assigned(peer)[0]
        assert first == 1
        world.handle(Lost(peer))
        gone = m.PlacementGone(f"e{peer}", "s", "", signal=11, current=(1, 1, epoch, lease, 1), log="segfault in libx")
        world.handle(Received(ALLOCATOR, 0, gone))
    task = world.ask(m.GetTask("s", 1))
    assert task.state == 3
    assert "SIGSEGV" in task.events[-1].message
    world.executor(30)
    assert world.assigned(30)[0][0] == 2


def test_closing_stops_intake_cancels_pending_and_waits_for_running(world):
    """A-03"""
    world.session()
    world.executor()
    world.submit(*[b"x"] * 3)
    run = world.assigned()[0]
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now)))
    assert world.ask(m.CloseSession("s")) is None
    assert world.ask(m.Submit("s", 2, *pack_payloads([b"late"]))).code == "session_closed"
    assert world.counts() == (0, 1, 0, 0, 2)
    world.complete(run, b"done")
    assert world.ask(m.GetSession("s")).state == 1
    assert {no: code for no, (code, _) in world.results().items()} == {
        1: 0,
        2: ResultCode.CANCELLED,
        3: ResultCode.CANCELLED,
    }


def test_a_strict_close_refuses_while_tasks_run(world):
    world.session()
    world.executor()
    world.submit(b"x")
    run = world.assigned()[0]
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now)))
    assert "running tasks" in world.ask(m.CloseSession("s", "strict")).message
    assert world.counts() == (0, 1, 0, 0, 0)


def test_finishing_runs_everything_first(world):
    world.session()
    world.submit(b"a")
    world.ask(m.CloseSession("s", "finish"))
    world.executor()
    world.complete(world.assigned()[0], b"A")
    assert world.ask(m.GetSession("s")).state == 1
    assert world.results() == {1: (0, b"A")}


def test_pending_tasks_are_cancelled_at_once_and_running_ones_only_by_force(world):
    world.session()
    world.executor()
    world.submit(b"a", b"b")
    run = world.assigned()[0]
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now)))
    assert world.ask(m.CancelTasks("s", (1, 2))).runs == (2, 1)
    assert world.ask(m.CancelTasks("s", (1, 1), True)).runs == (1, 1)
    assert world.heard(10, m.CancelRunning)
    world.pass_time(1.5)
    assert world.heard(ALLOCATOR, m.KillExecutor)


def test_a_task_that_runs_too_long_times_out(world):
    world.session(timeout=0.5)
    world.executor()
    world.submit(b"a")
    run = world.assigned()[0]
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now)))
    world.pass_time(0.6)
    assert world.results()[1][0] == ResultCode.FAILED
    world.complete(run, b"late")
    assert world.counts() == (0, 0, 0, 1, 0)


def test_a_task_that_waits_too_long_times_out(world):
    world.session(wait_timeout=3.0)
    world.submit(b"a")
    world.pass_time(3.1)
    assert world.counts() == (0, 0, 0, 1, 0)


def test_recovery_brings_back_everything_and_gives_no_second_result(world):
    world.session()
    world.executor()
    world.submit(b"a", b"b", b"c")
    world.complete(world.assigned()[0], b"A", took=1.0)
    world.restart()
    assert world.counts() == (2, 0, 1, 0, 0)
    world.ask(m.Resume("s", ()))
    assert world.results() == {1: (0, b"A")}
    world.pass_time(1.1)
    world.executor(12)
    assert world.assigned(12)[0][0] == 2


def test_an_executor_that_comes_back_after_a_restart_goes_on_with_what_it_holds(world):
    world.session()
    world.executor()
    world.submit(b"a")
    run = world.assigned()[0]
    world.restart()
    world.handle(Received(ALLOCATOR, 0, m.Granted("e10", "s", "n1", "token")))
    world.handle(Joined(10, m.Hello("executor", client_id="e10", token="token", held=run, features=("entered",))))
    world.complete(run, b"A")
    assert world.counts() == (0, 0, 1, 0, 0)


def test_a_snapshot_and_the_rows_behind_it_are_the_whole_state(world):
    world.session()
    world.submit(b"a", b"b")
    records, covered = world.sessions.snapshot(), world.position
    world.submit(b"c", seq=2)
    again = Sessions(world.settings)
    for record in records:
        again.handle(Recorded(covered, r.decode_record(r.encode_record(record))), world.now)
    for position in again.missing():
        again.reload(position, world.rows[position])
    for position in range(covered + 1, world.position + 1):
        again.handle(Recorded(position, world.rows[position]), world.now)
    again.core.position = world.position
    world.said.clear()
    world.start(again)
    world.pass_time(1.1)
    world.executor(12)
    assert world.counts() == (3, 0, 0, 0, 0)
    assert world.submit(b"a", b"b").first == 1


def test_a_closed_session_leaves_memory_and_can_still_be_read(world):
    """A-13"""
    world.session()
    world.submit(b"a")
    world.executor()
    world.complete(world.assigned()[0], b"A")
    world.ask(m.CloseSession("s"))
    world.handle(Lost(10))
    world.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "", exit_code=0)))
    assert world.sessions.core.sessions["s"].archive
    assert world.counts() == (0, 0, 1, 0, 0)
    assert world.ask(m.GetTask("s", 1)).output == b"A"
    assert [t.input for t in world.ask(m.ListTasks("s")).tasks] == [b"a"]
    world.restart()
    assert world.ask(m.GetTask("s", 1)).output == b"A"


def test_a_service_that_cannot_enter_fails_its_tasks_after_the_limit(world):
    world.session()
    world.submit(b"a")
    for round in range(5):
        peer = world.executor(40 + round, enter=12)
        world.handle(Lost(peer))
        world.handle(Received(ALLOCATOR, 0, m.PlacementGone(f"e{peer}", "s", "", exit_code=0)))
    assert world.results()[1][0] == ResultCode.FAILED
    codes = [e.code for e in world.ask(m.GetSession("s")).events]
    assert codes == [1001] * 5 + [1002]


def test_an_idle_executor_leaves_after_the_release_delay_but_min_instances_stay(world):
    """A-17, A-35, A-36"""
    world.session(min_instances=1)
    for peer in (10, 11):
        world.executor(peer)
    world.submit(b"a")
    world.complete(world.assigned()[0], b"A")
    world.pass_time(4)
    assert not world.heard(10, m.Leave)
    world.pass_time(3)
    assert len(world.heard(10, m.Leave)) + len(world.heard(11, m.Leave)) == 1


def test_a_waiting_service_lends_its_slot_and_is_fed_nothing(world):
    world.session()
    world.executor()
    world.submit(b"parent")
    run = world.assigned()[0]
    world.handle(Received(10, 0, m.Started("s", run[0], run[2], run[3], world.now)))
    world.handle(Received(10, 0, m.Blocked("s", True)))
    assert world.heard(ALLOCATOR, m.ExecutorChanged)[-1].lent
    world.submit(b"child", seq=2)
    assert world.assigned() == []
    world.executor(11)
    assert world.assigned(11)[0][0] == 2


def test_an_owned_session_closes_when_its_client_stays_away(world):
    world.ask(m.OpenSession("s", m.SessionSpec("app"), owned=True))
    world.submit(b"a")
    world.handle(Lost(CLIENT))
    world.pass_time(61)
    world.handle(Joined(2, m.Hello("client", client_id="other")))
    world.handle(Received(2, 7, m.GetSession("s")))
    info = [s.message for s in world.said if s.request == 7][-1]
    assert (info.state, info.cancelled) == (1, 1)


@pytest.mark.parametrize("id", ["", "../x", "a/b", "a\\b", "x" * 200, "tab\there"])
def test_bad_session_ids_are_refused(world, id):
    assert world.session(id).code == "invalid_argument"


def test_unknown_things_are_named(world):
    assert world.ask(m.OpenSession("s", m.SessionSpec("nope"))).code == "not_found"
    assert "nope" in world.ask(m.GetSession("nope")).message
    world.session()
    assert world.ask(m.GetTask("s", 5)).code == "not_found"
    assert world.session().code == "already_exists"
    assert "max_instances" in world.ask(m.OpenSession("s", m.SessionSpec("app", max_instances=3), "either")).message


def test_a_numeric_alias_finds_the_session(world):
    """A-05"""
    info = world.session()
    assert world.ask(m.GetSession(str(info.alias))).id == "s"


def test_a_frame_whose_lengths_lie_drops_the_connection(world):
    world.session()
    assert world.ask(m.Submit("s", 1, b"\x05\0\0\0", b"abc")).code == "protocol"
    assert world.counts() == (0, 0, 0, 0, 0)


def test_executor_states_follow_the_binding(world):
    world.session()
    world.executor()
    assert world.sessions.core.executors["e10"].state == ExecutorState.BOUND


def test_tasks_of_several_small_frames_are_handed_out_in_one_message(world):
    world.session()
    world.executor()
    world.submit(b"x")
    world.complete(world.assigned()[0], b"y", took=1e-5)
    world.executor(11)
    world.handle(Received(10, 0, m.Blocked("s", True)))
    world.handle(Received(11, 0, m.Blocked("s", True)))
    for seq in range(2, 12):
        world.submit(b"x", seq=seq)
    assert not world.assigned()
    world.handle(Received(10, 0, m.Blocked("s", False)))
    (assign,) = world.heard(10, m.Assign)
    assert assign.runs[:2] == (2, 10)
    assert unpack_payloads(assign.lengths, assign.blob) == [b"x"] * 10


def test_a_message_of_large_tasks_is_cut_at_a_frame_s_worth_of_bytes(world):
    world.session()
    world.executor()
    world.submit(b"x")
    world.complete(world.assigned()[0], b"y", took=1e-5)
    world.handle(Received(10, 0, m.Blocked("s", True)))
    large = bytes(700_000)
    for seq in range(2, 8):
        world.submit(large, seq=seq)
    world.handle(Received(10, 0, m.Blocked("s", False)))
    first = world.heard(10, m.Assign)
    assert [len(a.blob) for a in first] == [700_000]
    done = 0
    while first:
        for assign in first:
            assert len(assign.blob) <= 1024 * 1024
            done += 1
            world.complete(assign.runs[:5], b"y", seq=1 + done, took=1e-5)
        first = world.heard(10, m.Assign)
    assert world.counts() == (0, 0, 7, 0, 0)


def test_large_tasks_with_other_options_begin_a_message_of_their_own(world):
    world.session()
    world.executor()
    world.submit(b"x")
    world.complete(world.assigned()[0], b"y", took=1e-5)
    world.handle(Received(10, 0, m.Blocked("s", True)))
    large = bytes(1_000_000)
    world.submit(large, seq=2, timeout=1.0)
    world.submit(large, seq=3, timeout=2.0)
    world.handle(Received(10, 0, m.Blocked("s", False)))
    assert [(a.timeout, len(a.blob)) for a in world.heard(10, m.Assign)] == [(1.0, 1_000_000), (2.0, 1_000_000)]
