"""Workloads in the scheduler: gangs, ranks, quotas, rules, GPUs."""

from dataclasses import replace

import pytest
from core.placing import Cluster, node, why
from core.play import play
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.core.model.messages import Taint
from flame.core.model.rules import (
    LabelSelector,
    NodeTerm,
    PlacementRules,
    PodTerm,
    PreferredNodes,
    Requirement,
    Spread,
    Toleration,
)
from flame.core.model.snapshot import QuotaView
from flame.core.scheduler.cycle import run_cycle
from flame.core.scheduler.settings import SchedulingSettings

GPU_NODES = [node(f"n{i}", gpus=4, cpus=16) for i in range(4)]


@pytest.mark.ledger("B-101")
def test_binpack_fills_nodes_one_after_the_other():
    cluster = Cluster(GPU_NODES, gpu_strategy="binpack")
    for i in range(8):
        cluster.want(f"j{i}", gpu=1000, cpu=1000)
    cluster.step()
    nodes = [cluster.where(f"j{i}")[0] for i in range(8)]
    assert sorted(nodes.count(name) for name in set(nodes)) == [4, 4]


@pytest.mark.ledger("B-102")
def test_spread_takes_the_emptiest():
    cluster = Cluster(GPU_NODES, gpu_strategy="spread")
    for i in range(8):
        cluster.want(f"j{i}", gpu=1000, cpu=1000)
    cluster.step()
    nodes = [cluster.where(f"j{i}")[0] for i in range(8)]
    assert sorted(nodes.count(name) for name in set(nodes)) == [2, 2, 2, 2]


class Last:
    name = "last"

    def score(self, node, demand):
        return 100.0 * int(node.name[1:])


class Crashing:
    name = "crashing"

    def score(self, node, demand):
        raise ValueError("no idea")


@pytest.mark.ledger("B-103")
def test_a_users_plugin_chooses_and_a_crashing_one_is_reported_and_left_out():
    chosen = Cluster(GPU_NODES, plugins=[Last()], gpu_strategy="custom").want("j", gpu=1000).steps(1)
    assert chosen.where("j") == ["n3"]
    crashing = Cluster(GPU_NODES, plugins=[Crashing()], gpu_strategy="custom").want("j", gpu=1000).steps(1)
    assert crashing.has("j") == 1
    assert crashing.policy.complaints == {"crashing": "score: ValueError: no idea"}


@pytest.mark.ledger("B-104", "B-088")
def test_a_higher_rank_evicts_the_least_costly_of_the_lower():
    cluster = Cluster([node(gpus=4, cpus=64)])
    cluster.want("big", gpu=3000, rank=1).want("small", gpu=1000, rank=1).steps(1)
    cluster.want("urgent", gpu=1000, rank=9).steps(1)
    assert [name for name, _ in cluster.evictions] == ["small"]
    assert "preempted by urgent (priority 9 over 1)" in cluster.evictions[0][1]
    cluster.steps(1)
    assert cluster.has("urgent") == 1 and cluster.has("big") == 1 and cluster.has("small") == 0


@pytest.mark.ledger("B-104")
def test_without_preemption_it_waits():
    cluster = Cluster([node(gpus=2)], preemption=False).want("low", gpu=2000, rank=1).steps(1)
    cluster.want("high", gpu=1000, rank=9).steps(3)
    assert cluster.has("high") == 0 and not cluster.evictions


def test_what_never_preempts_waits():
    cluster = Cluster([node(gpus=2)]).want("low", gpu=2000, rank=1).steps(1)
    cluster.want("high", gpu=1000, rank=9, preempts=False).steps(3)
    assert cluster.has("high") == 0 and not cluster.evictions


@pytest.mark.ledger("B-105", "A-40")
def test_two_gangs_on_six_gpus_one_runs_whole_the_other_holds_nothing():
    cluster = Cluster([node(gpus=6, cpus=64)])
    cluster.want("a", 4, gpu=1000).want("b", 4, gpu=1000)
    plan = cluster.step()
    assert (cluster.has("a"), cluster.has("b")) == (4, 0)
    reason, message = why(plan, "b")
    assert reason == "Gang" and "room for 2 now" in message and "2 replicas fewer" in message
    cluster.want("c", 2, gpu=1000).steps(1)
    assert cluster.has("c") == 2  # b holds nothing


