"""Replicas on a real agent: processes, environment, ports, volumes, probes, ends."""

import os
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from agent.scripted import Agent, an_order, python, shell

from flame.core.model import messages as m
from flame.platform.hierarchies import find
from flame.testing.cluster import eventually

SERVE = """
import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if not os.path.exists(os.environ["TMPDIR"] + self.path) else 503); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT_HTTP"])), H).serve_forever()
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    agent = Agent(tmp_path_factory.mktemp("a"), simulate_gpus="nvidia-a100:2x40Gi", images={
        "mapped:v1": {"command": ["sh", "-c", "echo mapped $0 $KIND", "image"], "env": {"KIND": "of-image"}},
    })  # fmt: skip
    yield agent
    agent.close()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone while we read
        return False


@pytest.mark.ledger("B-050")
def test_command_and_arguments_arrive_in_order(agent):
    agent.start(
        an_order("argv", ("sh", "-c", 'echo "$0|$1|$2"', "a b"), args=("$(FLAME_RANK)", "$$(FLAME_RANK) $(NONE)"))
    )
    status = agent.ended("argv")
    assert (status.phase, status.reason, status.containers[0].reason) == ("Succeeded", "Completed", "Completed")
    assert agent.output("argv") == ["a b|0|$(FLAME_RANK) $(NONE)"]
    eventually(lambda: agent.exits("argv"), 5)
    assert agent.exits("argv") == [m.PlacementExited("argv", 0)]


@pytest.mark.ledger("B-051", "B-052", "B-053", "B-054")
def test_every_rank_knows_who_it_is(agent):
    names = ("FLAME_WORKLOAD_ID", "FLAME_RANK", "FLAME_WORLD_SIZE")
    env = tuple(m.EnvVar(name, f"$({name})") for name in names) + (
        m.EnvVar("BOTH", "$(FLAME_RANK)/$(FLAME_WORLD_SIZE)"),
    )
    code = (
        'echo "$FLAME_WORKLOAD_ID $FLAME_RANK $FLAME_WORLD_SIZE $BOTH $MASTER_ADDR:$MASTER_PORT $RANK $FLAME_ATTEMPT"'
    )
    for rank in range(3):
        agent.start(
            an_order(
                f"rank{rank}", shell(code), env=env, rank=rank, world_size=3, rendezvous="127.0.0.1:29500", attempt=2
            )
        )
    for rank in range(3):
        agent.ended(f"rank{rank}")
        assert agent.output(f"rank{rank}") == [f"wid-1 {rank} 3 {rank}/3 127.0.0.1:29500 {rank} 2"]


def test_the_environment_is_cleared_and_says_which_gpus(agent, monkeypatch):
    show = shell('echo "$CUDA_VISIBLE_DEVICES|$CUDA_MPS_PINNED_DEVICE_MEM_LIMIT|$XLA_PYTHON_CLIENT_MEM_FRACTION"')
    agent.start(an_order("none", show))
    agent.start(an_order("gpu", show, devices={"SIM-nvidia-a100-1": 1000}))
    agent.start(an_order("part", show, devices={"SIM-nvidia-a100-0": 500}, gpu_memory={"SIM-nvidia-a100-0": 10 << 30}))
    agent.start(an_order("env", ("env",), token="secret-token", endpoint="unix:///nowhere"))
    for id in ("none", "gpu", "part", "env"):
        agent.ended(id)
    assert agent.output("none") == ["||"]
    assert agent.output("gpu") == ["SIM-nvidia-a100-1||"]
    assert agent.output("part") == ["SIM-nvidia-a100-0|0=10240M|0.250"]
    found = dict(line.split("=", 1) for line in agent.output("env"))
    assert found["FLAME_ENDPOINT"] == "unix:///nowhere" and "secret-token" not in str(found)
    assert not {name for name in found if name.startswith(("PYTEST", "FLAME_DATA"))} and "CUDA_VISIBLE_DEVICES" in found


@pytest.mark.ledger("B-056")
def test_ports_are_reachable_and_others_than_those_taken(agent):
    ports = (m.PortSpec("http", 8080), m.PortSpec("metrics", 9090))
    for id in ("port1", "port2"):
        agent.start(an_order(id, python(SERVE), ports=ports))
    found = [agent.running(id).ports for id in ("port1", "port2")]
    assert all(set(one) == {"http", "metrics"} for one in found)
    assert len({port for one in found for port in one.values()}) == 4
    for one in found:
        eventually(lambda one=one: _get(one["http"], "/x") == 200, 10)
    for id in ("port1", "port2"):
        agent.stop(id, 2.0)
        agent.ended(id)


def _get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.status
    except OSError:
        return 0


def test_a_host_port_is_given_as_it_is_named_and_its_absence_is_said(agent):
    with socket.socket() as sock:
        sock.bind(("", 0))
        sock.listen()
        port = sock.getsockname()[1]
        agent.start(an_order("taken", shell("echo $PORT_WEB"), ports=(m.PortSpec("web", 80, host_port=port),)))
        status = agent.until("taken", lambda status: status.containers[0].reason == "HostPortConflict")
        assert status.phase == "Pending" and str(port) in status.containers[0].message
    agent.ended("taken")
    assert agent.output("taken") == [str(port)]


@pytest.mark.ledger("B-057", "B-061")
@pytest.mark.ledger("B-060")
def test_scratch_goes_and_claims_stay(agent):
    volumes = (
        m.VolumeSpec("data", "claim", "data-pvc"),
        m.VolumeSpec("logs", "empty"),
        m.VolumeSpec("conf", "files", files={"a.txt": b"hi\n"}),
    )
    mounts = (
        m.MountSpec("data", "/data"),
        m.MountSpec("logs", "/opt/flame-test/logs"),
        m.MountSpec("conf", "/etc/conf.d/x", read_only=True),
    )
    code = "set -e; cat /etc/conf.d/x/a.txt; cd /opt/flame-test/logs; echo kept > /data/file; echo gone > file; ls; sleep 60"
    agent.start(an_order("vol", shell(code), volumes=volumes, mounts=mounts))
    status = agent.running("vol")
    assert "mounted at their paths" in status.containers[0].message
    eventually(lambda: len(agent.output("vol")) == 2, 10)
    scratch = list((agent.data / "work" / "replicas").glob("vol/volumes/logs/file"))
    assert scratch and not Path("/opt/flame-test").exists() and not Path("/data").exists()
    began = time.monotonic()
    agent.stop("vol", 20.0)
    agent.ended("vol")
    assert time.monotonic() - began < 10, "SIGTERM reaches what is behind bubblewrap"
    eventually(lambda: not scratch[0].exists() and not (agent.data / "work" / "replicas" / "vol").exists(), 10)
    assert (agent.data / "volumes" / "default" / "default" / "data-pvc" / "file").read_text() == "kept\n"
    agent.start(an_order("vol2", shell("cat /data/file"), volumes=volumes, mounts=mounts))
    agent.ended("vol2")
    assert agent.output("vol2") == ["kept"]


def test_paths_of_the_host_are_refused(agent):
    volumes = (m.VolumeSpec("etc", "host", "/etc"),)
    agent.start(an_order("host", shell("ls /h"), volumes=volumes, mounts=(m.MountSpec("etc", "/h"),)))
    status = agent.until("host", lambda status: status.containers[0].reason == "CreateContainerError")
    assert "not allowed on this node" in status.containers[0].message and status.phase == "Pending"
    agent.stop("host")
    assert agent.ended("host").phase == "Failed"


@pytest.mark.ledger("B-058")
def test_a_container_that_hangs_is_started_again(agent):
    probe = m.ProbeSpec("http", port="http", path="/dead", period=0.1, failure=3)
    agent.start(
        an_order(
            "live",
            python(SERVE),
            ports=(m.PortSpec("http", 8080),),
            liveness=m_replace(probe, initial_delay=0.5),
            restart="Always",
        )
    )
    first = agent.running("live").containers[0]
    time.sleep(1.0)
    assert agent.now("live").containers[0].restarts == 0
    (agent.data / "work/replicas/live/main/tmp/dead").touch()
    agent.until("live", lambda status: status.containers[0].restarts == 1)
    (agent.data / "work/replicas/live/main/tmp/dead").unlink()
    second = agent.running("live").containers[0]
    assert first.pid != second.pid and "signal 15" in second.last
    told = [
        one.containers[0].message for one in agent.changes("live") if one.containers[0].reason == "CrashLoopBackOff"
    ]
    assert "liveness probe failed 3 times in a row" in told[0] and "status 503" in told[0]
    assert agent.now("live").ports == agent.changes("live")[-1].ports != {}
    agent.stop("live", 1.0)
    agent.ended("live")


def m_replace(struct, **changes):
    from msgspec.structs import replace

    return replace(struct, **changes)


@pytest.mark.ledger("B-059")
def test_readiness_only_says_who_gets_traffic(agent):
    probe = m.ProbeSpec("http", port="8080", path="/busy", period=0.1, failure=2)
    agent.start(an_order("ready", python(SERVE), ports=(m.PortSpec("http", 8080),), readiness=probe))
    agent.until("ready", lambda status: status.ready)
    flag = agent.data / "work/replicas/ready/main/tmp/busy"
    flag.touch()
    agent.until("ready", lambda status: not status.ready and status.phase == "Running")
    flag.unlink()
    status = agent.until("ready", lambda status: status.ready)
    assert status.containers[0].restarts == 0
    agent.stop("ready", 1.0)
    agent.ended("ready")


START = m.ProbeSpec("tcp", port="http", period=0.1, failure=100)


def test_probes_by_command_and_by_connection(agent):
    live = m.ProbeSpec(
        "exec", command=("sh", "-c", 'test "$MINE" = yes && test ! -e $TMPDIR/dead'), period=0.1, failure=1
    )
    agent.start(
        an_order("exec-probe", python(SERVE), ports=(m.PortSpec("http", 8080),), startup=START,
                 liveness=live, env=(m.EnvVar("MINE", "yes"),), restart="OnFailure")
    )  # fmt: skip
    agent.until("exec-probe", lambda status: status.ready)
    (agent.data / "work/replicas/exec-probe/main/tmp/dead").touch()
    agent.until("exec-probe", lambda status: status.containers[0].restarts >= 1)
    agent.stop("exec-probe", 0.0)
    agent.ended("exec-probe")


def test_who_crashes_is_started_again_later_each_time_and_not_for_ever(agent):
    began = time.monotonic()
    agent.start(an_order("crash", shell("echo run; exit 3"), restart="OnFailure", backoff_limit=3))
    status = agent.ended("crash")
    assert time.monotonic() - began > 0.05 + 0.1 + 0.2
    container = status.containers[0]
    assert (status.phase, status.reason, container.restarts, container.exit_code) == (
        "Failed",
        "BackoffLimitExceeded",
        3,
        3,
    )
    assert [one for one in agent.changes("crash") if one.containers[0].reason == "CrashLoopBackOff"]
    assert container.last == "Error (exit code 3)" and status.log == "run"
    eventually(lambda: agent.exits("crash"), 5)
    assert agent.exits("crash")[0].exit_code == 3 and "BackoffLimitExceeded" in agent.exits("crash")[0].reason
    agent.start(an_order("crash", shell("echo run; exit 3")))  # a late order of something that has ended
    agent.start(an_order("after"))
    agent.ended("after")
    assert len({one.started for one in agent.changes("crash") if one.started}) == 1


@pytest.mark.ledger("B-062")
def test_never_means_never(agent):
    agent.start(an_order("never", shell("echo oh >&2; exit 7"), restart="Never"))
    status = agent.ended("never")
    assert (status.phase, status.reason, status.containers[0].restarts, status.containers[0].exit_code) == (
        "Failed",
        "Error",
        0,
        7,
    )
    assert agent.exits("never") == [m.PlacementExited("never", 7, log="oh", reason="Error: container main: Error")]


POLITE = "import signal, sys, time\nsignal.signal(15, lambda *a: sys.exit(print('bye')))\nprint('up')\nwhile True: time.sleep(0.05)"


@pytest.mark.ledger("B-063")
def test_terminated_politely_then_killed(agent):
    code = (
        "import signal, time\nsignal.signal(15, lambda *a: print('asked'))\nprint('up')\nwhile True: time.sleep(0.05)"
    )
    agent.start(an_order("term", python(code), grace=2.0))
    pid = agent.running("term").containers[0].pid
    eventually(lambda: agent.output("term") == ["up"], 10)
    began = time.monotonic()
    agent.stop("term", 2.0)
    eventually(lambda: agent.output("term") == ["up", "asked"], 5)
    assert alive(pid)
    status = agent.ended("term")
    assert 1.9 < time.monotonic() - began < 4
    assert (status.phase, status.reason, status.containers[0].signal) == ("Failed", "Stopped", signal.SIGKILL)
    agent.start(
        an_order(
            "polite",
            python(POLITE),
            pre_stop=("sh", "-c", "echo pre > $TMPDIR/pre"),
        )
    )
    agent.running("polite")
    eventually(lambda: agent.output("polite") == ["up"], 10)
    agent.stop("polite", 10.0)
    assert agent.ended("polite").phase == "Succeeded"
    assert agent.output("polite") == ["up", "bye"]


@pytest.mark.ledger("B-055")
@pytest.mark.skipif(os.geteuid() != 0 or not find()[0], reason="no control groups here")
def test_who_takes_too_much_memory_is_named(agent):
    hog = python("x = bytearray(300 << 20); import time; time.sleep(30)")
    agent.start(an_order("oom", ("sh", "-c", '"$@"; exit 1', "sh", *hog), limits={"memory": 96 << 20}))
    status = agent.ended("oom")
    assert (status.phase, status.reason) == ("Failed", "OOMKilled")
    assert "more than its 96 MiB" in status.containers[0].message


def test_init_containers_come_first_one_by_one(agent):
    volumes, mount = (m.VolumeSpec("s", "empty"),), (m.MountSpec("s", "/scratch"),)
    init = tuple(
        m.ContainerSpec(f"i{n}", command=shell(f"ls /scratch; sleep 0.2; echo {n} > /scratch/{n}"), mounts=mount)
        for n in (1, 2)
    )
    main = tuple(m.ContainerSpec(name, command=shell("ls /scratch"), mounts=mount) for name in ("a", "b"))
    agent.start(an_order("init", containers=main, init=init, volumes=volumes))
    status = agent.ended("init")
    assert status.phase == "Succeeded" and [one.name for one in status.containers] == ["i1", "i2", "a", "b"]
    assert [agent.output("init", name) for name in ("i1", "i2", "a", "b")] == [[], ["1"], ["1", "2"], ["1", "2"]]
    waits = [one.containers[2].reason for one in agent.changes("init") if one.containers[0].state == "running"]
    assert waits and set(waits) == {"PodInitializing"}
    agent.start(
        an_order("bad-init", containers=main, init=(m.ContainerSpec("i", command=shell("exit 4")),), volumes=volumes)
    )
    status = agent.ended("bad-init")
    assert (status.phase, status.containers[1].state) == ("Failed", "waiting")


def test_two_containers_run_together_and_one_is_started_again(agent):
    containers = (
        m.ContainerSpec("steady", command=shell("sleep 60")),
        m.ContainerSpec("shaky", command=shell("test -e $TMPDIR/once || { touch $TMPDIR/once; exit 1; }; sleep 60")),
    )
    agent.start(an_order("two", containers=containers, restart="Always"))
    status = agent.until("two", lambda status: status.ready and status.containers[1].restarts == 1)
    assert status.containers[0].restarts == 0
    agent.stop("two", 5.0)
    assert agent.ended("two").phase == "Failed"


def test_images_are_mapped_or_said_not_to_be(agent):
    agent.start(an_order("map", (), image="mapped:v1"))
    agent.start(an_order("unmapped", (), image="your-image:latest"))
    agent.start(an_order("bad-name", (), image="your image"))
    agent.start(an_order("missing", ("no-such-program",), image="your-image:latest"))
    agent.ended("map")
    assert agent.output("map") == ["mapped image of-image"]
    status = agent.until("unmapped", lambda status: status.containers[0].reason == "ImageNotMapped")
    assert status.phase == "Pending" and "images:" in status.containers[0].message
    assert agent.until("bad-name", lambda status: status.containers[0].reason == "InvalidImageName").phase == "Pending"
    status = agent.ended("missing")
    assert (status.phase, status.containers[0].reason, status.containers[0].exit_code) == ("Failed", "StartError", 128)
    for id in ("unmapped", "bad-name"):
        agent.stop(id)
        assert agent.ended(id).reason == "Stopped"


def test_a_deadline_ends_it(agent):
    agent.start(an_order("late", shell("sleep 60"), deadline=0.3, grace=1.0))
    status = agent.ended("late")
    assert (status.phase, status.reason) == ("Failed", "DeadlineExceeded")


def test_what_it_leaves_running_dies_with_it(agent):
    agent.start(an_order("orphan", shell("setsid sleep 300 & echo $!; sleep 0.2")))
    agent.ended("orphan")
    pid = int(agent.output("orphan")[0])
    eventually(lambda: not alive(pid), 5)


def test_many_at_once(agent):
    ids = [f"many{n}" for n in range(40)]
    for id in ids:
        agent.start(an_order(id, shell("echo $FLAME_REPLICA"), ports=(m.PortSpec("p", 80),)))
    found = [agent.ended(id, 60) for id in ids]
    assert {status.phase for status in found} == {"Succeeded"}
    assert len({status.ports["p"] for status in found}) > 1
    assert [agent.output(id) for id in ids] == [[id] for id in ids]
