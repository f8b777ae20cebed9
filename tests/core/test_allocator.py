"""The allocator: agents and managers on one side, invariants after every event."""

import json

import pytest

from flame.core.allocator.settings import AllocatorSettings
from flame.core.model.messages import (
    AgentTuned,
    ClusterChanged,
    DemandGone,
    Device,
    Done,
    DrainExecutor,
    ExecutorChanged,
    Failure,
    Granted,
    Heartbeat,
    Hello,
    KillExecutor,
    Placed,
    PlacementExited,
    PlacementGone,
    PlacementStarted,
    PutObject,
    Reasons,
    ReleaseNode,
    SetTenant,
    StartPlacement,
    StopPlacement,
    TenantInfo,
)
from flame.core.model.reactor import Close, Joined, Received
from flame.core.model.states import ExecutorState, NodeState
from flame.testing.world import World, a_demand, a_node, an_app


@pytest.fixture
def world():
    world = World()
    yield world
    world.nothing_unread()


def reasons(world):
    return [reason.reason for told in world.take(Reasons)[-1:] for reason in told.reasons]


def node_state(world, name="n1"):
    view = world.take(ClusterChanged)[-1]
    return next(NodeState(node.state) for node in view.nodes if node.name == name)


def test_a_demand_becomes_processes_and_the_manager_hears_first(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand(want=2))
    order = [type(send.message) for send in world.said if isinstance(send.message, Granted | StartPlacement)]
    assert order == [Granted, StartPlacement] * 2
    grants, starts = world.take(Granted, manager), world.take(StartPlacement, agent)
    assert [(g.placement, g.token) for g in grants] == [(s.id, s.token) for s in starts]
    assert {s.address for s in starts} == {"unix:/plane"}


def test_a_plan_is_made_at_once_and_the_next_after_the_floor(world):
    agent, manager = world.agent(a_node(cpus=2)), world.manager()
    world.handle(Received(manager, 0, a_demand("a")))
    assert len(world.take(Granted)) == 1
    world.handle(Received(manager, 0, a_demand("b")))
    assert world.take(Granted) == []
    assert world.allocator.deadline() == pytest.approx(world.now + 0.001)
    world.settle()
    assert (len(world.take(Granted)), len(world.take(StartPlacement, agent))) == (1, 2)


def test_an_expensive_cycle_spaces_the_next_ones(world):
    world.agent()
    manager = world.manager()
    world.allocator.cycle_cost = 0.01
    world.handle(Received(manager, 0, a_demand("a")))
    world.handle(Received(manager, 0, a_demand("b")))
    assert world.allocator.deadline() == pytest.approx(world.now + 0.05, abs=1e-6)
    world.settle()
    assert len(world.take(Granted)) == len(world.take(StartPlacement)) == 2


def test_the_maximum_holds_under_any_backlog(world):
    """A-36: max=4 is never exceeded."""
    agent, manager = world.agent(a_node(cpus=16)), world.manager()
    for want in (1, 16, 64, 10_000):
        world.tell(manager, a_demand(want=want, max_instances=4))
    assert len(world.run(agent)) == len(world.take(Granted)) == 4
    assert reasons(world) == ["MaxInstances"]


def test_the_minimum_is_held_while_idle(world):
    """A-36: min=2 holds two executors with no task."""
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand(want=0, min_instances=2))
    world.run(agent, manager, idle=True)
    world.take(Granted)
    world.wait(10.0)
    world.tell(agent, Heartbeat("n1", 0.0))
    world.tell(manager, a_demand("other", want=9))
    assert [g.session for g in world.take(Granted)] == ["other", "other"]
    assert len(world.take(StartPlacement)) == 2