def test_a_gang_is_evicted_whole():
    cluster = Cluster([node("n1", gpus=2), node("n2", gpus=2)]).want("low", 4, gpu=1000, rank=1).steps(1)
    cluster.want("high", gpu=1000, rank=2).steps(1)
    assert [name for name, _ in cluster.evictions] == ["low"] * 4
    cluster.steps(1)
    assert (cluster.has("high"), cluster.has("low")) == (1, 0)


def test_an_elastic_workload_gives_only_what_is_above_its_minimum():
    cluster = Cluster([node(cpus=4)]).want("low", 4, gang=0, cpu=1000, rank=1).steps(1)
    cluster.change("low", min=3)
    cluster.want("high", 2, gang=0, cpu=1000, rank=2).steps(3)
    assert (cluster.has("high"), cluster.has("low")) == (1, 3)


@pytest.mark.ledger("A-40")
def test_an_elastic_session_shrinks_for_a_gang_and_grows_back():
    cluster = Cluster([node(cpus=8)]).session("s", 8).steps(1)
    assert cluster.has("s") == 8
    cluster.steps(2).want("mpi", 4, cpu=1000).steps(2)
    assert (cluster.has("mpi"), cluster.has("s")) == (4, 4)
    cluster.end("mpi")
    cluster.steps(2)
    assert cluster.has("s") == 8


def test_room_that_drains_is_not_taken_by_others_meanwhile():
    cluster = Cluster([node(cpus=4)]).session("s", 4).steps(2)
    cluster.want("gang", 4, cpu=1000).step()
    cluster.session("t", 9).session("u", 9)
    cluster.steps(1)
    assert cluster.has("gang") == 4


QUOTA = [
    "requests.cpu",
    "requests.memory",
    "requests.nvidia.com/gpu",
    "limits.cpu",
    "limits.memory",
    "limits.nvidia.com/gpu",
]
ROWS = ["B-079", "B-080", "B-081", "B-082", "B-083", "B-084"]


@pytest.mark.ledger(*ROWS, "B-087")
@pytest.mark.parametrize("resource", [*QUOTA, "pods"])
def test_a_quota_keeps_the_rest_waiting_and_says_which(resource):
    unit = 1 if resource == "pods" else 1 << 30 if "memory" in resource else 1000
    quota = QuotaView("default/flame-quota", hard={resource: 2 * unit})
    cluster = Cluster([node(cpus=64, gpus=8)], quotas=(quota,))
    for i in range(3):
        cluster.want(f"j{i}", cpu=1000, quotas=("default/flame-quota",), charge={resource: unit})
    plan = cluster.step()
    assert [cluster.has(f"j{i}") for i in range(3)] == [1, 1, 0]
    reason, message = why(plan, "j2")
    assert reason == "QuotaExceeded"
    assert all(part in message for part in (resource, "used 2", "hard 2", "asked 1")), message
    cluster.end("j0")
    cluster.steps(1)
    assert cluster.has("j2") == 1


def test_quotas_lend_what_is_not_used_and_get_it_back():
    quotas = (
        QuotaView("all"),
        QuotaView("a", "all", guaranteed={"gpu": 2000}),
        QuotaView("b", "all", guaranteed={"gpu": 2000}),
    )
    cluster = Cluster([node(gpus=4, cpus=64)], quotas=quotas)
    for i in range(5):
        cluster.want(f"a{i}", gpu=1000, quotas=("a",), charge={"gpu": 1000}, tenant="a")
    plan = cluster.step()
    assert sum(cluster.has(f"a{i}") for i in range(5)) == 4
    assert "with what others lend" in why(plan, "a4")[1]
    cluster.want("b0", gpu=1000, quotas=("b",), charge={"gpu": 1000}, tenant="b").steps(2)
    assert cluster.has("b0") == 1
    assert [reason for _, reason in cluster.evictions] == ["borrowed capacity goes back to b0"]


