"""Twelve faults, each seeded in a real cluster: `flame debug workload` names the cause in its first line, and what would change it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flame.testing.cluster import LocalCluster, eventually

FLAME = Path(sys.executable).with_name("flame")
FOREVER = ["sleep", "600"]
PYTHON = sys.executable
GROUP = "flame.xflops.cn/v1alpha1"


def workload(name, command=FOREVER, replicas=1, container=None, pod=None, scheduling=None, namespace="default", **spec):
    main = {"name": "main", "image": "none", **({"command": command} if command else {}), **(container or {})}
    return {
        "apiVersion": GROUP,
        "kind": "FlameWorkload",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "type": "Training",
            "replicas": replicas,
            "maxRetries": 0,
            "scheduling": scheduling or {},
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 0,
                    "containers": [main],
                    **(pod or {}),
                }
            },
            **spec,
        },
    }


def asks(**amounts):
    known = {name.replace("gpu", "nvidia.com/gpu"): amount for name, amount in amounts.items()}
    return {"resources": {"requests": known, "limits": known}}


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(cpus=4.0, memory=8 << 30, simulate_gpus="nvidia-a100:2x40Gi") as made:
        yield made


@pytest.fixture
def objects(cluster):
    with cluster.connect() as client:
        made = client.objects
        yield made
        for body in made.list("flameworkload").items:
            made.delete("flameworkload", body["metadata"]["name"], namespace=body["metadata"]["namespace"], grace=0.0)
        eventually(lambda: not made.list("flameworkload").items)
        for kind in ("resourcequota", "priorityclass"):
            for body in made.list(kind).items:
                made.delete(kind, body["metadata"]["name"], namespace=body["metadata"].get("namespace", ""))


def first_line(cluster, name, *words):
    """What people see first."""
    command = [FLAME, "debug", "workload", name, "--data-dir", cluster.data_dir, *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n", 1)[0]


def names(objects, name, kind, namespace="default"):
    """Wait until the diagnosis names this kind; anything else that it names first is told."""

    def first():
        causes = objects.debug("flameworkload", name, namespace=namespace)["causes"]
        return causes[0]["kind"] if causes else ""

    eventually(lambda: first() == kind, 30, f"{kind} was not named")


def running(objects, name):
    eventually(
        lambda: objects.get("flameworkload", name)["status"].get("phase") == "Running", 20, f"{name} does not run"
    )


def quota(hard):
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}


@pytest.mark.ledger("B-158")
def test_quota(cluster, objects):
    objects.apply(quota({"requests.cpu": "2"}))
    objects.apply(workload("over", replicas=3, container=asks(cpu="1")))
    names(objects, "over", "quota")
    line = first_line(cluster, "over")
    assert line.startswith("over: quota: quota default/team: requests.cpu used 0, hard 2, asked 3")
    assert line.endswith("; it would start with 1 CPU fewer")


@pytest.mark.ledger("B-158")
def test_quota_that_another_gives_back(cluster, objects):
    objects.apply(quota({"requests.cpu": "2"}))
    objects.apply(workload("first", container=asks(cpu="2"), timeout="1h"))
    running(objects, "first")
    objects.apply(workload("second", container=asks(cpu="1")))
    names(objects, "second", "quota")
    assert re.search(r"when first ends, about \d\d:\d\d UTC$", first_line(cluster, "second"))


@pytest.mark.ledger("B-158")
def test_no_node_with_the_label(cluster, objects):
    objects.apply(workload("picky", scheduling={"nodeSelector": {"disk": "ssd"}}))
    names(objects, "picky", "no node")
    assert first_line(cluster, "picky").startswith("picky: no node: 0/1 nodes take it: without the label disk=ssd")


@pytest.mark.ledger("B-158")
def test_no_node_at_all():
    with LocalCluster(with_node=False) as cluster, cluster.connect() as client:
        client.objects.apply(workload("alone"))
        names(client.objects, "alone", "no node")
        assert first_line(cluster, "alone").startswith("alone: no node: no node is ready")


@pytest.mark.ledger("B-158")
def test_image(cluster, objects):
    objects.apply(workload("boxed", command=None, container={"image": "ghcr.io/acme/train:v1"}))
    names(objects, "boxed", "image")
    assert "ghcr.io/acme/train:v1" in first_line(cluster, "boxed")


@pytest.mark.ledger("B-158")
def test_probe(cluster, objects):
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"ports": [{"containerPort": 8080}], "readinessProbe": probe}
    objects.apply(workload("deaf", container=container, type="Inference"))
    names(objects, "deaf", "probe")
    eventually(lambda: "refused" in first_line(cluster, "deaf"), 10, first_line(cluster, "deaf"))
    assert first_line(cluster, "deaf").startswith("deaf: probe: rank 0 on ")


@pytest.mark.ledger("B-158")
def test_a_liveness_probe_that_kills(cluster, objects):
    probe = {"exec": {"command": ["sh", "-c", "echo no heartbeat; exit 7"]}, "periodSeconds": 1, "failureThreshold": 1}
    objects.apply(
        workload("dying", container={"livenessProbe": probe}, type="Inference", pod={"restartPolicy": "Always"})
    )
    names(objects, "dying", "probe")


@pytest.mark.ledger("B-158")
def test_out_of_memory(cluster, objects):
    eater = [PYTHON, "-c", "x = []\nwhile True: x.append(bytearray(1 << 20))"]
    objects.apply(workload("eater", command=eater, container=asks(memory="96Mi")))
    names(objects, "eater", "OOM")
    assert "OOMKilled" in first_line(cluster, "eater")


@pytest.mark.ledger("B-158")
@pytest.mark.parametrize(("retries", "restart"), [(0, "Never"), (3, "Never"), (3, "OnFailure")])
def test_crash(cluster, objects, retries, restart):
    crash = [PYTHON, "-c", "raise SystemExit('the disk of Unhealthy OOMKilled fame is full')"]
    objects.apply(workload("crash", command=crash, maxRetries=retries, pod={"restartPolicy": restart}))
    names(objects, "crash", "crash")
    assert first_line(cluster, "crash").startswith("crash: crash: ")


@pytest.mark.ledger("B-158")
def test_claim(cluster, objects):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-pvc"}}]
    objects.apply(workload("claims", pod={"volumes": volumes}))
    names(objects, "claims", "PVC")
    assert "there is no PersistentVolumeClaim data-pvc" in first_line(cluster, "claims")


@pytest.mark.ledger("B-158")
def test_gang(cluster, objects):
    objects.apply(workload("choir", replicas=6, container=asks(cpu="1")))
    names(objects, "choir", "gang")
    line = first_line(cluster, "choir")
    assert line.startswith("choir: gang: a gang of 6 ") and line.endswith("; it would start with 2 replicas fewer")


@pytest.mark.ledger("B-158")
def test_priority_by_eviction_and_by_waiting(cluster, objects):
    for name, value in (("low", 10), ("high", 1000)):
        objects.apply(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
        )
    low = workload("low", container=asks(cpu="4"), scheduling={"priorityClassName": "low"}, maxRetries=9)
    objects.apply(low)
    running(objects, "low")
    objects.apply(workload("high", container=asks(cpu="4"), scheduling={"priorityClassName": "high"}))
    running(objects, "high")
    names(objects, "low", "priority")
    assert "high" in first_line(cluster, "low")
    objects.apply(workload("later", container=asks(cpu="1"), scheduling={"priorityClassName": "low"}))
    names(objects, "later", "priority")
    assert re.match(r"later: priority: high \(class high, 1000\) has the room", first_line(cluster, "later"))


@pytest.mark.ledger("B-158")
def test_taint():
    with LocalCluster(taints=("dedicated=ml:NoSchedule",)) as cluster, cluster.connect() as client:
        client.objects.apply(workload("web"))
        names(client.objects, "web", "taint")
        assert "with the taint dedicated=ml:NoSchedule" in first_line(cluster, "web")


@pytest.mark.ledger("B-158")
def test_timeout(cluster, objects):
    objects.apply(workload("slow", timeout="1s"))
    names(objects, "slow", "timeout")
    assert first_line(cluster, "slow").startswith("slow: timeout: it ran for longer than 1 s")


@pytest.mark.ledger("B-158")
def test_gpu(cluster, objects):
    objects.apply(workload("greedy", container=asks(gpu="4")))
    names(objects, "greedy", "GPU")
    assert re.search(r"; it would start on \S+ with 2 GPUs fewer$", first_line(cluster, "greedy"))


@pytest.mark.ledger("B-158")
def test_gpu_that_another_has_until_it_ends(cluster, objects):
    objects.apply(workload("job-7", container=asks(gpu="2"), timeout="30m"))
    running(objects, "job-7")
    objects.apply(workload("next", container=asks(gpu="2")))
    names(objects, "next", "GPU")
    assert re.search(r"; it would start when job-7 ends, about \d\d:\d\d UTC$", first_line(cluster, "next"))


@pytest.mark.ledger("B-158")
def test_what_runs_well_has_no_cause(cluster, objects):
    objects.apply(workload("well"))
    running(objects, "well")
    eventually(lambda: first_line(cluster, "well").endswith("nothing is wrong"), 10)
    assert first_line(cluster, "well", "-o", "name") == "ok"