def test_an_idle_executor_leaves_after_its_delay(world):
    """A-35: a delay of 5 s survives a gap of 4 s and not one of 6 s. A-17."""
    agent, manager = world.agent(), world.manager()
    app = an_app(delay_release=5.0)
    world.tell(manager, a_demand(want=1, app_spec=app))
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.tell(manager, a_demand(want=0, idle=1, app_spec=app))
    world.sees(manager, order, idle=True)
    world.wait(4.0)
    world.sees(manager, order)
    world.sees(manager, order, idle=True)
    world.wait(4.5)
    assert world.take(DrainExecutor) == []
    world.wait(1.0)
    assert [drain.placement for drain in world.take(DrainExecutor, manager)] == [order.id]


def test_a_later_session_of_higher_priority_overtakes(world):
    """A-37."""
    agent, manager = world.agent(a_node(cpus=2)), world.manager()
    world.tell(manager, a_demand("low", want=100))
    low = world.run(agent, manager)
    world.take(Granted)
    world.wait(1.0)
    world.tell(manager, a_demand("high", want=1, priority=10))
    (drain,) = world.take(DrainExecutor, manager)
    assert drain.placement in [order.id for order in low]
    world.tell(agent, PlacementExited(drain.placement, 0))
    assert [g.session for g in world.take(Granted)] == ["high"]
    assert len(world.take(StartPlacement)) == len(world.take(PlacementGone)) == 1


def test_an_unfit_plan_item_is_not_done(world):
    """Plugins are asked, the rules are checked: an application's limit holds over all its sessions."""
    app = an_app(max_instances=3)
    world.agent(a_node(cpus=8))
    manager = world.manager()
    world.tell(manager, a_demand("a", want=8, app_spec=app), a_demand("b", want=8, app_spec=app))
    assert len(world.take(Granted)) == len(world.take(StartPlacement)) == 3


def test_a_process_that_ends_is_reported_with_what_it_ran(world):
    agent, manager = world.agent(a_node(cpus=1)), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.tell(agent, PlacementExited(order.id, None, 9, (7, 1, 1, 3, 1), "boom"))
    (gone,) = world.take(PlacementGone, manager)
    assert (gone.placement, gone.signal, gone.current, gone.log) == (order.id, 9, (7, 1, 1, 3, 1), "boom")
    assert len(world.take(Granted)) == len(world.take(StartPlacement)) == 1
    assert [event.message for event in world.allocator.events("session/s")] == ["on node n1: ended by signal 9"]


def test_a_lost_agent_takes_its_executors_with_it(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand(want=2))
    world.run(agent, manager)
    world.take(Granted)
    world.lose(agent)
    assert [gone.reason for gone in world.take(PlacementGone, manager)] == ["agent lost"] * 2
    assert node_state(world) == NodeState.NOT_READY
    assert reasons(world) == ["NoNodes"]


