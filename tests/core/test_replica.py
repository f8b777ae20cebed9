"""One replica's machine: tables of histories, and histories that nobody thought of."""

import signal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flame.core.base.backoff import Backoff
from flame.core.model import messages as m
from flame.core.peers.agent import AgentPeer
from flame.core.peers.replica import (
    FINAL,
    Forget,
    Prepare,
    Replica,
    RunPreStop,
    RunProbe,
    SignalContainer,
    SpawnContainer,
)
from flame.testing.world import a_node

SPECS = {"name": "r", "namespace": "default", "rank": 0, "world_size": 1, "attempt": 1}


def an_order(*names, id="p", init=(), containers=None, **spec):
    containers = containers or tuple(m.ContainerSpec(name, command=("x",)) for name in names or ("a",))
    before = tuple(m.ContainerSpec(name, command=("x",)) for name in init)
    made = m.ReplicaSpec("w", "id", containers=containers, init=before, **(SPECS | spec))
    return m.StartReplica(id, "n1", "owner", made, {"cpu": 1000})


class Run:
    """A replica, and the shell as a test plays it."""

    def __init__(self, order, **backoff):
        self.replica = Replica(order, Backoff(**({"first": 1.0, "ceiling": 60.0} | backoff)))
        self.pid = 100
        self.replica.begin(0.0)
        assert self.did() == [Prepare("p")]

    def did(self):
        return self.replica.actions()

    def spawns(self):
        return [action.container for action in self.did() if isinstance(action, SpawnContainer)]

    def signals(self):
        return [(action.container, action.number) for action in self.did() if isinstance(action, SignalContainer)]

    def up(self, *names, now=0.0):
        for name in names:
            self.pid += 1
            self.replica.spawned(name, self.pid, now)

    @property
    def last(self):
        return self.replica.status()

    def states(self):
        return [(one.state, one.reason) for one in self.last.containers]


def begun(*names, **more):
    run = Run(an_order(*names, **more))
    run.replica.prepared({"http": 30001}, 0.0)
    assert run.spawns() == list(names or ("a",))
    run.up(*(names or ("a",)))
    return run


def test_from_pending_to_running():
    run = Run(an_order())
    assert (run.last.phase, run.states()) == ("Pending", [("waiting", "ContainerCreating")])
    run.replica.prepared({"http": 30001}, 0.0)
    assert run.spawns() == ["a"] and run.last.ports == {"http": 30001}
    run.up("a", now=1.0)
    assert (run.last.phase, run.last.ready, run.last.started) == ("Running", True, 1.0)
    run.replica.exited("a", 0, None, 2.0)
    assert (run.last.phase, run.last.ready) == ("Running", False) and run.replica.deadline() == 3.0  # Always: once more


@pytest.mark.parametrize(
    ("restart", "code", "phase", "reason"),
    [
        ("Never", 0, "Succeeded", "Completed"),
        ("Never", 3, "Failed", "Error"),
        ("OnFailure", 0, "Succeeded", "Completed"),
        ("OnFailure", 3, "Running", "CrashLoopBackOff"),
        ("Always", 0, "Running", "CrashLoopBackOff"),
        ("Always", 3, "Running", "CrashLoopBackOff"),
    ],
)
def test_what_an_end_means(restart, code, phase, reason):
    run = begun(restart=restart)
    run.replica.exited("a", code, None, 1.0)
    assert (run.last.phase, run.last.containers[0].reason) == (phase, reason)
    assert run.spawns() == []
    run.replica.tick(1.9)
    assert run.spawns() == []
    run.replica.tick(2.0)
    assert run.spawns() == (["a"] if phase == "Running" else [])


@pytest.mark.ledger("B-010")
def test_each_restart_waits_longer_and_the_last_fails():
    run = begun(backoff_limit=4)
    now, waits = 0.0, []
    for _ in range(4):
        run.replica.exited("a", 1, None, now)
        due = run.replica.deadline()
        waits.append(due - now)
        run.replica.tick(due)
        assert run.spawns() == ["a"]
        now = due
        run.up("a", now=now)
    assert waits == [1.0, 2.0, 4.0, 8.0] and run.last.containers[0].restarts == 4
    run.replica.exited("a", 1, None, now)
    assert (run.last.phase, run.last.reason) == ("Failed", "BackoffLimitExceeded")
    assert run.did() == [Forget("p")]


