"""Workloads on a real cluster whose processes die: what runs goes on, what was lost starts again, and counts as nobody's fault."""

from __future__ import annotations

import threading
import time

import pytest

from flame.testing.cluster import LocalCluster, eventually

RANKS = """
import os, sys, time
print("rank", os.environ["FLAME_RANK"], "of", os.environ["FLAME_WORLD_SIZE"], flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    time.sleep(0.05)
"""


def a_workload(name: str, replicas: int = 1, seconds: float = 1.0, type: str = "Training"):
    container = {
        "name": "main", "image": "python", "command": ["python3", "-c", RANKS], "args": [str(seconds)],
        "resources": {"requests": {"cpu": "500m"}},
    }  # fmt: skip
    return {
        "apiVersion": "flame.xflops.cn/v1alpha1",
        "kind": "FlameWorkload",
        "metadata": {"name": name},
        "spec": {"type": type, "replicas": replicas, "template": {"spec": {"containers": [container]}}},
    }


def status(client, name):
    return client.objects.get("fw", name).get("status") or {}


def runs(client, name, replicas):
    return status(client, name).get("readyReplicas") == replicas


@pytest.fixture
def cluster():
    with LocalCluster() as made:
        yield made


@pytest.mark.ledger("B-042", "B-051", "B-052", "B-053")
def test_four_ranks_start_together_and_succeed(cluster):
    with cluster.connect() as client:
        begin = time.perf_counter()
        client.objects.apply(a_workload("job", 4, 1.0))
        eventually(lambda: runs(client, "job", 4))
        assert time.perf_counter() - begin < 10  # 0.2 s here; the bound is for machines that do other things
        eventually(lambda: status(client, "job")["phase"] == "Succeeded")
        said = b"".join(line for rank in range(4) for line in client.objects.logs(f"job-{rank}")).decode()
        assert all(f"rank {rank} of 4" in said for rank in range(4))


def test_what_runs_outlives_its_allocator(cluster):
    with cluster.connect() as client:
        client.objects.apply(a_workload("job", 2, 6.0))
        eventually(lambda: runs(client, "job", 2))
        pids = {pod["metadata"]["uid"] for pod in client.objects.list("pods").items}
        started = status(client, "job")["startedAt"]
        cluster.kill("allocator")
        eventually(lambda: runs(client, "job", 2))
        assert {pod["metadata"]["uid"] for pod in client.objects.list("pods").items} == pids
        eventually(lambda: status(client, "job")["phase"] == "Succeeded")
        found = status(client, "job")
        assert (found["attempt"], found["failed"], found["startedAt"]) == (1, 0, started)


def test_a_gang_whose_agent_dies_starts_again_and_it_is_no_failure(cluster):
    with cluster.connect() as client:
        client.objects.apply(a_workload("job", 2, 3.0))
        eventually(lambda: runs(client, "job", 2))
        cluster.kill("agent")
        eventually(lambda: status(client, "job").get("attempt") == 2 and runs(client, "job", 2))
        eventually(lambda: status(client, "job")["phase"] == "Succeeded")
        found = status(client, "job")
        assert found["failed"] == 0 and found["losses"] >= 1


def test_objects_and_their_numbers_outlive_everything(tmp_path):
    with LocalCluster(tmp_path, durability="power") as cluster, cluster.connect() as client:
        client.objects.apply(a_workload("done", 1, 0.1))
        eventually(lambda: status(client, "done")["phase"] == "Succeeded")
        before = client.objects.list("fw")
    with LocalCluster(tmp_path, durability="power") as cluster, cluster.connect() as client:
        after = client.objects.list("fw")
        assert [item["status"] for item in after.items] == [item["status"] for item in before.items]
        assert after.version > before.version  # versions that were only shown are not given out again
        assert client.objects.delete("fw", "done").change in ("configured", "deleted")
        eventually(lambda: not client.objects.list("fw").items)


def test_a_watch_misses_nothing_while_the_session_manager_dies(cluster):
    seen: list[tuple[str, str]] = []
    with cluster.connect() as client, cluster.connect() as other:
        version = client.objects.list("fw").version
        done = threading.Event()

        def watch() -> None:
            for change in other.objects.watch("fw", since=version, stop=done.is_set):
                seen.append((change.change, change.object.get("metadata", {}).get("name", "")))
                if ("DELETED", "last") in seen:
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        client.objects.apply(a_workload("first", 1, 0.1))
        cluster.kill("manager")
        eventually(lambda: client.objects.apply(a_workload("last", 1, 30.0)))
        eventually(lambda: runs(client, "last", 1))
        client.objects.delete("fw", "last", grace=0)
        thread.join(40)
        done.set()
    assert not thread.is_alive()
    assert ("ADDED", "first") in seen and ("ADDED", "last") in seen and ("DELETED", "last") in seen


@pytest.mark.ledger("B-055")
def test_tenants_do_not_see_each_other(cluster):
    with cluster.connect() as client:
        client.set_tenant("acme")
        token = client.create_token("t", "user", "acme").token
        import flame

        with flame.connect(cluster.run.endpoint, token=token) as acme:
            client.objects.apply(a_workload("mine", 1, 30.0))
            assert acme.whoami().tenant in ("acme", "*")
            if acme.whoami().tenant == "acme":
                assert not acme.objects.list("fw").items
                acme.objects.apply(a_workload("mine", 1, 30.0))
                assert len(acme.objects.list("fw").items) == 1
                eventually(lambda: runs(acme, "mine", 1))