def test_an_agent_that_comes_back_may_not_bring_back_what_was_given_up(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.lose(agent)
    world.take(PlacementGone)
    again = world.agent(a_node(cpus=4, running=[Placed(order.id, "s", {"cpu": 4000})]))
    assert [stop.id for stop in world.take(StopPlacement, again)] == [order.id]
    assert world.take(Granted) == []  # its process still has all four CPUs
    world.tell(again, PlacementExited(order.id, None, 9))
    assert len(world.take(Granted)) == len(world.take(StartPlacement)) == 1
    assert world.take(PlacementGone) == []


def test_an_agent_that_comes_back_is_told_again_what_to_end(world):
    far = a_node(cpus=1, grace=30.0)
    agent, manager = world.agent(far), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.tell(manager, KillExecutor(order.id, "task timeout"))
    world.take(StopPlacement)  # and it never arrived
    world.lose(agent)
    again = world.agent(a_node(cpus=1, grace=30.0, running=[Placed(order.id, "s", {"cpu": 1000})]))
    assert [(stop.id, stop.grace, stop.reason) for stop in world.take(StopPlacement, again)] == [
        (order.id, 0.0, "task timeout")
    ]
    world.tell(again, PlacementExited(order.id, None, 9))
    assert [gone.placement for gone in world.take(PlacementGone, manager)] == [order.id]
    world.take(Granted), world.take(StartPlacement)


def test_silence_makes_a_node_unknown_and_then_lost(world):
    agent, manager = world.agent(a_node(cpus=2)), world.manager()
    world.tell(manager, a_demand())
    world.run(agent, manager)
    world.take(Granted)
    world.wait(15.1)
    assert node_state(world) == NodeState.UNKNOWN
    world.tell(manager, a_demand("new"))
    assert world.take(Granted) == []
    world.wait(30.0)
    assert node_state(world) == NodeState.NOT_READY
    assert len(world.take(PlacementGone)) == 1


def test_a_beat_keeps_a_node_and_brings_it_back(world):
    agent, manager = world.agent(), world.manager()
    for _ in range(5):
        world.wait(5.0)
        world.tell(agent, Heartbeat("n1", 0.0))
    assert node_state(world) == NodeState.READY
    world.wait(16.0)
    world.tell(agent, Heartbeat("n1", 0.0))
    assert node_state(world) == NodeState.READY
    world.tell(manager, a_demand())
    assert len(world.take(Granted)) == len(world.take(StartPlacement)) == 1


@pytest.mark.ledger("B-029", "B-030")
def test_agents_live_by_the_settings(world):
    agent, operator = world.agent(), world.manager()
    body = {
        "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameValues", "metadata": {"name": "flame"},
        "flame": {"agent": {"config": {"heartbeatInterval": "1s", "resourceUpdateInterval": "2s"}}},
    }  # fmt: skip
    world.handle(Received(operator, 7, PutObject("apply", "FlameValues", body=json.dumps(body).encode())))
    world.settle()
    world.said = [send for send in world.said if send.request != 7]
    assert world.take(AgentTuned, agent) == [AgentTuned(1.0, 2.0)]
    world.wait(2.9)
    assert node_state(world) == NodeState.READY
    world.wait(0.2)
    assert node_state(world) == NodeState.UNKNOWN  # after three intervals
    world.lose(agent)
    again = world.agent()
    assert world.take(AgentTuned, again) == [AgentTuned(1.0, 2.0)]
    assert node_state(world) == NodeState.READY


def test_one_agent_may_have_several_nodes(world):
    agent = world.agent(a_node("n1", cpus=1), a_node("n2", cpus=1))
    manager = world.manager()
    world.tell(manager, a_demand(want=2))
    assert sorted(start.node for start in world.take(StartPlacement, agent)) == ["n1", "n2"]
    world.take(Granted)
    world.lose(agent)
    assert len(world.take(PlacementGone)) == 2


def test_a_released_node_is_forgotten(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand())
    world.run(agent, manager)
    world.take(Granted)
    world.tell(agent, ReleaseNode("n1"))
    assert (len(world.take(StopPlacement, agent)), len(world.take(PlacementGone))) == (1, 1)
    assert world.take(ClusterChanged)[-1].nodes == ()


def test_a_closed_session_has_its_executors_leave(world):
    agent, manager = world.agent(a_node(cpus=2)), world.manager()
    world.tell(manager, a_demand())
    (running,) = world.run(agent, manager)
    world.tell(manager, a_demand(want=2))
    (starting,) = world.take(StartPlacement)
    world.take(Granted)
    world.tell(manager, DemandGone("s"))
    assert [stop.id for stop in world.take(StopPlacement, agent)] == [starting.id]
    world.wait(10.1)
    assert [stop.id for stop in world.take(StopPlacement, agent)] == [running.id, starting.id]


def test_a_manager_that_is_away_keeps_its_executors(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.lose(manager)
    world.wait(5.0)
    world.tell(agent, Heartbeat("n1", 0.0))
    again = world.manager()
    world.tell(again, a_demand())
    (granted,) = world.take(Granted, again)
    assert (granted.placement, granted.token) == (order.id, order.token)
    world.wait(10.0)
    assert world.take(StopPlacement) == []


def test_a_manager_that_does_not_come_back_loses_them(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.lose(manager)
    world.wait(9.0)
    world.tell(agent, Heartbeat("n1", 0.0))
    assert world.take(StopPlacement) == []
    world.wait(11.5)
    assert [stop.id for stop in world.take(StopPlacement, agent)] == [order.id]


def test_what_ended_while_the_manager_was_away_is_told_when_it_names_it(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.lose(manager)
    world.tell(agent, PlacementExited(order.id, 3, None, (5, 1, 1, 1, 1)))
    again = world.manager(order.id)
    assert [(g.exit_code, g.current) for g in world.take(PlacementGone, again)] == [(3, (5, 1, 1, 1, 1))]


@pytest.mark.parametrize("first", ["agent", "manager"])
def test_a_restarted_allocator_learns_from_both_sides(world, first):
    agent, manager = world.agent(a_node(cpus=1)), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.restart()
    node = a_node(cpus=1, running=[Placed(order.id, "s", order.resources, token=order.token)])
    if first == "agent":
        world.agent(node)
        manager = world.manager(order.id)
        world.tell(manager, a_demand(want=2))
    else:
        manager = world.manager(order.id)
        world.tell(manager, a_demand(want=2))
        assert world.take(Granted) == []
        world.agent(node)
    assert [granted.placement for granted in world.take(Granted)] == [order.id]
    world.wait(3.0)
    assert world.take(StopPlacement) == []


def test_running_placements_nobody_wants_are_stopped(world):
    agent = world.agent(a_node(running=[Placed("p", "s", {"cpu": 1000})]))
    world.manager()
    world.wait(1.9)
    assert world.take(StopPlacement) == []
    world.wait(0.2)
    assert [stop.id for stop in world.take(StopPlacement, agent)] == ["p"]


def test_placements_no_agent_runs_are_gone_after_the_grace(world):
    manager = world.manager("p")
    world.wait(2.1)
    assert [gone.placement for gone in world.take(PlacementGone, manager)] == ["p"]


def test_a_restarted_allocator_remembers_nodes_and_events(world):
    world.lose(world.agent())
    before = world.allocator.events("node/n1")
    world.restart()
    assert world.allocator.events("node/n1") == before
    world.manager()
    assert node_state(world) == NodeState.NOT_READY


def test_a_snapshot_replaces_the_journal(world):
    for _ in range(3):
        world.lose(world.agent())
    events = world.allocator.events("node/n1")
    records = world.allocator.snapshot()
    world.records = [type("R", (), {"record": record})() for record in records]
    world.restart()
    assert world.allocator.events("node/n1") == events


def test_a_lent_slot_serves_a_child_and_its_return_drains_the_newest(world):
    agent, manager = world.agent(a_node(cpus=1)), world.manager()
    world.tell(manager, a_demand())
    (parent,) = world.run(agent, manager)
    world.sees(manager, parent, lent=True)
    world.tell(manager, a_demand(want=2))
    (child,) = world.run(agent, manager)
    world.take(Granted)
    world.sees(manager, parent, lent=False)
    assert [drain.placement for drain in world.take(DrainExecutor, manager)] == [child.id]


def test_killing_an_executor_is_at_once(world):
    agent, manager = world.agent(a_node(cpus=1)), world.manager()
    world.tell(manager, a_demand())
    (order,) = world.run(agent, manager)
    world.take(Granted)
    world.tell(manager, KillExecutor(order.id, "task timeout"), KillExecutor("unknown", ""))
    assert [(stop.id, stop.grace) for stop in world.take(StopPlacement, agent)] == [(order.id, 0.0)]


def test_reasons_are_told_on_change_only(world):
    manager = world.manager()
    world.tell(manager, a_demand())
    (told,) = world.take(Reasons, manager)
    assert [reason.reason for reason in told.reasons] == ["NoNodes"]
    world.tell(manager, a_demand())
    assert world.take(Reasons) == []
    world.agent()
    assert [told.reasons for told in world.take(Reasons)] == [()]
    assert len(world.take(Granted)) == len(world.take(StartPlacement)) == 1


def test_the_view_shows_states_as_the_contract_names_them(world):
    agent, manager = world.agent(), world.manager()
    world.tell(manager, a_demand())
    assert [e.state for e in world.take(ClusterChanged)[-1].executors] == [ExecutorState.VOID]
    world.run(agent, manager)
    assert [(e.state, e.pid) for e in world.take(ClusterChanged)[-1].executors] == [(ExecutorState.BOUND, 1)]
    world.take(Granted)


def test_gpus_are_handed_out_by_device(world):
    devices = (Device("g0", "T4", 1), Device("g1", "T4", 1))
    capacity = {"cpu": 8000, "gpu": 2000}
    agent, manager = world.join("agent"), world.manager()
    world.tell(agent, a_node(devices=devices).__class__("n1", capacity, capacity, devices=devices))
    world.tell(manager, a_demand(want=9, resources={"cpu": 1000, "gpu": 1000}))
    assert sorted(list(start.devices) for start in world.run(agent)) == [["g0"], ["g1"]]
    world.take(Granted)


def test_requests_are_answered(world):
    agent = world.agent()
    world.handle(Received(agent, 5, Heartbeat("n1", 0.0)))
    world.handle(Received(agent, 6, a_demand()))
    world.handle(Received(99, 7, Heartbeat("n1", 0.0)))
    assert len(world.take(Done)) == 1
    assert [failure.code for failure in world.take(Failure)] == ["unimplemented", "unimplemented"]


def test_only_managers_and_agents_may_join(world):
    world.handle(Joined(50, Hello("client")))
    assert [effect.peer for effect in world.effects if isinstance(effect, Close)] == [50]


def test_late_and_unknown_reports_change_nothing(world):
    agent, manager = world.agent(), world.manager()
    world.tell(agent, PlacementStarted("x", 1), PlacementExited("x"), Heartbeat("other", 0.0), ReleaseNode("other"))
    world.tell(manager, DemandGone("x"), ExecutorChanged("x", "s", 4))
    assert world.allocator.book.placements == {}
    assert [effect.peer for effect in world.effects if isinstance(effect, Close)] == [agent]


def test_events_are_bounded():
    world = World(AllocatorSettings(max_events=3))
    for n in range(9):
        world.allocator.book.note("node/x", "R", 1, str(n))
    world.allocator.book.note("node/x", "R", 1, "8")
    assert [(e.message, e.count) for e in world.allocator.events("node/x")] == [("6", 1), ("7", 1), ("8", 2)]


def serve(world, agent, manager, seconds, sessions, running=None):
    """Endless tasks: drained executors leave at once. Gives slot-seconds by session. `running`: executors there are, kept over calls."""
    running = {} if running is None else running
    served = dict.fromkeys(sessions, 0.0)
    end = world.now + seconds
    while world.now < end:
        for start in world.take(StartPlacement, agent):
            world.handle(Received(agent, 0, PlacementStarted(start.id, 1)))
            running[start.id] = start.session, world.now
        for drain in world.take(DrainExecutor, manager):
            session, since = running.pop(drain.placement)
            served[session] += world.now - since
            world.handle(Received(agent, 0, PlacementExited(drain.placement, 0)))
        world.until(min(end, max(world.allocator.deadline() or end, world.now + 0.01)))
        world.handle(Received(agent, 0, Heartbeat("n1", 0.0)))
    for session, since in running.values():
        served[session] += world.now - since
    world.take(Granted), world.take(PlacementGone), world.take(StartPlacement), world.take(DrainExecutor)
    return served


@pytest.mark.parametrize("cpus", [4, 8, 10])
def test_ten_equal_sessions_get_equal_time(world, cpus):
    """A-33: max/min slot-seconds <= 1.1."""
    agent, manager = world.agent(a_node(cpus=cpus)), world.manager()
    sessions = [f"s{n}" for n in range(10)]
    world.tell(manager, *(a_demand(session, want=16, created=n) for n, session in enumerate(sessions)))
    served = serve(world, agent, manager, 60.0, sessions)
    assert max(served.values()) / min(served.values()) <= 1.1
    assert sum(served.values()) >= 0.9 * 60 * cpus


def test_weights_divide_the_time(world):
    """A-30: within one slot of what the configuration says."""
    agent, manager = world.agent(a_node(cpus=4)), world.manager()
    weights = {"a": 1, "b": 2, "c": 4}
    world.tell(manager, *(a_demand(session, want=16, weight=w) for session, w in weights.items()))
    served = serve(world, agent, manager, 120.0, list(weights))
    per_weight = [served[session] / weight for session, weight in weights.items()]
    assert max(per_weight) / min(per_weight) <= 1.1


def tenants(world, weights):
    """One session of endless work for each tenant; 60 s; slot-seconds by tenant."""
    agent, manager = world.agent(a_node(cpus=4)), world.manager()
    for name, weight in weights.items():
        world.handle(Received(manager, 9, SetTenant(TenantInfo(name, weight))))
    world.take(Done)
    world.tell(manager, *(a_demand(name, want=16, tenant=name) for name in weights))
    return serve(world, agent, manager, 60.0, list(weights))


@pytest.mark.ledger("A-32")
def test_three_equal_tenants_get_a_third_each(world):
    served = tenants(world, {"a": 1, "b": 1, "c": 1})
    assert sum(served.values()) >= 0.9 * 60 * 4
    for name, seconds in served.items():
        assert 0.313 <= seconds / sum(served.values()) <= 0.353, (name, served)


@pytest.mark.ledger("A-34")
def test_weights_of_tenants_divide_the_time(world):
    served = tenants(world, {"a": 1, "b": 2, "c": 4})
    whole = sum(served.values())
    for name, weight in (("a", 1), ("b", 2), ("c", 4)):
        assert served[name] / whole == pytest.approx(weight / 7, rel=0.03), served


def test_more_sessions_do_not_make_a_larger_tenant(world):
    agent, manager = world.agent(a_node(cpus=4)), world.manager()
    many = [f"many/{n}" for n in range(6)]
    world.tell(manager, a_demand("one", want=16, tenant="one"), *(a_demand(s, want=16, tenant="many") for s in many))
    served = serve(world, agent, manager, 60.0, ["one", *many])
    assert served["one"] / sum(served.values()) == pytest.approx(0.5, abs=0.03), served
    assert max(served[s] for s in many) / min(served[s] for s in many) <= 1.25


def test_a_tenant_that_comes_late_has_saved_nothing_up(world):
    """It gets its share from now on, not what it missed."""
    agent, manager = world.agent(a_node(cpus=4)), world.manager()
    world.tell(manager, a_demand("early", want=16, tenant="early"))
    running: dict[str, tuple[str, float]] = {}
    serve(world, agent, manager, 60.0, ["early"], running)
    world.tell(manager, a_demand("late", want=16, tenant="late"))
    served = serve(world, agent, manager, 30.0, ["early", "late"], running)
    assert served["late"] <= 0.55 * 30 * 4, served


def test_minimum_maximum_and_priority_shape_the_shares(world):
    """A-30."""
    agent, manager = world.agent(a_node(cpus=8)), world.manager()
    world.tell(
        manager,
        a_demand("low", want=16, min_instances=1),
        a_demand("capped", want=16, max_instances=2, priority=5),
        a_demand("high", want=4, priority=9),
    )
    served = serve(world, agent, manager, 20.0, ["low", "capped", "high"])
    assert served == pytest.approx({"low": 40.0, "capped": 40.0, "high": 80.0}, abs=20)