def test_who_ran_for_long_starts_afresh():
    run = begun(backoff_limit=1)
    run.replica.exited("a", 1, None, 1.0)
    run.replica.tick(2.0)
    run.up("a", now=2.0)
    run.replica.exited("a", 1, None, 700.0)
    assert run.last.phase == "Running" and run.replica.deadline() == 701.0


def test_a_limit_ends_the_others_too():
    run = begun("a", "b", backoff_limit=0, grace=5.0)
    run.replica.exited("a", 1, None, 1.0)
    assert run.signals() == [("b", signal.SIGTERM)] and run.last.phase == "Running" and not run.last.ready
    run.replica.tick(6.0)
    assert run.signals() == [("b", signal.SIGKILL)]
    run.replica.exited("b", None, 9, 6.1)
    assert (run.last.phase, run.last.reason) == ("Failed", "BackoffLimitExceeded")


def test_what_could_not_be_created_is_tried_again_without_counting():
    run = Run(an_order(backoff_limit=0))
    run.replica.prepared({}, 0.0)
    assert run.spawns() == ["a"]
    for now, due in ((0.0, 1.0), (1.0, 3.0)):
        run.replica.failed("a", "CreateContainerError", "disk full", now)
        assert run.replica.deadline() == due
        run.replica.tick(due)
        assert run.spawns() == ["a"]
    run.up("a", now=4.0)
    assert run.last.containers[0].restarts == 0


def test_an_unmapped_image_waits_for_ever():
    run = Run(an_order())
    run.replica.prepared({}, 0.0)
    run.did()
    run.replica.failed("a", "ImageNotMapped", "no", 0.0)
    assert (run.last.phase, run.states(), run.replica.deadline()) == ("Pending", [("waiting", "ImageNotMapped")], None)
    run.replica.tick(1e6)
    assert run.did() == []
    run.replica.stop(1.0, 1e6)
    assert (run.last.phase, run.last.reason) == ("Failed", "Stopped")


def test_init_containers_one_by_one():
    run = Run(an_order("a", "b", init=("i", "j"), restart="OnFailure"))
    run.replica.prepared({}, 0.0)
    assert run.spawns() == ["i"] and run.states()[1:] == [("waiting", "PodInitializing")] * 3
    run.up("i")
    assert run.last.phase == "Pending"
    run.replica.exited("i", 1, None, 1.0)
    run.replica.tick(2.0)
    assert run.spawns() == ["i"]
    run.up("i", now=2.0)
    run.replica.exited("i", 0, None, 3.0)
    assert run.spawns() == ["j"]
    run.up("j", now=3.0)
    run.replica.exited("j", 0, None, 4.0)
    assert run.spawns() == ["a", "b"]


def probe(kind="http", **more):
    return m.ProbeSpec(kind, **({"port": "80", "period": 10.0, "initial_delay": 5.0, "failure": 2} | more))


def probed(run, kind, ok, now):
    run.replica.probed("a", kind, run.replica._container("a").run, ok, "said", now)


def asked(run):
    return [action.kind for action in run.did() if isinstance(action, RunProbe)]


def test_probes_in_their_time():
    container = m.ContainerSpec("a", command=("x",), startup=probe(), readiness=probe(), liveness=probe())
    run = begun("a", containers=(container,), grace=3.0)
    assert run.replica.deadline() == 5.0 and not run.last.ready
    run.replica.tick(5.0)
    assert asked(run) == ["startup"]
    run.replica.tick(50.0)
    assert asked(run) == []  # one at a time
    probed(run, "startup", True, 50.0)
    assert asked(run) == ["readiness", "liveness"] and not run.last.ready
    probed(run, "readiness", True, 50.5)
    probed(run, "liveness", True, 50.5)
    assert run.last.ready
    run.replica.tick(60.5)
    assert sorted(asked(run)) == ["liveness", "readiness"]
    probed(run, "readiness", False, 60.5)
    assert run.last.ready  # a threshold of two
    run.replica.tick(70.5)
    probed(run, "readiness", False, 70.5)
    assert not run.last.ready and run.last.containers[0].state == "running"
    probed(run, "liveness", False, 70.5)
    run.did()
    run.replica.tick(80.5)
    probed(run, "liveness", False, 80.5)
    assert run.signals() == [("a", signal.SIGTERM)]
    run.replica.tick(83.5)
    assert run.signals() == [("a", signal.SIGKILL)]
    run.replica.exited("a", None, 9, 83.6)
    assert "liveness probe failed 2 times in a row: said" in run.last.containers[0].message
    run.replica.tick(84.6)
    assert run.spawns() == ["a"]


