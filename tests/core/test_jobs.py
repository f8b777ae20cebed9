"""Workloads through a whole allocator: what is applied, what agents are told, what they say, what the objects show."""

from __future__ import annotations

import json
from itertools import count

import pytest

from flame.core.model import messages as m
from flame.core.model.reactor import Received
from flame.testing.world import World, a_demand, a_node

REQUESTS = count(1)


def a_workload(name="job", replicas=1, type="Training", cpu="1", pod=None, scheduling=None, gpu=None, **spec):
    amounts = {"cpu": cpu} | ({"nvidia.com/gpu": gpu} if gpu else {})
    container = {
        "name": "main",
        "image": "i",
        "command": ["run"],
        "resources": {"requests": amounts, "limits": amounts},
    }
    return {
        "apiVersion": "flame.xflops.cn/v1alpha1",
        "kind": "FlameWorkload",
        "metadata": {"name": name},
        "spec": {
            "type": type,
            "replicas": replicas,
            "scheduling": scheduling or {},
            "template": {"spec": {"containers": [container]} | (pod or {})},
            **spec,
        },
    }


class Desk:
    """A client behind a manager, and agents that do as told."""

    def __init__(self, *nodes, **settings):
        self.world = World(**settings)
        self.manager = self.world.manager()
        self.agent = self.world.agent(*(nodes or (a_node(cpus=8),)))
        self.running: dict[str, m.StartReplica] = {}

    def ask(self, message, wait=True):
        number = next(REQUESTS)
        self.world.handle(Received(self.manager, number, message))
        if wait:
            self.world.settle()
        found = [send for send in self.world.said if send.request == number]
        self.world.said = [send for send in self.world.said if send.request != number]
        return found[0].message if found else None

    def apply(self, body, **more):
        return self.ask(m.PutObject("apply", body["kind"], body=json.dumps(body).encode(), **more))

    def get(self, name, kind="FlameWorkload"):
        found = self.ask(m.GetObject(kind, name=name))
        return json.loads(found.body) if isinstance(found, m.Object) else found

    def status(self, name="job"):
        return self.get(name)["status"]

    def pods(self):
        return [json.loads(body) for body in self.ask(m.ListObjects("Pod")).bodies]

    def wait(self, seconds):
        """With heartbeats."""
        for _ in range(int(seconds)):
            self.world.wait(1)
            self.world.tell(self.agent, m.Heartbeat("n1", self.world.now))

    def delete(self, name="job", **more):
        return self.ask(m.DeleteObject("FlameWorkload", name=name, **more))

    def orders(self):
        """What agents are told to start; they start it."""
        found = self.world.take(m.StartReplica, self.agent)
        for order in found:
            self.running[order.id] = order
            self.world.tell(self.agent, m.PlacementStarted(order.id, 1))
            self.says(order.id, "Running", ready=True)
        return found

    def says(self, id, phase, **more):
        self.world.tell(self.agent, m.ReplicaChanged(id, phase, started=self.world.now, **more))

    def ends(self, id, phase="Succeeded", **more):
        self.says(id, phase, **more)
        self.running.pop(id, None)
        self.world.tell(self.agent, m.PlacementExited(id, 0 if phase == "Succeeded" else 1))

    def stops(self):
        """What agents are told to stop; it stops."""
        found = self.world.take(m.StopPlacement, self.agent)
        for stop in found:
            self.running.pop(stop.id, None)
            self.world.tell(self.agent, m.PlacementExited(stop.id, signal=15))
        return found

    def diagnosis(self, name="job"):
        return json.loads(self.ask(m.DebugObject("FlameWorkload", name=name)).body)

    def ranks(self):
        return sorted(order.spec.rank for order in self.running.values())