def test_only_as_much_is_taken_back_as_is_asked_however_long_it_takes_to_leave():
    quotas = (
        QuotaView("all", hard={"cpu": 8000}),
        *(QuotaView(tenant, "all", guaranteed={"cpu": 4000}) for tenant in "ab"),
    )
    cluster = Cluster([node("n1", cpus=4), node("n2", cpus=4)], quotas=quotas)
    for i in range(8):
        cluster.want(f"b{i}", cpu=1000, quotas=("b",), charge={"cpu": 1000}, tenant="b")
    cluster.steps(3)
    cluster.linger = 6
    cluster.want("a0", 2, gang=2, cpu=1000, quotas=("a",), charge={"cpu": 1000}, tenant="a")
    for _ in range(5):
        plan = cluster.step()
        assert why(plan, "a0")[0] == "Reclaiming" and len(cluster.evictions) == 2
    cluster.steps(2)
    assert cluster.has("a0") == 2 and len(cluster.evictions) == 2
    assert sum(cluster.has(f"b{i}") for i in range(8)) == 6


def test_reserved_room_is_no_way_around_a_quota():
    cluster = Cluster([node(cpus=4)], quotas=(QuotaView("q", hard={"cpu": 4000}),))
    cluster.want("low", cpu=4000, rank=0).steps(2)
    cluster.want("high", cpu=4000, rank=9, quotas=("q",), charge={"cpu": 4000}).step()
    cluster.options["quotas"] = (QuotaView("q", hard={"cpu": 1000}),)
    cluster.steps(6)
    assert cluster.has("high") == 0


def test_quotas_tell_gpu_models_apart():
    quota = QuotaView("t", hard={"requests.nvidia.com/gpu@NVIDIA A100": 1000})
    cluster = Cluster([node("n1", gpus=2), node("n2", gpus=2, model="Tesla T4")], quotas=(quota,))
    for i in range(4):
        cluster.want(f"j{i}", gpu=1000, quotas=("t",), charge={"requests.nvidia.com/gpu": 1000})
    cluster.steps(1)
    nodes = [name for i in range(4) for name in cluster.where(f"j{i}")]
    assert sorted(nodes) == ["n1", "n2", "n2"]


def rules(**more):
    return PlacementRules(**more)


@pytest.mark.ledger("B-046")
def test_a_node_selector_is_kept_and_named():
    labelled = node("gpu", labels={"node-type": "gpu"})
    selector = rules(node_selector=(("node-type", "gpu"),))
    assert Cluster([node("cpu"), labelled]).want("j", 2, cpu=1000, rules=selector).steps(1).where("j") == ["gpu", "gpu"]
    plan = Cluster([node("cpu")]).want("j", cpu=1000, rules=selector).step()
    assert why(plan, "j") == ("Selector", "0/1 nodes take it: without the label node-type=gpu (nodeSelector)")


@pytest.mark.ledger("B-047")
def test_a_taint_keeps_off_who_does_not_tolerate_it():
    tainted = node("n1", gpus=2, taints=(Taint("nvidia.com/gpu"),))
    plan = Cluster([tainted]).want("j", gpu=1000).step()
    reason, message = why(plan, "j")
    assert reason == "Taint" and "nvidia.com/gpu:NoSchedule" in message
    bears = rules(tolerations=(Toleration("nvidia.com/gpu", "Exists", effect="NoSchedule"),))
    assert Cluster([tainted]).want("j", gpu=1000, rules=bears).steps(1).has("j") == 1
    assert Cluster([tainted]).session("s", 1).steps(1).has("s") == 0


@pytest.mark.ledger("B-048")
@pytest.mark.parametrize(
    ("operator", "values", "nodes"),
    [
        ("Exists", (), {"n1", "n2"}),
        ("DoesNotExist", (), {"n3"}),
        ("In", ("1", "7"), {"n1"}),
        ("NotIn", ("1",), {"n2", "n3"}),
        ("Gt", ("1",), {"n2"}),
        ("Lt", ("5",), {"n1"}),
    ],
)
def test_required_node_affinity(operator, values, nodes):
    fleet = [node("n1", labels={"gen": "1"}), node("n2", labels={"gen": "5"}), node("n3")]
    wanted = rules(required_nodes=(NodeTerm((Requirement("gen", operator, values),)),))
    cluster = Cluster(fleet).want("j", 30, gang=0, cpu=1000, rules=wanted).steps(1)
    assert set(cluster.where("j")) == nodes