def test_an_outcome_of_an_earlier_run_counts_nothing():
    container = m.ContainerSpec("a", command=("x",), liveness=probe(failure=1))
    run = begun("a", containers=(container,))
    run.replica.tick(5.0)
    run.replica.exited("a", 1, None, 6.0)
    run.replica.tick(7.0)
    run.up("a", now=7.0)
    run.did()
    run.replica.probed("a", "liveness", 1, False, "late", 8.0)
    assert run.did() == [] and run.last.containers[0].state == "running"


def test_stopping_runs_the_pre_stop_first():
    containers = (m.ContainerSpec("a", command=("x",), pre_stop=("bye",)), m.ContainerSpec("b", command=("x",)))
    run = begun("a", "b", containers=containers)
    run.replica.stop(10.0, 1.0, "drain")
    assert run.did() == [RunPreStop("p", "a", 1), SignalContainer("p", "b", 102, int(signal.SIGTERM))]
    run.replica.pre_stopped("a", 1, 2.0)
    assert run.signals() == [("a", signal.SIGTERM)]
    run.replica.exited("b", 0, None, 2.0)
    run.replica.tick(11.0)
    assert run.signals() == [("a", signal.SIGKILL)]
    run.replica.exited("a", None, 9, 11.0)
    assert (run.last.phase, run.last.reason, run.last.message) == ("Failed", "Stopped", "drain")


def test_what_is_just_being_started_is_stopped_when_it_is_there():
    run = Run(an_order())
    run.replica.prepared({}, 0.0)
    run.did()
    run.replica.stop(5.0, 1.0)
    assert run.did() == [] and run.last.phase == "Pending"
    run.up("a", now=2.0)
    assert run.signals() == [("a", signal.SIGTERM)]
    run.replica.exited("a", 0, None, 2.1)
    assert run.last.phase == "Succeeded"


def test_an_agent_reports_a_replica_until_its_placement_ends():
    agent = AgentPeer([a_node()])
    agent.joined(0.0)
    agent.drain()
    agent.receive(an_order(restart="Never"), 0.0)
    agent.receive(an_order(restart="Never"), 0.0)
    assert agent.actions() == [Prepare("p")]
    replica = agent.replicas.live["p"]
    replica.prepared({}, 0.0)
    agent.actions()
    replica.spawned("a", 7, 1.0)
    assert [one.phase for one in agent.drain()] == ["Pending", "Running"]
    agent.lost()
    replica.exited("a", 4, None, 2.0, log="oh")
    assert agent.actions()[-1] == Forget("p") and not agent.replicas.live and agent.drain() == []
    agent.joined(3.0)
    register, changed, exited = agent.drain()
    assert register.running == () and (changed.phase, changed.log) == ("Failed", "oh")
    assert exited == m.PlacementExited("p", 4, log="oh", reason="Error: container a: Error")
    agent.receive(an_order(restart="Never"), 4.0)
    assert agent.actions() == []
    agent.receive(m.StopPlacement("p"), 5.0)
    assert agent.drain() == [exited]