@pytest.mark.ledger("B-042", "B-051", "B-052", "B-053")
def test_a_training_starts_as_a_gang_and_succeeds_when_all_ranks_have():
    desk = Desk()
    put = desk.apply(a_workload(replicas=4))
    assert put.change == "created"
    orders = desk.orders()
    assert [order.spec.rank for order in orders] == [0, 1, 2, 3]
    assert {order.spec.world_size for order in orders} == {4}
    assert len({order.spec.rendezvous for order in orders}) == 1
    status = desk.status()
    assert {order.spec.workload_id for order in orders} == {status["id"]}
    assert (status["phase"], status["replicas"], status["readyReplicas"]) == ("Running", 4, 4)
    for order in orders[:3]:
        desk.ends(order.id)
    assert desk.status()["phase"] == "Running"
    desk.ends(orders[3].id)
    status = desk.status()
    assert (status["phase"], status["succeeded"]) == ("Succeeded", 4)
    assert not desk.world.take(m.StartReplica)


@pytest.mark.ledger("B-009")
def test_a_workload_that_always_fails_runs_once_and_thrice_again():
    desk = Desk()
    desk.apply(a_workload(replicas=2))
    runs = 0
    for _ in range(10):
        orders = desk.orders()
        if not orders:
            desk.wait(10)
            orders = desk.orders()
        if not orders:
            break
        assert len(orders) == 2
        runs += 1
        desk.ends(orders[0].id, "Failed", reason="Error", message="exit code 1")
        stopped = desk.stops()
        assert [stop.id for stop in stopped] == ([orders[1].id])
    assert runs == 4
    status = desk.status()
    assert (status["phase"], status["reason"]) == ("Failed", "RetriesExceeded")
    assert [failure["attempt"] for failure in status["failures"]] == [1, 2, 3, 4]


@pytest.mark.ledger("B-008")
def test_a_deadline_ends_it():
    desk = Desk()
    desk.apply(a_workload(timeout="3s"))
    desk.orders()
    desk.world.wait(2.5)
    assert desk.status()["phase"] == "Running"
    desk.world.wait(1.0)
    assert [stop.reason for stop in desk.stops()] == ["DeadlineExceeded"]
    assert desk.status()["reason"] == "DeadlineExceeded"
    assert desk.diagnosis()["summary"].startswith("job: timeout:")


@pytest.mark.ledger("B-043", "B-045")
def test_an_inference_is_kept_up_and_scaled():
    desk = Desk()
    desk.apply(a_workload(replicas=2, type="Inference"))
    first = desk.orders()
    desk.ends(first[0].id, "Failed", reason="Error")
    desk.world.wait(2.0)
    again = desk.orders()
    assert [order.spec.rank for order in again] == [0] and again[0].spec.attempt == 2
    desk.ask(m.PutObject("merge", "FlameWorkload", name="job", body=b'{"spec": {"replicas": 4}}', subresource="scale"))
    assert [order.spec.rank for order in desk.orders()] == [2, 3]
    desk.ask(m.PutObject("merge", "FlameWorkload", name="job", body=b'{"spec": {"replicas": 1}}', subresource="scale"))
    assert len(desk.stops()) == 3 and desk.ranks() == [0]
    assert desk.status()["replicas"] == 1


def test_a_new_template_replaces_replicas_a_few_at_a_time():
    desk = Desk()
    body = a_workload(replicas=4, type="Inference")
    desk.apply(body)
    desk.orders()
    body["spec"]["template"]["spec"]["containers"][0]["args"] = ["--new"]
    desk.apply(body)
    for _ in range(4):
        assert len(desk.stops()) == 1
        assert len(desk.orders()) == 1
    assert not desk.stops()
    status = desk.status()
    assert (status["updatedReplicas"], status["readyReplicas"], status["observedGeneration"]) == (4, 4, 2)


def test_a_deleted_workload_goes_when_its_replicas_have():
    desk = Desk()
    desk.apply(a_workload(replicas=2))
    desk.orders()
    desk.delete(grace=5.0)
    assert "deletionTimestamp" in desk.get("job")["metadata"]
    assert [stop.grace for stop in desk.stops()] == [5.0, 5.0]
    assert isinstance(desk.get("job"), m.Failure)
    assert desk.pods() == []
    assert not desk.world.allocator.book.demands and not desk.world.allocator.book.tokens