def test_preferred_nodes_first():
    liked = rules(preferred_nodes=(PreferredNodes(50, NodeTerm((Requirement("disk", "In", ("ssd",)),))),))
    cluster = Cluster([node("a"), node("b", labels={"disk": "ssd"})]).want("j", 9, gang=0, cpu=1000, rules=liked)
    assert cluster.steps(1).where("j") == ["a"] + ["b"] * 8


def zones(*names, **more):
    return [
        node(f"n{i}", labels={"zone": name, "kubernetes.io/hostname": f"n{i}"}, **more) for i, name in enumerate(names)
    ]


APP = LabelSelector((Requirement("app", "In", ("web",)),))


@pytest.mark.ledger("B-146")
def test_anti_affinity_keeps_replicas_on_nodes_of_their_own():
    alone = rules(apart=(PodTerm(APP, "kubernetes.io/hostname"),))
    cluster = Cluster(zones("a", "a", "b")).want("w", 4, gang=0, cpu=1000, rules=alone, labels={"app": "web"})
    plan = cluster.step()
    assert cluster.where("w") == ["n0", "n1", "n2"]
    assert why(plan, "w")[0] == "Affinity"
    cluster.want("other", 2, gang=0, cpu=1000, labels={"app": "web"}).steps(1)
    assert cluster.has("other") == 0  # anti-affinity holds both ways


@pytest.mark.ledger("B-146")
def test_affinity_brings_replicas_together():
    near = rules(near=(PodTerm(APP, "zone"),))
    cluster = Cluster(zones("a", "b", "b")).want("w", cpu=8000, labels={"app": "web"}, rules=near).steps(1)
    zone = cluster.nodes[cluster.where("w")[0]].labels["zone"]
    cluster.want("c", 2, gang=0, cpu=8000, rules=near).steps(1)
    assert {cluster.nodes[name].labels["zone"] for name in cluster.where("c")} <= {zone}


@pytest.mark.ledger("B-146")
def test_topology_spread_keeps_the_skew():
    spread = rules(spread=(Spread(1, "zone", True, APP),))
    fleet = zones("a", "a", "b", cpus=4)
    cluster = Cluster(fleet).want("w", 12, gang=0, cpu=1000, rules=spread, labels={"app": "web"})
    cluster.steps(1)
    counts = {"a": 0, "b": 0}
    for name in cluster.where("w"):
        counts[cluster.nodes[name].labels["zone"]] += 1
    assert counts == {"a": 5, "b": 4}


@pytest.mark.ledger("B-093", "B-094")
def test_sharers_of_a_gpu_are_counted():
    shared = Cluster([node(gpus=1, sharers=4)])
    for i in range(5):
        shared.want(f"j{i}", gpu=100)
    plan = shared.step()
    assert [shared.has(f"j{i}") for i in range(5)] == [1, 1, 1, 1, 0]
    assert "maxWorkloadsPerGPU" in why(plan, "j4")[1]
    alone = Cluster([node(gpus=1, sharers=1)]).want("a", gpu=100).want("b", gpu=100).steps(1)
    assert (alone.has("a"), alone.has("b")) == (1, 0)


def test_the_model_and_memory_of_a_gpu_can_be_asked_for():
    fleet = [node("t4", gpus=2, model="Tesla T4", memory=16), node("a100", gpus=2, model="NVIDIA A100-SXM4-40GB")]
    assert Cluster(fleet).want("j", gpu=1000, rules=rules(gpu_model="nvidia-a100")).steps(1).where("j") == ["a100"]
    assert Cluster(fleet).want("j", gpu=1000, rules=rules(gpu_memory=20 << 30)).steps(1).where("j") == ["a100"]
    plan = Cluster(fleet).want("j", gpu=1000, rules=rules(gpu_model="h100")).step()
    assert why(plan, "j")[0] == "Gpu"


