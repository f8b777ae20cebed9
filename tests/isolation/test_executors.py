"""Accidents of one service, and what the others notice of them: nothing. Real executors, real limits."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tarfile
from pathlib import Path

import pytest
from isolation.conftest import Probe, alive, ask, groups_of, needs_groups, versions

import flame
from flame.core.base.errors import InvalidArgument
from flame.platform.hierarchies import find
from flame.testing.cluster import LocalCluster, eventually

FOREIGN = Path(__file__).parents[1] / "agent" / "foreign_service.py"
MI = 1 << 20
SMALL = {"memory": 700 * MI, "resources": {"cpu": 1000, "memory": 64 * MI}}


@pytest.fixture(scope="module")
def cluster():
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    isolation = {"environment": "cleared", "processes": 64, "file_size": "8Mi"}
    with LocalCluster(isolation=isolation, environment={"FROM_CLUSTER": "yes"}, **SMALL) as made:
        patch.undo()
        yield made


@pytest.fixture
def client(cluster):
    with cluster.connect() as made:
        yield made


def limited(client, **more):
    return client.session(Probe, resources="cpu=1,mem=128m", max_instances=1, **more)


def labels_of(client):
    eventually(lambda: client.list_nodes())
    return client.list_nodes()[0].labels


def zygote_of(cluster):
    agent = cluster.pid("agent")
    return int(Path(f"/proc/{agent}/task/{agent}/children").read_text().split()[0])


def events(client, session):
    return [event.message for event in client.get_session(session.id).events if event.reason == "ExecutorExited"]


@needs_groups
def test_a_service_that_eats_memory_is_killed_and_named_and_its_neighbours_run_on(client):
    with limited(client) as eater, limited(client) as neighbour:
        before = ask(neighbour, "pid")
        eaten = eater.run(b"eat")
        others = [neighbour.run(b"pid") for _ in range(50)]
        with pytest.raises(
            flame.WorkerDied, match=r"used more memory than its 128 MiB \(peak 128.0 MiB\): killed by the"
        ):
            eaten.result(60)
        assert {int(future.result(60)) for future in others} == {before}
        assert ask(neighbour, "pid") == before
        named = events(client, eater)
        assert len(named) == 3 and all("used more memory than its 128 MiB" in text for text in named)
        assert events(client, neighbour) == []
        assert ask(eater, "eat", 32) == 32  # and its session goes on, too


@needs_groups
def test_who_asked_for_nothing_shares_the_node_and_the_biggest_goes_when_it_is_full(client):
    with client.session(Probe, max_instances=1) as eater, limited(client) as neighbour:
        before = ask(neighbour, "pid")
        assert ask(eater, "eat", 300) == 300  # more than nothing is not too much
        with pytest.raises(flame.WorkerDied, match="the executors of this node ran out of memory, and it had most"):
            ask(eater, "eat")
        assert ask(neighbour, "pid") == before


@needs_groups
def test_quotas_and_strict_limits_hold_for_who_asked_for_nothing():
    default = {"cpu": 300, "memory": 96 * MI}
    cluster = LocalCluster(isolation={"cpu": "quota", "memory": "strict"}, resources=default)
    with cluster, cluster.connect() as client, client.session(Probe, max_instances=1) as session:
        assert 0.1 < ask(session, "burn", 1) < 0.5
        with pytest.raises(flame.WorkerDied, match="used more memory than its 96 MiB"):
            ask(session, "eat")


@needs_groups
def test_cpu_is_a_weight_unless_a_quota_is_wanted(client):
    with client.session(Probe, resources="cpu=2", max_instances=1) as session:
        groups = dict(line.split(":")[1:] for line in ask(session, "read", "/proc/self/cgroup").splitlines())
        version = versions()["cpu"]
        (top,) = {h.parent for h in find()[0] if "cpu" in h.controllers}
        name = groups["cpu" if version == 1 else ""].rsplit("/flame-", 1)[1]
        file, said = ("cpu.shares", "2048") if version == 1 else ("cpu.weight", "200")
        assert (top / f"flame-{name}" / file).read_text().strip() == said


@needs_groups
def test_a_fork_bomb_is_bounded_and_gone_with_its_session(client):
    with limited(client) as session:
        pids, refused = ask(session, "fork", 1000)
        assert refused == errno.EAGAIN and 32 < len(pids) < 64
        assert alive(pids[0])
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_a_file_grows_only_so_far(client):
    with limited(client) as session:
        assert ask(session, "fill", 4) == 4 * MI
        with pytest.raises(flame.TaskFailed, match="File too large"):
            ask(session, "fill", 100)
        with pytest.raises(flame.WorkerDied, match="wrote a file of more than 8Mi: killed by the kernel"):
            ask(session, "ignore-size", 100)


def test_the_operator_s_environment_stays_outside(client):
    client.register("with-env", service="isolation.service:Probe", path=str(Path(__file__).parents[1]),
                    env={"MINE": "$HOME", "THEIRS": "$AWS_SECRET_ACCESS_KEY"}, if_absent=True)  # fmt: skip
    with client.session("with-env") as session:
        ours, shown, child = ask(session, "environment")
    for text in (*ours.values(), shown, child):
        assert "hush-hush" not in text
    assert (ours["FROM_CLUSTER"], ours["MINE"], ours["THEIRS"]) == ("yes", ours["HOME"], "$AWS_SECRET_ACCESS_KEY")
    assert {"PATH", "TMPDIR", "FLAME_ENDPOINT", "FLAME_EXECUTOR_ID"} <= ours.keys()


def test_a_private_cluster_hands_its_owner_s_environment_on(monkeypatch):
    monkeypatch.setenv("MY_OWN", "mine")
    with LocalCluster() as cluster, cluster.connect() as client, client.session(Probe) as session:
        ours, _, child = ask(session, "environment")
        assert ours["MY_OWN"] == "mine" and "MY_OWN=mine" in child
        assert labels_of(client)["flame.isolation/environment"] == "inherited"


def test_no_new_privileges_and_first_to_go(client):
    with limited(client) as session:
        ours, child = ask(session, "status")
        assert "NoNewPrivs:\t1" in ours and "NoNewPrivs:\t1" in child
        assert ask(session, "read", "/proc/self/oom_score_adj").strip() == "500"
        group = ask(session, "pid")
        assert os.getpgid(group) == group


@pytest.mark.ledger("A-18")
@pytest.mark.parametrize("cgroups", [True, False], ids=["groups", "no-groups"])
def test_nothing_of_a_session_reaches_the_next(cgroups):
    with (
        LocalCluster(isolation={"cgroups": cgroups}, cpus=1.0, delay_release=0.0) as cluster,
        cluster.connect() as client,
    ):
        with client.session(Probe) as first:
            pid, secret = ask(first, "leave-secrets")
            left = ask(first, "leave-running")
            assert ask(first, "pid") == pid
            assert all(alive(one) for one in left)
        eventually(lambda: not any(alive(one) for one in [pid, *left]), what=f"{left} outlive their session")
        assert not Path(secret).parent.parent.exists()
        with client.session(Probe) as second:
            found, tmp, memory, variable, files = ask(second, "find-secrets")
            assert (found != pid, tmp != os.path.dirname(secret)) == (True, True)
            assert (memory, variable, files) == ("", None, [])


def test_what_lives_on_during_a_session_is_left_alone(client):
    with limited(client) as session, limited(client) as other:
        left = ask(session, "leave-running")
        ask(other, "pid")
        other.close()
        eventually(lambda: len(client.list_executors()) == 1)
        assert all(alive(one) for one in left)
    eventually(lambda: not any(alive(one) for one in left))


@pytest.mark.ledger("A-19")
def test_a_second_session_starts_new_processes_from_the_same_package(cluster, client, tmp_path):
    script = tmp_path / "serve"
    script.write_text(f"#!{sys.executable}\n{FOREIGN.read_text()}")
    script.chmod(0o755)
    with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as tar:
        tar.add(script, "bin/serve")
    client.register("packed", flame.AppSpec(command="serve", installer="binary", url=(tmp_path / "p.tar.gz").as_uri()))
    seen, releases = [], cluster.data_dir / "apps" / "packed" / "releases"
    for _ in range(2):
        with client.session("packed", max_instances=1) as session:
            assert session.invoke(b"x", 60) == b"x"
            pids = {one.pid for one in client.list_executors() if one.session == session.id}
            seen.append(
                (pids, [(path.name, (path / "src" / "bin" / "serve").stat().st_ino) for path in releases.iterdir()])
            )
    assert not seen[0][0] & seen[1][0]
    assert len(seen[0][1]) == 1 and seen[0][1] == seen[1][1]


@needs_groups
def test_foreign_services_are_held_by_the_group_of_their_executor(client):
    spec = flame.AppSpec(command=sys.executable, arguments=(str(FOREIGN),))
    client.register("foreign", spec)
    with client.session("foreign", resources="cpu=1,mem=256m", max_instances=1) as session:
        session.invoke(b"x", 60)
        (executor,) = (one for one in client.list_executors() if one.session == session.id)
        text = Path(f"/proc/{executor.pid}/cgroup").read_text()
        (child,) = Path(f"/proc/{executor.pid}/task/{executor.pid}/children").read_text().split()
        assert Path(f"/proc/{child}/cgroup").read_text() == text and "/flame-" in text
        assert "NoNewPrivs:\t1" in Path(f"/proc/{child}/status").read_text()


def test_other_deaths_are_told_as_before(client):
    with limited(client) as session:
        with pytest.raises(flame.WorkerDied, match="SIGSEGV"):
            ask(session, "die", int(signal.SIGSEGV))
        with pytest.raises(flame.WorkerDied, match="exited with code 7"):
            ask(session, "leave", 7)


def test_a_node_says_what_it_enforces(client, cluster):
    labels = labels_of(client)
    assert labels["flame.isolation/environment"] == "cleared"
    assert labels["flame.isolation/file-size"] == "prlimit"
    assert labels["flame.isolation/memory"] in ("cgroup-v1", "cgroup-v2", "prlimit", "none")
    with LocalCluster(isolation={"cgroups": False}) as other, other.connect() as there:
        labels = labels_of(there)
        assert (labels["flame.isolation/memory"], labels["flame.isolation/cpu"]) == ("prlimit", "none")
        assert "not enforced here: cpu" in other.log("agent") and "switched off" in other.log("agent")
        with there.session(Probe, resources="cpu=1,mem=128m") as session, pytest.raises(flame.TaskFailed) as failed:
            ask(session, "eat", 2000)
        assert failed.value.kind == "MemoryError"


@needs_groups
@pytest.mark.parametrize("name", ["zygote", "agent"])
def test_an_agent_that_is_killed_leaves_nothing_for_long(name):
    with LocalCluster() as cluster, cluster.connect() as client, client.session(Probe) as session:
        left = ask(session, "leave-running")
        agent = cluster.pid("agent")
        assert groups_of(agent)
        os.kill(zygote_of(cluster) if name == "zygote" else cluster.pid("agent"), signal.SIGKILL)
        eventually(lambda: cluster.pid("agent") != agent)
        assert isinstance(ask(session, "pid"), int)
        eventually(lambda: not any(alive(one) for one in left))
        eventually(lambda: not groups_of(agent))
        agent = cluster.pid("agent")
    eventually(lambda: not groups_of(agent))


@needs_groups
def test_a_cluster_that_is_killed_leaves_no_groups():
    with LocalCluster() as cluster, cluster.connect() as client:
        agent = cluster.pid("agent")
        left = ask(client.session(Probe), "leave-running")
        cluster.kill("supervisor")
        eventually(lambda: not any(alive(one) for one in left))
        eventually(lambda: not groups_of(agent))


def test_a_microvm_is_refused_at_the_start(tmp_path):
    with pytest.raises(InvalidArgument, match="runtime microvm: no virtual machine monitor found"):
        LocalCluster(isolation={"runtime": "microvm"}).start()
    with pytest.raises(InvalidArgument, match="unknown key 'memroy'"):
        LocalCluster(isolation={"memroy": "off"}).start()


def test_an_application_that_wants_what_the_node_has_not_fails_with_the_reason(client):
    client.register("vm", flame.AppSpec(labels=("flame.native=1", "flame.runtime=microvm"),
                                        environments={"FLAME_SERVICE": "isolation.service:Probe"}))  # fmt: skip
    with client.session("vm") as session:
        with pytest.raises(flame.ServiceFailed, match="runtime microvm: no virtual machine monitor found"):
            session.run(b"pid").result(60)
        said = [event.message for event in client.get_session(session.id).events if event.reason == "BindFailed"]
        assert said and all("no virtual machine monitor found" in text for text in said)
