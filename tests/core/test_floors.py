"""What serves keeps its floor beside batch work, its own sessions included; through a whole allocator."""

from __future__ import annotations

import json

import pytest
from core.test_counted_objects import a_quota
from core.test_jobs import Desk, a_workload

from flame.core.model import messages as m
from flame.testing.world import a_demand, a_node

pytestmark = pytest.mark.ledger("B-044")


def a_hybrid(replicas=2, **more):
    return a_workload("serve", replicas, type="Hybrid", **more)


def names(orders):
    return sorted(order.spec.workload for order in orders)


def executors(desk):
    """Those of sessions that start now; they run, and stay busy."""
    found = desk.world.take(m.StartPlacement, desk.agent)
    for start in found:
        desk.world.tell(desk.agent, m.PlacementStarted(start.id, 1))
    return [start.id for start in found]


def serving(desk):
    return [id for id, order in desk.running.items() if order.spec.workload == "serve"]


def classes(desk, **values):
    for name, value in values.items():
        body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
        desk.apply(body | {"value": value})


@pytest.mark.parametrize("rank", ["normal", "low"])
def test_batch_work_does_not_get_the_room_of_a_replica_that_comes_back(rank):
    desk = Desk(a_node(cpus=4))
    classes(desk, normal=5, low=1)
    desk.apply(a_hybrid(scheduling={"priorityClassName": "normal"}))
    desk.apply(a_workload("batch", 2, scheduling={"priorityClassName": rank}))
    assert names(desk.orders()) == ["batch", "batch", "serve", "serve"]
    for number in range(3):
        desk.apply(a_workload(f"more-{number}", scheduling={"priorityClassName": rank}))
    desk.world.wait(2)
    desk.ends(serving(desk)[0], "Failed", reason="Error")
    desk.world.wait(0.8)
    assert not desk.orders()  # it waits until it may try again, and its room with it
    desk.world.wait(0.5)
    assert names(desk.orders()) == ["serve"]


def test_the_room_goes_to_a_higher_rank_that_can_start():
    desk = Desk(a_node(cpus=2))
    classes(desk, high=9, normal=5)
    desk.apply(a_hybrid(scheduling={"priorityClassName": "normal"}))
    desk.orders()
    desk.apply(a_workload("urgent", scheduling={"priorityClassName": "high"}))
    desk.world.wait(1)
    assert not desk.stops()
    desk.ends(serving(desk)[0], "Failed", reason="Error")
    assert names(desk.orders()) == ["urgent"]


def test_only_the_floor_is_kept():
    desk = Desk(a_node(cpus=3))
    desk.apply(a_hybrid(3, scheduling={"minAvailable": 2}))
    desk.orders()
    for number in range(3):
        desk.apply(a_workload(f"more-{number}"))
    desk.world.wait(2)
    first, second, _ = serving(desk)
    desk.ends(first, "Failed", reason="Error")
    assert names(desk.orders()) == ["more-0"]  # two are still there
    desk.ends(second, "Failed", reason="Error")
    assert not desk.orders()
    desk.world.wait(5)
    assert names(desk.orders()) == ["serve"]


def test_a_floor_is_kept_for_what_serves_and_has_run_and_not_for_what_was_suspended():
    desk = Desk(a_node(cpus=2))
    body = a_hybrid()
    desk.apply(body)
    desk.orders()
    desk.apply(a_workload("batch", 2))
    body["spec"]["suspend"] = True
    desk.apply(body)
    assert len(desk.stops()) == 2
    assert names(desk.orders()) == ["batch", "batch"]


def test_a_new_template_does_not_cost_the_floor():
    desk = Desk(a_node(cpus=4))
    body = a_hybrid(4)
    desk.apply(body)
    desk.orders()
    for number in range(3):
        desk.apply(a_workload(f"batch-{number}"))
    body["spec"]["template"]["spec"]["containers"][0]["args"] = ["--new"]
    desk.apply(body)
    for _ in range(4):
        assert len(desk.stops()) == 1
        assert names(desk.orders()) == ["serve"]
    assert desk.status("serve")["updatedReplicas"] == 4


def test_both_parts_count_in_one_quota_and_the_batch_part_does_not_get_what_the_floor_needs():
    desk = Desk(a_node(cpus=8))
    desk.apply(a_quota() | {"spec": {"hard": {"requests.cpu": "4"}}})
    desk.apply(a_hybrid())
    assert len(desk.orders()) == 2
    desk.world.tell(desk.manager, a_demand("s", want=8))
    assert len(executors(desk)) == 2
    assert desk.get("q", "ResourceQuota")["status"]["used"] == {"requests.cpu": "4"}
    desk.world.wait(2)
    desk.ends(serving(desk)[0], "Failed", reason="Error")
    desk.world.wait(0.8)
    assert not executors(desk)
    desk.world.wait(0.5)
    assert names(desk.orders()) == ["serve"]
    assert not desk.world.take(m.DrainExecutor)


def test_the_batch_part_gives_back_of_the_quota_what_the_floor_needs_and_no_more():
    desk = Desk(a_node(cpus=8))
    desk.apply(a_quota() | {"spec": {"hard": {"requests.cpu": "4"}}})
    desk.apply(a_hybrid(1))
    desk.orders()
    desk.world.tell(desk.manager, a_demand("s", want=8, min_instances=1))
    assert len(executors(desk)) == 3
    desk.world.wait(2)
    scale = json.dumps({"spec": {"replicas": 3}}).encode()
    desk.ask(m.PutObject("merge", "FlameWorkload", name="serve", body=scale, subresource="scale"))
    drains = desk.world.take(m.DrainExecutor, desk.manager)
    desk.world.wait(5)  # its tasks take their time: nobody else is sent away for that
    drains += desk.world.take(m.DrainExecutor, desk.manager)
    assert len(drains) == 2 and {drain.reason for drain in drains} == {
        "its quota is needed by replicas of job/default/default/serve"
    }
    assert not desk.orders()
    for at, drain in enumerate(drains, 1):
        desk.world.tell(desk.agent, m.PlacementExited(drain.placement, 0))
        assert len(desk.orders()) == 1 and len(serving(desk)) == 1 + at
    desk.world.wait(5)
    assert not executors(desk) and not desk.world.take(m.DrainExecutor)
    scale = json.dumps({"spec": {"replicas": 4}}).encode()
    desk.ask(m.PutObject("merge", "FlameWorkload", name="serve", body=scale, subresource="scale"))
    desk.world.wait(2)
    assert not desk.world.take(m.DrainExecutor)  # the session keeps its minimum, too
    assert desk.status("serve")["reason"] == "QuotaExceeded"


def test_a_floor_that_waits_for_a_claim_keeps_nobody_waiting():
    desk = Desk(a_node(cpus=1))
    desk.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}})
    pod = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    desk.apply(a_hybrid(1, pod=pod))
    (order,) = desk.orders()
    desk.apply(a_workload("batch"))
    desk.ask(m.DeleteObject("PersistentVolumeClaim", name="data"))
    desk.ends(order.id, "Failed", reason="Error")
    desk.world.wait(2)
    assert names(desk.orders()) == ["batch"]


def test_a_restart_of_the_allocator_keeps_the_floor():
    desk = Desk(a_node(cpus=2))
    desk.apply(a_hybrid())
    desk.orders()
    desk.apply(a_workload("batch", 2, scheduling={"gang": False}))
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    desk.agent = desk.world.agent(a_node(cpus=2))  # and nothing runs there any more
    desk.world.wait(5)
    assert names(desk.orders()) == ["serve", "serve"]