@pytest.mark.ledger("B-007")
def test_only_so_many_workloads_run():
    cluster = Cluster([node(cpus=64)], max_workloads=20)
    for i in range(25):
        cluster.want(f"j{i}", cpu=100)
    plan = cluster.step()
    assert sum(cluster.has(f"j{i}") for i in range(25)) == 20
    waiting = [f"j{i}" for i in range(25) if not cluster.has(f"j{i}")]
    assert {why(plan, name)[0] for name in waiting} == {"MaxConcurrentWorkloads"}
    cluster.end("j0")
    cluster.steps(2)
    assert sum(cluster.has(f"j{i}") for i in range(1, 25)) == 20


@pytest.mark.ledger("B-031")
def test_a_node_takes_only_so_many_replicas():
    cluster = Cluster([node("n1", max_replicas=10), node("n2", cpus=1)])
    cluster.want("j", 11, gang=0, cpu=100).steps(1)
    assert cluster.where("j") == ["n1"] * 10 + ["n2"]


@pytest.mark.ledger("B-090")
def test_who_waits_for_all_of_a_node_keeps_nothing_idle_and_gets_it_back():
    cluster = Cluster([node("n1", cpus=4), node("n2", cpus=4)], settings=SchedulingSettings(aging=10.0))
    cluster.want("old1", cpu=3000).want("old2", cpu=3000).steps(2)
    cluster.want("wide", 2, gang=2, cpu=4000).steps(12)
    cluster.want("small1", cpu=1000).want("small2", cpu=1000).steps(2)
    assert cluster.has("small1") == cluster.has("small2") == 1  # beside old1 and old2, where wide has no room
    cluster.end("old1")
    cluster.want("late", cpu=2000).steps(2)
    assert cluster.has("late") == 1 and not cluster.evictions
    cluster.end("old2")
    cluster.steps(3)
    assert cluster.has("wide") == 2
    assert {name for name, why in cluster.evictions if why == "it started while wide had waited for too long"} == {
        "small1",
        "small2",
        "late",
    }
    cluster.steps(40)
    assert cluster.has("wide") == 2 and len(cluster.evictions) == 3  # it had waited itself: nobody gets it from there


@pytest.mark.ledger("B-104")
def test_a_node_with_its_number_of_replicas_gives_a_replica_not_executors():
    cluster = Cluster([node(cpus=8, max_replicas=1)])
    cluster.session("s", 6).want("low", cpu=1000, rank=0).steps(3)
    cluster.want("high", cpu=1000, rank=9).steps(3)
    assert (cluster.has("high"), cluster.has("low"), cluster.has("s")) == (1, 0, 6)
    assert [name for name, _ in cluster.evictions] == ["low"]


@pytest.mark.ledger("B-104")
def test_room_that_comes_is_waited_for_whatever_else_could_be_had():
    """Replicas may take long to end; until then nobody else is driven out for the same room."""
    cluster = Cluster([node(cpus=8, gpus=2)])
    cluster.session("s", 6).want("low", cpu=1000, gpu=2000, rank=0).steps(3)
    low = cluster.demands["low"]
    cluster.want("high", cpu=1000, gpu=2000, rank=9).step()
    for _ in range(5):
        leaving = replace(low.placements[0], draining=True)
        cluster.change("low", placements=(leaving,), want=0)
        cluster.now += 1.0
        plan = run_cycle(cluster.snapshot(), cluster.policy, cluster.settings)
        assert not plan.drains and why(plan, "high")[0] == "Reclaiming"
        cluster.reserved = plan.reserved
    assert cluster.has("s") == 6


@pytest.mark.ledger("B-090")
def test_nobody_starves_past_the_aging_bound():
    cluster = Cluster([node(cpus=4)], settings=SchedulingSettings(aging=30.0))
    cluster.want("low", 4, cpu=1000, rank=0)
    begun = None
    for i in range(200):
        if begun is None and cluster.has("low"):
            begun = i
            break
        cluster.want(f"high{i}", cpu=2000, rank=9)  # a stream that always has two running
        if f"high{i - 2}" in cluster.demands:
            cluster.end(f"high{i - 2}")
        cluster.step()
    assert begun is not None and begun <= 40


@pytest.mark.ledger("B-104", "B-105")
@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_gangs_stay_whole_and_preemption_comes_to_an_end(seed):
    play(seed, 60)