class Histories(RuleBasedStateMachine):
    """Whatever happens, in whatever order the shell can tell it."""

    def __init__(self):
        super().__init__()
        self.now, self.pid = 0.0, 1
        self.replica = None
        self.reports = []
        self.spawning, self.running, self.probing, self.stops = set(), {}, [], []
        self.preparing = self.stopped = False
        self.final_at = None

    @initialize(
        restart=st.sampled_from(["Always", "OnFailure", "Never"]), limit=st.integers(0, 3), init=st.integers(0, 2), main=st.integers(1, 2),
        deadline=st.sampled_from([0.0, 0.0, 30.0]), probes=st.booleans(), pre_stop=st.booleans(),
    )  # fmt: skip
    def begin(self, restart, limit, init, main, deadline, probes, pre_stop):
        probe = m.ProbeSpec("tcp", port="1", period=1.0, failure=2) if probes else None
        containers = tuple(
            m.ContainerSpec(
                f"c{n}", command=("x",), liveness=probe, readiness=probe, pre_stop=("y",) if pre_stop else ()
            )
            for n in range(main)
        )
        order = an_order(
            containers=containers, init=tuple(f"i{n}" for n in range(init)), restart=restart, backoff_limit=limit, deadline=deadline,
            grace=2.0,
        )  # fmt: skip
        self.replica, self.limit = Replica(order, Backoff(1.0, 8.0)), limit
        self.replica.begin(self.now)
        self.work()

    def work(self):
        for action in self.replica.actions():
            assert self.final_at is None, f"{action} after the end"
            name = getattr(action, "container", "")
            if isinstance(action, Prepare):
                self.preparing = True
            elif isinstance(action, SpawnContainer):
                assert name not in self.spawning and name not in self.running and not self.stopped
                assert name[0] == "i" or not any(other[0] == "i" for other in (*self.spawning, *self.running))
                self.spawning.add(name)
            elif isinstance(action, SignalContainer):
                assert self.running.get(name) == action.pid
            elif isinstance(action, RunProbe):
                assert name in self.running
                self.probing.append(action)
            elif isinstance(action, RunPreStop):
                self.stops.append(action)
            elif isinstance(action, Forget):
                self.final_at = self.now
        self.reports += self.replica.drain()

    @rule(pick=st.integers(0, 7), outcome=st.integers(0, 7))
    def happen(self, pick, outcome):
        """One of the things that the shell can have to tell now."""
        able = [(self.prepare, "")] * self.preparing
        able += [(self.spawn, name) for name in sorted(self.spawning)]
        able += [(self.exit, name) for name in sorted(self.running)]
        able += [(self.probe, "")] * bool(self.probing) + [(self.pre_stop, "")] * bool(self.stops)
        if able:
            what, name = able[pick % len(able)]
            what(name, outcome)
            self.work()

    def prepare(self, _, outcome):
        self.preparing = False
        if outcome:
            self.replica.prepared({"p": 1}, self.now)
        else:
            self.replica.unprepared("CreateContainerError", "no", self.now)

    def spawn(self, name, outcome):
        self.spawning.discard(name)
        if outcome == 0:
            self.replica.exited(name, 128, None, self.now, reason="StartError")
        elif outcome < 3:
            self.replica.failed(name, ("ImageNotMapped", "CreateContainerError")[outcome - 1], "no", self.now)
        else:
            self.pid += 1
            self.running[name] = self.pid
            self.replica.spawned(name, self.pid, self.now)

    def exit(self, name, outcome):
        del self.running[name]
        code = (0, 0, 0, 1, 1, 2, None, None)[outcome]
        self.replica.exited(name, code, 9 if code is None else None, self.now)

    def probe(self, _, outcome):
        action = self.probing.pop(0)
        self.replica.probed(action.container, action.kind, action.run, outcome > 3, "", self.now)

    def pre_stop(self, _, outcome):
        action = self.stops.pop(0)
        self.replica.pre_stopped(action.container, action.run, self.now)

    @rule(ahead=st.sampled_from([0.3, 1.0, 5.0, 10.0, 700.0]))
    def wait(self, ahead):
        """Like the shell's timer: never past a deadline without a tick."""
        until = self.now + ahead
        for _ in range(200):
            due = self.replica.deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.replica.tick(self.now)
            self.work()
            later = self.replica.deadline()
            assert later is None or later > self.now, "a tick must settle what is due"
        self.now = until

    @rule(grace=st.sampled_from([0.0, 1.0, 5.0]), rarely=st.integers(0, 9))
    def stop(self, grace, rarely):
        if rarely == 7:
            self.stopped = True
            self.replica.stop(grace, self.now)
            self.work()

    @invariant()
    def restarts_are_limited(self):
        if self.replica is not None:
            for container in (*self.replica.init, *self.replica.main):
                assert container.crashes <= self.limit

    @invariant()
    def one_last_word_and_nothing_after_it(self):
        finals = [report for report in self.reports if report.phase in FINAL]
        assert len(finals) <= 1 and (not finals or self.reports[-1] is finals[0])
        assert bool(finals) == (self.final_at is not None)
        if finals:
            assert not self.running and not self.spawning and self.replica.deadline() is None

    @invariant()
    def reports_tell_of_changes(self):
        assert all(before != after for before, after in zip(self.reports, self.reports[1:], strict=False))


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
