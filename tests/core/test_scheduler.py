"""The scheduling cycle, one snapshot at a time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.core.base.errors import HookMismatch, InvalidArgument
from flame.core.model.resources import Gpu, fits, sub, total
from flame.core.model.snapshot import DemandView, NodeView, PlacementView, Plan, Snapshot
from flame.core.scheduler.cycle import run_cycle
from flame.core.scheduler.plugins import make_policy
from flame.core.scheduler.settings import SchedulingSettings

SETTINGS = SchedulingSettings()
NOW = 100.0


def a_node(name="n1", cpus=4, ready=True, **more):
    capacity = {"cpu": cpus * 1000, "memory": cpus << 30}
    free = more.pop("free", None)
    capacity |= more.pop("also", {})
    return NodeView(name, ready, capacity, capacity if free is None else free, **more)


def a_demand(session="s", want=1, cpu=1000, has=(), **more):
    more.setdefault("app", "a")
    return DemandView(session, resources={"cpu": cpu}, want=want, placements=tuple(has), **more)


def placements(session, count, node="n1", since=0.0, cpu=1000, **more):
    return [PlacementView(f"{session}{n}", node, {"cpu": cpu}, since, **more) for n in range(count)]


def cycle(nodes, demands, **more) -> Plan:
    """Run one cycle; what the demands hold is taken from their nodes, what drains is coming."""
    held = [p for d in demands for p in d.placements]
    views = []
    for n in nodes:
        used = total(p.resources for p in held if p.node == n.name)
        coming = total(p.resources for p in held if p.node == n.name and p.draining)
        views.append(NodeView(n.name, n.ready, n.allocatable, sub(n.free, used), coming, n.shim, n.devices))
    return run_cycle(Snapshot(NOW, tuple(views), tuple(demands), **more), make_policy(SETTINGS), SETTINGS)


def given_to(plan):
    counts: dict[str, int] = {}
    for placement in plan.placements:
        counts[placement.session] = counts.get(placement.session, 0) + 1
    return counts


def why(plan, session="s"):
    return [reason.reason for reason in plan.reasons.get(session, ())]


def test_one_cycle_places_all_that_fits():
    plan = cycle([a_node(cpus=4), a_node("n2", cpus=2)], [a_demand(want=10)])
    assert given_to(plan) == {"s": 6}
    assert why(plan) == ["NoCapacity"]


def test_equal_sessions_share_equally():
    """A-33."""
    plan = cycle([a_node(cpus=6)], [a_demand(s, want=9) for s in "abc"])
    assert given_to(plan) == {"a": 2, "b": 2, "c": 2}


def test_weights_divide_the_capacity():
    plan = cycle([a_node(cpus=7)], [a_demand(s, want=9, weight=w) for s, w in (("a", 1), ("b", 2), ("c", 4))])
    assert given_to(plan) == {"a": 1, "b": 2, "c": 4}


def test_the_dominant_resource_counts():
    memory = DemandView("m", "a", {"cpu": 100, "memory": 1 << 30}, want=9)
    plan = cycle([a_node(cpus=4)], [a_demand("c", want=9, cpu=1000), memory])
    assert given_to(plan) == {"c": 3, "m": 4}


def test_tenants_share_before_their_sessions_do():
    demands = [a_demand(s, want=9, tenant=t) for s, t in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"))]
    plan = cycle([a_node(cpus=6)], demands)
    assert given_to(plan) == {"a": 1, "b": 1, "c": 1, "d": 3}


def test_a_higher_priority_goes_first():
    """A-37: a later session of priority 10 overtakes."""
    plan = cycle([a_node(cpus=3)], [a_demand("low", want=9), a_demand("high", want=2, priority=10, created=50.0)])
    assert given_to(plan) == {"low": 1, "high": 2}


def test_a_higher_priority_that_fits_nowhere_blocks_nobody():
    plan = cycle([a_node(cpus=3)], [a_demand("low", want=9), a_demand("high", want=2, cpu=64000, priority=10)])
    assert given_to(plan) == {"low": 3}
    assert why(plan, "high") == ["NeverFits"]


def test_priority_orders_only_inside_a_tenant():
    demands = [a_demand("low", want=9, tenant="x"), a_demand("high", want=9, tenant="y", priority=10)]
    assert given_to(cycle([a_node(cpus=4)], demands)) == {"low": 2, "high": 2}


def test_a_better_class_goes_before_everything():
    demands = [a_demand("plain", want=9, priority=10), a_demand("class", want=9, rank=1)]
    assert given_to(cycle([a_node(cpus=4)], demands)) == {"class": 4}


def test_the_older_goes_first_when_all_else_is_equal():
    plan = cycle([a_node(cpus=1)], [a_demand("b", created=1.0), a_demand("a", created=2.0)])
    assert given_to(plan) == {"b": 1}


def test_the_minimum_is_held_without_tasks_and_before_anything_else():
    """A-36."""
    plan = cycle([a_node(cpus=4)], [a_demand("busy", want=9), a_demand("calm", want=0, min=2)])
    assert given_to(plan) == {"busy": 2, "calm": 2}


def test_the_maximum_is_never_exceeded_by_draining_ones_either():
    """A-36."""
    has = placements("s", 2) + [PlacementView("old", "n1", {"cpu": 1000}, 0.0, draining=True)]
    plan = cycle([a_node(cpus=9)], [a_demand(want=16, max=4, has=has)])
    assert given_to(plan) == {"s": 1}
    full = cycle([a_node(cpus=9)], [a_demand(want=16, max=4, has=placements("s", 4))])
    assert (given_to(full), why(full)) == ({}, ["MaxInstances"])


def test_the_maximum_of_an_application_holds_for_all_its_sessions():
    plan = cycle([a_node(cpus=9)], [a_demand("a", want=9, app_max=3), a_demand("b", want=9, app_max=3)])
    assert sum(given_to(plan).values()) == 3
    assert why(plan, "a") == why(plan, "b") == ["AppMaxInstances"]


def test_nothing_is_added_while_an_executor_waits_for_tasks():
    plan = cycle([a_node(cpus=9)], [a_demand(want=9, idle=1, has=placements("s", 2, idle_since=99.0))])
    assert (given_to(plan), why(plan)) == ({}, ["WaitingForIdle"])


def test_an_idle_executor_is_reclaimed_at_once_for_another_session():
    idle = a_demand("rich", want=0, idle=2, has=placements("r", 2, since=99.9, idle_since=99.9))
    plan = cycle([a_node(cpus=2)], [idle, a_demand("poor")])
    assert [d.placement for d in plan.drains] == ["r0"]
    assert why(plan, "poor") == ["Reclaiming"]


def test_the_minimum_is_not_reclaimed():
    idle = a_demand("rich", want=0, min=2, idle=2, has=placements("r", 2, idle_since=0.0))
    plan = cycle([a_node(cpus=2)], [idle, a_demand("poor")])
    assert (plan.drains, why(plan, "poor")) == ((), ["NoCapacity"])


def test_the_most_overused_gives_to_one_below_its_share():
    greedy = a_demand("greedy", want=9, has=placements("g", 3))
    fair = a_demand("fair", want=9, has=placements("f", 1))
    plan = cycle([a_node(cpus=4)], [fair, greedy, a_demand("new", want=1)])
    assert [d.placement for d in plan.drains] == ["g0"]


def test_nobody_is_drained_before_a_quantum():
    greedy = a_demand("greedy", want=9, has=placements("g", 4, since=NOW - 0.9))
    plan = cycle([a_node(cpus=4)], [greedy, a_demand("new", want=1)])
    assert plan.drains == ()
    assert plan.recheck == NOW + SETTINGS.recheck


def test_what_drains_already_is_promised_and_not_drained_for_again():
    greedy = a_demand("greedy", want=9, has=placements("g", 3) + placements("x", 1, draining=True))
    plan = cycle([a_node(cpus=4)], [greedy, a_demand("new", want=1)])
    assert (plan.drains, why(plan, "new")) == ((), ["Reclaiming"])


def test_one_slot_alternates_between_two_sessions():
    holder = a_demand("holder", want=9, has=placements("h", 1), served=3.0)
    assert [d.placement for d in cycle([a_node(cpus=1)], [holder, a_demand("waiter", served=1.0)]).drains] == ["h0"]
    even = cycle([a_node(cpus=1)], [holder, a_demand("waiter", served=2.9)])
    assert even.drains == ()


def test_a_higher_priority_takes_from_a_lower_one_at_a_task_boundary():
    """A-37."""
    low = a_demand("low", want=99, has=placements("l", 4, since=NOW - 0.5))
    plan = cycle([a_node(cpus=4)], [low, a_demand("high", want=3, priority=10)])
    assert len(plan.drains) == 3
    back = cycle([a_node(cpus=4)], [a_demand("high", want=9, priority=10, has=placements("h", 4)), a_demand("low")])
    assert back.drains == ()


def test_small_requests_do_not_nibble_what_drains_for_a_large_one():
    large = a_demand("large", want=1, cpu=2000, priority=1)
    leaving = a_demand("old", want=0, has=placements("o", 1, draining=True))
    plan = cycle([a_node(cpus=2)], [large, leaving, a_demand("small", want=1)])
    assert (given_to(plan), why(plan, "large")) == ({}, ["Reclaiming"])


def test_an_idle_executor_leaves_after_its_release_delay():
    """A-35, A-17."""
    fresh, old = placements("f", 1, idle_since=98.0), placements("o", 1, idle_since=94.0)
    plan = cycle([a_node()], [a_demand(want=0, idle=2, delay_release=5.0, has=fresh + old)])
    assert [d.placement for d in plan.drains] == ["o0"]
    assert plan.recheck == 103.0


def test_a_slot_taken_back_drains_the_newest():
    demands = [
        a_demand("a", want=2, has=placements("a", 2, since=1.0)),
        a_demand("b", want=0, has=placements("b", 1, since=2.0)),
    ]
    assert [d.placement for d in cycle([a_node(cpus=2)], demands).drains] == ["b0"]


@pytest.mark.parametrize(
    ("nodes", "demand", "reason"),
    [
        ([], a_demand(), "NoNodes"),
        ([a_node(ready=False)], a_demand(), "NoNodes"),
        ([a_node(shim=0)], a_demand(shim=1), "NoShim"),
        ([a_node(cpus=4)], a_demand(cpu=5000), "NeverFits"),
        ([a_node(free={})], a_demand(), "NoCapacity"),
        ([a_node()], a_demand(hold=True), "BindFailures"),
    ],
)
def test_everything_that_waits_has_a_reason(nodes, demand, reason):
    plan = cycle(nodes, [demand])
    assert (plan.placements, why(plan)) == ((), [reason])


def test_gpus_are_given_as_devices():
    devices = (Gpu("g0"), Gpu("g1"))
    node = a_node(cpus=8, also={"gpu": 2000}, devices=devices)
    plan = cycle([node], [DemandView("s", "a", {"cpu": 1000, "gpu": 500}, want=9)])
    assert [dict(p.devices) for p in plan.placements] == [{"g0": 500}, {"g0": 500}, {"g1": 500}, {"g1": 500}]


def test_a_misspelt_hook_is_an_error_at_start_up():
    class Mine:
        name = "mine"

        def fit(self, node, demand): ...

    with pytest.raises(HookMismatch, match=r"mine: unknown hooks \['fit'\]; known: \['fits', 'order'"):
        make_policy(SETTINGS, [Mine()])
    with pytest.raises(InvalidArgument, match="unknown scheduler plugins"):
        make_policy(SchedulingSettings(plugins=("prioritty",)))


def test_the_shim_is_always_asked():
    policy = make_policy(SchedulingSettings(plugins=("gang",)))
    assert [plugin.name for plugin in policy.plugins] == ["gang", "shim", "rules", "gpu"]


@st.composite
def snapshots(draw):
    nodes = [
        a_node(f"n{i}", cpus=draw(st.integers(1, 4)), ready=draw(st.booleans())) for i in range(draw(st.integers(1, 3)))
    ]
    free = {n.name: n.allocatable["cpu"] // 1000 for n in nodes}
    demands = []
    for i in range(draw(st.integers(1, 5))):
        has = []
        for n in range(draw(st.integers(0, 3))):
            node = draw(st.sampled_from(nodes)).name
            if free[node] > 0:
                free[node] -= 1
                idle = draw(st.sampled_from([None, 10.0, 99.9]))
                since = draw(st.sampled_from([1.0, 99.5]))
                has.append(PlacementView(f"p{i}.{n}", node, {"cpu": 1000}, since, draw(st.booleans()), idle))
        low = draw(st.integers(0, 2))
        high = draw(st.sampled_from([None, max(low, len(has)), max(low, len(has)) + 2]))
        demands.append(
            a_demand(f"s{i}", want=draw(st.integers(0, 6)), cpu=draw(st.sampled_from([500, 1000, 2000])), has=has)
            if draw(st.booleans())
            else a_demand(
                f"s{i}", want=draw(st.integers(0, 6)), min=low, max=high, has=has, priority=draw(st.integers(0, 2))
            )
        )
    return nodes, demands


@settings(max_examples=150, deadline=None)
@given(snapshots())
def test_no_plan_oversubscribes_a_node_or_breaks_a_limit(drawn):
    nodes, demands = drawn
    plan = cycle(nodes, demands)
    by_name = {d.session: d for d in demands}
    for node in nodes:
        old = total(p.resources for d in demands for p in d.placements if p.node == node.name)
        new = total(by_name[p.session].resources for p in plan.placements if p.node == node.name)
        assert fits(new, sub(node.allocatable, old)), "a node is oversubscribed"
        assert node.ready or not new
    drained = [d.placement for d in plan.drains]
    assert len(drained) == len(set(drained))
    for demand in demands:
        stays = sum(not p.draining and p.id not in drained for p in demand.placements)
        had = sum(not p.draining for p in demand.placements)
        assert demand.max is None or given_to(plan).get(demand.session, 0) + len(demand.placements) <= demand.max
        assert stays + given_to(plan).get(demand.session, 0) >= min(had, demand.min)
        if max(demand.want, demand.min) > stays + given_to(plan).get(demand.session, 0):
            assert why(plan, demand.session)
