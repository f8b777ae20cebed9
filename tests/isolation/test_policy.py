"""`cluster.isolation`: what it says, what it defaults to, and what is wrong with it."""

from __future__ import annotations

import pytest

from flame.agent.confinement import Ground
from flame.core.base.errors import InvalidArgument, Unimplemented
from flame.core.model import messages as m
from flame.ops.config import ClusterConfig, load
from flame.ops.isolation import Isolation, cleared, isolation, runtime_of

GI, MI = 1 << 30, 1 << 20


def order(resources, named=True, labels=(), devices=None):
    spec = m.AppSpec(labels=labels)
    return m.StartPlacement("e", "n", "s", "a", spec, resources, devices or {}, "", "", resources if named else {})


def test_what_is_not_said_has_its_default():
    assert isolation(None) == Isolation()
    assert isolation({}, private=True).environment == "inherited"
    assert isolation({"environment": "cleared"}, private=True).environment == "cleared"
    assert isolation({"memory": False, "processes": "unlimited", "file_size": "1g"}) == Isolation(
        memory="off", processes=None, file_size=GI
    )


def test_namespaces_mean_bubblewrap():
    assert isolation({"namespaces": ["network", "pid"]}).runtime == "bubblewrap"
    assert isolation({"namespaces": ["network", "pid"]}).namespaces == ("pid", "network")
    assert isolation({"runtime": "bubblewrap"}).namespaces == ("user", "pid", "mount")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"memory": "hard"}, ["memory", "'hard'", "enforce, strict, soft, off"]),
        ({"processes": 3}, ["processes", "from 16"]),
        ({"processes": True}, ["processes"]),
        ({"file_size": "some"}, ["file_size", "not a size"]),
        ({"file_size": "4k"}, ["file_size", "1Mi"]),
        ({"namespaces": "pid"}, ["namespaces", "a list"]),
        ({"namespaces": ["time"]}, ["namespaces", "['time']"]),
        ({"namespaces": ["pid"], "runtime": "process"}, ["namespaces", "only bubblewrap"]),
        ({"runtime": "docker"}, ["runtime", "'docker'"]),
        ({"readable": ["models"]}, ["readable", "absolute"]),
        ({"cgroups": "auto"}, ["cgroups", "neither"]),
        ({"colour": 1, "cpu": "half"}, ["unknown key 'colour'", "cpu: 'half'"]),
    ],
)
def test_every_mistake_is_told(given, words):
    with pytest.raises(InvalidArgument) as refused:
        isolation(given)
    for word in words:
        assert word in refused.value.message


def test_the_file_tells_the_line(tmp_path):
    path = tmp_path / "flame-cluster.yaml"
    path.write_text("cluster:\n  environment: {A: 1}\n  isolation:\n    memory: soft\n    processes: 2\n")
    with pytest.raises(InvalidArgument, match=r"line 4: cluster.isolation: processes: 2"):
        load(path, ClusterConfig(tmp_path))
    path.write_text("cluster:\n  environment: {A: 1}\n  isolation: {memory: soft, file_size: 2g}\n")
    found = load(path, ClusterConfig(tmp_path))
    assert found.environment == {"A": "1"}
    assert isolation(found.isolation) == Isolation(memory="soft", file_size=2 * GI)


@pytest.mark.parametrize(
    ("memory", "named", "hard", "share"),
    [
        ("enforce", True, 512 * MI, 0),
        ("enforce", False, 0, 512 * MI),
        ("strict", False, 512 * MI, 0),
        ("soft", True, 0, 512 * MI),
        ("off", True, 0, 0),
    ],
)
def test_whose_memory_is_limited(memory, named, hard, share):
    ground = Ground(Isolation(memory=memory), {})
    limits = ground.limits(order({"cpu": 500, "memory": 512 * MI}, named))
    assert (limits.memory, limits.memory_share) == (hard, share)


def test_a_limit_leaves_room_for_the_interpreter():
    assert Ground(Isolation(), {}).limits(order({"cpu": 1000, "memory": 5})).memory == 64 * MI
    assert Ground(Isolation(), {}).limits(order({"cpu": 1000, "memory": 0})).memory == 0


def test_cpu_is_a_weight_or_a_quota():
    two = order({"cpu": 2000})
    assert [
        (x.cpu, x.cpu_max) for x in (Ground(Isolation(cpu=c), {}).limits(two) for c in ("weight", "quota", "off"))
    ] == [
        (2000, 0),
        (2000, 2000),
        (1000, 0),
    ]