def test_a_suspended_workload_gives_everything_back_and_goes_on_later():
    desk = Desk()
    body = a_workload(replicas=2)
    desk.apply(body)
    desk.orders()
    body["spec"]["suspend"] = True
    desk.apply(body)
    assert len(desk.stops()) == 2
    assert desk.status()["phase"] == "Suspended"
    body["spec"]["suspend"] = False
    desk.apply(body)
    assert len(desk.orders()) == 2


@pytest.mark.ledger("B-104", "B-105")
def test_a_higher_class_evicts_and_the_evicted_comes_back():
    desk = Desk(a_node(cpus=4))
    for name, value in (("high", 100), ("low", 1)):
        desk.apply(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
        )
    desk.apply(a_workload("cheap", 4, scheduling={"priorityClassName": "low"}))
    assert len(desk.orders()) == 4
    desk.world.wait(1)
    desk.apply(a_workload("urgent", 2, scheduling={"priorityClassName": "high"}))
    assert len(desk.stops()) == 4
    urgent = desk.orders()
    assert [order.spec.workload for order in urgent] == ["urgent"] * 2
    said = desk.diagnosis("cheap")
    assert said["causes"][0]["kind"] == "priority" and "preempted by urgent" in said["summary"]
    for order in urgent:
        desk.ends(order.id)
    desk.world.wait(1)
    assert len(desk.orders()) == 4
    assert desk.status("cheap")["failed"] == 0


@pytest.mark.ledger("B-104")
def test_executors_stay_while_the_gpus_of_an_evicted_one_are_still_on_their_way():
    desk = Desk(a_node(cpus=8, gpus=2))
    desk.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 100}
    )
    desk.world.tell(desk.manager, a_demand("s", want=6))
    desk.apply(a_workload("cheap", gpu="2"))
    assert len(desk.orders()) == 1
    desk.world.wait(1)
    desk.apply(a_workload("urgent", gpu="2", scheduling={"priorityClassName": "high"}))
    (stop,) = desk.world.take(m.StopPlacement, desk.agent)  # and it takes its time
    desk.apply(a_workload("cheap", gpu="2", suspend=True))
    for _ in range(20):
        desk.world.wait(0.25)
    assert not desk.world.take(m.DrainExecutor)
    desk.world.tell(desk.agent, m.PlacementExited(stop.id, signal=15))
    assert [order.spec.workload for order in desk.orders()] == ["urgent"]


@pytest.mark.ledger("B-089")
def test_the_global_default_class_is_that_of_who_names_none():
    desk = Desk(a_node(cpus=1))
    desk.apply({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "normal"}, "value": 5,
        "globalDefault": True,
    })  # fmt: skip
    second = {
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "other"}, "value": 6, "globalDefault": True
    }  # fmt: skip
    assert isinstance(desk.apply(second), m.Failure)
    desk.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "low"}, "value": 1})
    desk.apply(a_workload("cheap", scheduling={"priorityClassName": "low"}))
    desk.orders()
    desk.world.wait(1)
    desk.apply(a_workload("plain"))
    desk.stops()
    assert [order.spec.workload for order in desk.orders()] == ["plain"]


@pytest.mark.ledger("B-079", "B-087", "B-151")
def test_a_resource_quota_holds_and_shows_what_is_used():
    desk = Desk()
    desk.apply({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "2", "pods": "9"}}
    })  # fmt: skip
    for name in "abc":
        desk.apply(a_workload(name))
    desk.orders()
    waiting = [name for name in "abc" if desk.status(name)["phase"] == "Pending"]
    assert len(waiting) == 1
    status = desk.status(waiting[0])
    assert status["reason"] == "QuotaExceeded"
    for part in ("default/q", "requests.cpu", "used 2", "hard 2", "asked 1"):
        assert part in status["message"]
    assert desk.get("q", "ResourceQuota")["status"]["used"] == {"requests.cpu": "2", "pods": "2"}