def test_resource_limits_stand_in_where_there_are_no_groups():
    ground = Ground(Isolation(file_size=MI), {}, levels={"memory": "prlimit", "processes": "prlimit"})
    found = ground.rlimits(order({"cpu": 1000, "memory": 512 * MI}))
    assert (found["core"], found["file_size"], found["data"]) == (0, MI, 512 * MI)
    assert found["processes"] > 4096
    assert "data" not in ground.rlimits(order({"memory": 512 * MI}, devices={"gpu-0": 1000}))
    assert ground.rlimits(order({"memory": 512 * MI}, named=False)).keys() == {"core", "file_size", "processes"}


def test_what_is_not_enforced_is_said():
    levels = {"memory": "prlimit", "cpu": "none", "processes": "cgroup-v2"}
    ground = Ground(Isolation(), {}, levels=levels, reasons=["cpu: not writable"])
    assert ground.complaint() == (
        "not enforced here: cpu; enforced only roughly, by resource limits: memory; cpu: not writable"
    )
    assert ground.labels()["flame.isolation/processes"] == "cgroup-v2"
    assert Ground(Isolation(), {}, levels={"memory": "cgroup-v2", "cpu": "off"}, reasons=["x"]).complaint() == ""


def test_why_an_executor_died():
    ground = Ground(Isolation(file_size=10 * MI), {})
    named, unnamed = order({"memory": 512 * MI}), order({"memory": GI}, named=False)
    assert ground.why(named, 9, True, 512 * MI) == (
        "used more memory than its 512 MiB (peak 512.0 MiB): killed by the kernel"
    )
    assert "ran out of memory" in ground.why(unnamed, 9, True, 3 * GI) and "3,072.0 MiB" in ground.why(
        unnamed, 9, True, 3 * GI
    )
    assert ground.why(named, 25, False, 0) == "wrote a file of more than 10Mi: killed by the kernel"
    assert ground.why(named, 9, False, 0) == ""


def test_a_cleared_environment_says_where_things_are_and_not_who_somebody_is():
    given = {
        "PATH": "/bin", "LANG": "C", "LC_ALL": "C", "PYTHONPATH": "/src", "FLAME_LOG": "debug", "CUDA_VISIBLE_DEVICES": "0",
        "AWS_SECRET_ACCESS_KEY": "x", "FLAME_TOKEN": "x", "FLAME_TOKEN_FILE": "x", "FLAME_JOIN_TOKEN": "x", "FLAME_STORAGE": "x",
        "FLAME_CERT_FILE": "x", "SSH_AUTH_SOCK": "x", "GITHUB_TOKEN": "x", "http_proxy": "x",
    }  # fmt: skip
    assert cleared(given).keys() == {"PATH", "LANG", "LC_ALL", "PYTHONPATH", "FLAME_LOG", "CUDA_VISIBLE_DEVICES"}


def test_applications_see_their_variables_expanded_by_what_executors_have():
    ground = Ground(Isolation(), {"HOME": "/home/me"})
    assert (
        ground.expand("$HOME/x:${HOME}:$AWS_SECRET_ACCESS_KEY:${NOT}")
        == "/home/me/x:/home/me:$AWS_SECRET_ACCESS_KEY:${NOT}"
    )


def test_an_application_may_only_ask_for_more():
    assert runtime_of(Isolation(), ("flame.runtime=bubblewrap",)) == "bubblewrap"
    assert runtime_of(Isolation(runtime="bubblewrap"), ("flame.runtime=process",)) == "bubblewrap"
    assert runtime_of(Isolation(), ("flame.native=1",)) == "process"
    with pytest.raises(InvalidArgument, match="no such runtime"):
        runtime_of(Isolation(), ("flame.runtime=chroot",))


def test_a_microvm_is_refused_with_what_was_looked_for(tmp_path, monkeypatch):
    from flame.agent import sandbox

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidArgument, match="looked for firecracker, cloud-hypervisor"):
        sandbox.refuse("microvm", ())
    (tmp_path / "firecracker").write_text("#!/bin/sh\n")
    (tmp_path / "firecracker").chmod(0o755)
    with pytest.raises(Unimplemented, match="firecracker is there"):
        sandbox.refuse("microvm", ())
    sandbox.refuse("process", ())


def test_sandboxes_see_each_place_once_and_never_everything(tmp_path):
    from flame.agent.sandbox import shallow

    assert shallow(["/", "/opt/a/b", "/opt/a", "/opt/a/", "/usr/lib/x", "/tmp", "/tmp/t/x"]) == ["/opt/a", "/tmp/t/x"]
    (tmp_path / "real").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "venv").symlink_to("../real")
    found = shallow([str(tmp_path / "project"), str(tmp_path / "project" / "venv")])
    assert sorted(found) == [str(tmp_path / "project"), str(tmp_path / "real")]