@pytest.mark.ledger("B-060")
def test_a_missing_claim_keeps_it_waiting_until_it_is_there():
    desk = Desk()
    pod = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-pvc"}}]}
    desk.apply(a_workload(pod=pod))
    assert not desk.orders()
    assert desk.diagnosis()["summary"].startswith("job: PVC: there is no PersistentVolumeClaim data-pvc")
    desk.apply({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-pvc"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })  # fmt: skip
    assert len(desk.orders()) == 1


def test_a_restarted_allocator_takes_up_what_runs():
    desk = Desk()
    desk.apply(a_workload(replicas=2))
    orders = desk.orders()
    started = desk.status()["startedAt"]
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    running = tuple(
        m.Placed(o.id, o.owner, o.resources, owner=o.owner, rank=o.spec.rank, attempt=o.spec.attempt, pid=1,
                 replica=m.ReplicaChanged(o.id, "Running", ready=True))
        for o in orders
    )  # fmt: skip
    desk.agent = desk.world.agent(a_node(cpus=8, running=running))
    desk.world.wait(5)
    assert not desk.world.take(m.StartReplica)
    status = desk.status()
    assert (status["phase"], status["readyReplicas"], status["attempt"], status["startedAt"]) == (
        "Running",
        2,
        1,
        started,
    )


@pytest.mark.ledger("B-053")
def test_where_the_ranks_meet_outlives_the_allocator():
    desk = Desk()
    desk.apply(a_workload(replicas=2, type="Inference"))
    first, second = desk.orders()
    desk.world.wait(2)
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    running = m.Placed(first.id, first.owner, first.resources, owner=first.owner, rank=0, attempt=1, pid=1,
                       replica=m.ReplicaChanged(first.id, "Running", ready=True))  # fmt: skip
    desk.agent = desk.world.agent(a_node(cpus=8, running=[running], address="10.0.0.9"))
    desk.world.wait(5)
    (again,) = desk.orders()
    assert (again.spec.rank, again.spec.rendezvous) == (1, first.spec.rendezvous) == (1, second.spec.rendezvous)


def test_a_restarted_allocator_starts_again_what_nobody_runs():
    desk = Desk()
    desk.apply(a_workload(replicas=2))
    desk.orders()
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    desk.agent = desk.world.agent(a_node(cpus=8))
    assert not desk.orders()
    desk.world.wait(5)
    assert len(desk.orders()) == 2


@pytest.mark.ledger("B-145")
def test_pools_take_what_names_them():
    nodes = [a_node(f"n-{pool}", cpus=8, labels={"pool": pool}) for pool in ("training", "inference")]
    desk = Desk(*nodes)
    for name, kind in (("train", "Training"), ("serve", "Inference")):
        desk.apply(a_workload(name, 4, type=kind, scheduling={"nodeSelector": {"pool": kind.lower()}}))
    where = {(order.spec.workload, order.node) for order in desk.orders()}
    assert where == {("train", "n-training"), ("serve", "n-inference")}
    assert len(desk.running) == 8


@pytest.mark.ledger("A-40")
def test_a_gang_and_a_session_share_a_node():
    desk = Desk(a_node(cpus=8))
    desk.world.tell(desk.manager, a_demand("s", want=8))
    desk.world.run(desk.agent, desk.manager)
    desk.world.wait(2)
    desk.apply(a_workload("mpi", 4))
    drained = desk.world.take(m.DrainExecutor, desk.manager)
    assert len(drained) == 4
    for drain in drained:
        desk.world.tell(desk.agent, m.PlacementExited(drain.placement, 0))
    orders = desk.orders()
    assert len(orders) == 4
    for order in orders:
        desk.ends(order.id)
    desk.world.wait(1)
    assert len(desk.world.take(m.StartPlacement, desk.agent)) == 4
    desk.world.said.clear()


@pytest.mark.ledger("B-148", "B-161")
def test_events_say_what_happened():
    desk = Desk()
    desk.apply(a_workload())
    order = desk.orders()[0]
    desk.ends(order.id, "Failed", reason="OOMKilled", message="used more memory than its 64 MiB")
    found = [json.loads(body) for body in desk.ask(m.ListObjects("Event", fields="involvedObject.name=job")).bodies]
    reasons = {event["reason"]: event for event in found}
    assert {"Scheduled", "ReplicaFailed"} <= set(reasons)
    assert reasons["ReplicaFailed"]["type"] == "Warning" and reasons["ReplicaFailed"]["count"] == 1
    assert desk.diagnosis()["causes"][0]["kind"] == "OOM"


def test_a_watch_is_answered_when_something_comes():
    desk = Desk()
    version = desk.ask(m.ListObjects("FlameWorkload")).version
    number = next(REQUESTS)
    desk.world.handle(Received(desk.manager, number, m.WatchObjects("FlameWorkload", version, wait=30)))
    assert not [send for send in desk.world.said if send.request == number]
    desk.apply(a_workload())
    answer = next(send.message for send in desk.world.said if send.request == number)
    assert [change.change for change in answer.changes][0] == "ADDED"
    assert answer.version > version
    number = next(REQUESTS)
    last = desk.ask(m.ListObjects("FlameWorkload")).version
    desk.world.handle(Received(desk.manager, number, m.WatchObjects("FlameWorkload", last, wait=5)))
    desk.world.said.clear()
    desk.world.wait(6)
    assert [send.message.changes for send in desk.world.said if send.request == number] == [()]


def test_nodes_and_pods_are_shown():
    desk = Desk()
    desk.apply(a_workload(replicas=2))
    desk.orders()
    pods = desk.pods()
    assert [pod["metadata"]["name"] for pod in pods] == ["job-0", "job-1"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    node = json.loads(desk.ask(m.ListObjects("Node")).bodies[0])
    assert node["status"]["conditions"][0]["status"] == "True"
    assert node["status"]["allocatable"]["cpu"] == "8"
    agent = json.loads(desk.ask(m.ListObjects("FlameAgent")).bodies[0])
    assert agent["status"]["workloads"] == 2


def test_a_lost_node_restarts_a_gang_elsewhere_without_counting_it():
    desk = Desk(a_node("n1", cpus=2))
    desk.apply(a_workload(replicas=2))
    desk.orders()
    desk.world.lose(desk.agent)
    desk.agent = desk.world.agent(a_node("n2", cpus=2))
    desk.running.clear()
    assert len(desk.orders()) == 2
    status = desk.status()
    assert (status["failed"], status["attempt"], status["losses"]) == (0, 2, 1)


def test_a_call_goes_to_the_agent_and_back():
    desk = Desk()
    desk.apply(a_workload())
    desk.orders()
    number = next(REQUESTS)
    desk.world.handle(Received(desk.manager, number, m.CallReplica("logs", "job-0")))
    asked = desk.world.take(m.AskAgent, desk.agent)[0]
    assert asked.call.verb == "logs"
    desk.world.tell(desk.agent, m.AgentAnswered(asked.number, m.ReplicaAnswer(b"hello", 5)))
    assert [send.message.data for send in desk.world.said if send.request == number] == [b"hello"]
    desk.world.said.clear()
    assert isinstance(desk.ask(m.CallReplica("logs", "nobody-0")), m.Failure)


def test_hybrid_and_training_scale_by_restart_when_they_are_gangs():
    desk = Desk()
    body = a_workload(replicas=2)
    desk.apply(body)
    desk.orders()
    body["spec"]["replicas"] = 3
    desk.apply(body)
    assert len(desk.stops()) == 2
    orders = desk.orders()
    assert [order.spec.world_size for order in orders] == [3, 3, 3]
