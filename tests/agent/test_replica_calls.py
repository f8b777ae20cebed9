"""Logs and commands of replicas, and what becomes of replicas when connections and agents end."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from agent.scripted import Agent, an_order, python, shell

from flame.agent.sandbox import refusal
from flame.core.model import messages as m
from flame.testing.cluster import LocalCluster, eventually


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    agent = Agent(tmp_path_factory.mktemp("a"))
    yield agent
    agent.close()


@pytest.fixture
def own_agent(tmp_path):
    agent = Agent(tmp_path)
    yield agent
    agent.close()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone while we read
        return False


def test_logs_are_followed_from_an_offset(agent):
    agent.start(an_order("follow", python("import time\nfor i in range(6): print('line', i); time.sleep(0.1)")))
    agent.running("follow")
    offset, text, waits = 0, b"", 0
    while True:
        answer = agent.call("follow", "logs", offset=offset, wait=5.0)
        assert answer.offset == offset
        text, offset, waits = text + answer.data, offset + len(answer.data), waits + 1
        if answer.ended:
            break
    lines = text.decode().splitlines()
    assert [line.split(" ", 3)[1:] for line in lines] == [["stdout", "F", f"line {i}"] for i in range(6)]
    assert waits >= 4, "what is there comes at once"
    assert lines[0][:2] == "20" and lines[0].split(" ")[0].endswith("Z") and lines == sorted(lines)
    assert agent.call("follow", "logs", offset=10, limit=5).data == text[10:15]
    path = agent.data / "logs" / "replicas" / "default" / "follow" / "main.log"
    assert path.read_bytes() == text and path.stat().st_mode & 0o777 == 0o600


def test_the_run_before_is_kept(agent):
    agent.start(
        an_order(
            "prev",
            shell("test -e x && echo second && sleep 60; echo first >&2; touch x; exit 1"),
            restart="Always",
        )
    )
    agent.until("prev", lambda status: status.ready and status.containers[0].restarts == 1)
    eventually(lambda: agent.output("prev") == ["second"], 5)
    assert agent.output("prev", previous=True) == ["first"]
    agent.stop("prev", 0.0)
    agent.ended("prev")
    assert agent.output("prev") == ["second"], "of a replica that has ended, too"


def test_what_is_not_there_is_said(agent):
    agent.start(an_order("calls", shell("sleep 60")))
    agent.running("calls")

    def code(verb, placement="calls", **more):
        failure = agent.allocator.ask(placement, m.CallReplica(verb, "r", **more)).failure
        return failure.code if failure is not None else ""

    assert code("logs", "nobody") == "not_found"
    assert code("logs", container="other") == "not_found"
    assert code("logs", previous=True) == "not_found"
    assert code("exec", body=b"{}") == code("exec", body=b"\xff") == code("dance") == "invalid_argument"
    assert code("exec", body=b'{"command": ["no-such-program"]}') == "invalid_argument"
    assert code("read", id="guess") == "not_found"
    agent.stop("calls", 0.0)
    agent.ended("calls")
    assert code("exec", body=b'{"command": ["true"]}') == "invalid_state"


def drain(agent, id, command):
    offset, text = 0, b""
    while True:
        answer = agent.call(id, "read", id=command, offset=offset, wait=10.0)
        text, offset = text + answer.data, answer.offset + len(answer.data)
        if answer.ended:
            return text, answer.code


def test_a_command_runs_where_the_container_is(agent):
    agent.start(
        an_order(
            "exec",
            shell("echo hi > here; sleep 60"),
            env=(m.EnvVar("MINE", "yes $(FLAME_RANK)"),),
            rank=4,
            world_size=5,
        )
    )
    agent.running("exec")

    def run(*command, tty=False):
        return agent.call("exec", "exec", body=json.dumps({"command": command, "tty": tty}).encode()).id

    command = run("sh", "-c", "cat here; echo $MINE; echo oops >&2; exit 9")
    assert len(command) > 15
    text, code = drain(agent, "exec", command)
    assert (sorted(text.decode().splitlines()), code) == (["hi", "oops", "yes 4"], 9)
    command = run("cat")
    agent.call("exec", "write", id=command, body=b"one\n")
    assert agent.call("exec", "read", id=command, wait=5.0).data == b"one\n"
    agent.call("exec", "write", id=command, body=b"two\n")
    agent.call("exec", "write", id=command, body=b"")
    assert (
        agent.allocator.ask("exec", m.CallReplica("write", "r", id=command, body=b"x")).failure.code == "invalid_state"
    )
    assert drain(agent, "exec", command) == (b"one\ntwo\n", 0)
    command = run("sh", "-c", "tty && stty size", tty=True)
    text, code = drain(agent, "exec", command)
    assert (code, text.decode().splitlines()[1:]) == (0, ["24 80"]) and text.startswith(b"/dev/pts/")
    command = run("cat", tty=True)
    agent.call("exec", "write", id=command, body=b"typed\n")
    agent.call("exec", "write", id=command, body=b"")
    assert drain(agent, "exec", command) == (b"typed\r\ntyped\r\n", 0)
    command = run("sh", "-c", "head -c 3000000 /dev/zero; echo end")
    text, code = drain(agent, "exec", command)
    assert (len(text), text[-4:], code) == (3_000_004, b"end\n", 0)
    command, other = run("sleep", "300"), run("sh", "-c", "echo $$; exec sleep 300")
    agent.call("exec", "close", id=command)
    eventually(lambda: agent.call("exec", "read", id=other).data, 5)
    pid = int(agent.call("exec", "read", id=other).data)
    assert alive(pid)
    agent.stop("exec", 0.0)
    agent.ended("exec")
    eventually(lambda: not alive(pid), 5)


def test_another_replica_cannot_use_its_commands(agent):
    for id in ("mine", "theirs"):
        agent.start(an_order(id, shell("sleep 60")))
        agent.running(id)
    command = agent.call("mine", "exec", body=b'{"command": ["cat"]}').id
    assert agent.allocator.ask("theirs", m.CallReplica("read", "r", id=command)).failure.code == "not_found"
    for id in ("mine", "theirs"):
        agent.stop(id, 0.0)
        agent.ended(id)


def test_a_lost_connection_stops_nothing(own_agent):
    agent = own_agent
    agent.start(an_order("stay", shell("sleep 60"), rank=2, world_size=3, attempt=4, devices={}))
    agent.start(an_order("done", shell("exit 5")))
    pid = agent.running("stay").containers[0].pid
    agent.ended("done")
    eventually(lambda: agent.exits("done"), 5)
    before, heard = agent.allocator.connections, len(agent.allocator.heard)
    agent.allocator.cut()
    eventually(lambda: agent.allocator.connections > before and agent.allocator.all(m.RegisterNode)[1:], 10)
    eventually(lambda: len(agent.exits("done")) == 2, 10)
    node = agent.allocator.all(m.RegisterNode)[-1]
    assert [(p.id, p.owner, p.rank, p.attempt, p.pid, p.replica.phase) for p in node.running] == [
        ("stay", "default/default/w", 2, 4, pid, "Running")
    ]
    kinds = [type(one).__name__ for one in agent.allocator.heard[heard:] if type(one).__name__ != "Heartbeat"]
    assert kinds == ["Hello", "RegisterNode", "ReplicaChanged", "ReplicaChanged", "PlacementExited"]
    agent.start(an_order("stay", shell("echo another")))
    agent.stop("stay", 0.0)
    assert agent.ended("stay").containers[0].signal == signal.SIGKILL and not alive(pid)
    agent.stop("done", 0.0)
    eventually(lambda: len(agent.exits("done")) == 3, 5)


def test_a_dead_agent_takes_its_replicas_with_it(own_agent):
    agent = own_agent
    agent.start(an_order("gone", shell("setsid sleep 300 & echo $!; wait")))
    pid = agent.running("gone").containers[0].pid
    eventually(lambda: agent.output("gone"), 5)
    child = int(agent.output("gone")[0])
    agent.end(signal.SIGKILL)
    eventually(lambda: not alive(pid) and not alive(child), 10)
    agent.allocator.heard.clear()
    agent.begin()
    assert agent.allocator.all(m.RegisterNode)[0].running == ()
    assert not (agent.data / "work" / "replicas" / "gone").exists()


def test_an_agent_that_stops_lets_them_end(own_agent):
    agent = own_agent
    code = "import signal, sys, time\nsignal.signal(15, lambda *a: sys.exit(print('bye')))\nprint('up')\nwhile True: time.sleep(0.05)"
    agent.start(an_order("leave", python(code)))
    pid = agent.running("leave").containers[0].pid
    eventually(lambda: agent.output("leave") == ["up"], 5)
    began = time.monotonic()
    agent.end()
    assert not alive(pid) and time.monotonic() - began < 5
    assert "bye" in (agent.data / "logs/replicas/default/leave/main.log").read_text()


def test_a_sandbox_is_what_a_label_asks_for(agent):
    if refusal(("user", "pid", "mount")):
        pytest.skip("no sandbox can be made here")
    secret = agent.data / "secret"
    secret.write_text("x")
    code = f"test ! -e {secret} && echo $FLAME_RANK && ls /proc | grep -c '^[0-9]' && trap 'exit 0' TERM && sleep 60"
    agent.start(an_order("box", shell(code), labels={"flame.runtime": "bubblewrap"}))
    agent.running("box")
    eventually(lambda: len(agent.output("box")) == 2, 10)
    assert agent.output("box")[0] == "0" and int(agent.output("box")[1]) < 8
    agent.stop("box", 10.0)
    began = time.monotonic()
    agent.ended("box")
    assert time.monotonic() - began < 5, "SIGTERM reaches it inside"


def test_what_a_node_says_of_itself(tmp_path):
    agent = Agent(
        tmp_path, simulate_gpus="nvidia-a100:2x40Gi", labels={"zone": "z1"}, taints=["nvidia.com/gpu=true:NoSchedule"],
        max_workloads=7, images={"a:v1": {"command": ["true"]}},
    )  # fmt: skip
    try:
        node = agent.allocator.all(m.RegisterNode)[0]
        assert node.labels.items() >= {
            "zone": "z1", "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux",
            "nvidia.com/gpu": "true", "nvidia.com/gpu.count": "2",
            "nvidia.com/gpu.product": "nvidia-a100", "nvidia.com/gpu.memory": "40960", "flame.simulated-gpus": "true",
        }.items()  # fmt: skip
        assert node.taints == (m.Taint("nvidia.com/gpu", "true", "NoSchedule"),)
        assert (node.max_workloads, node.images, node.address, node.capacity["gpu"]) == (
            7,
            ("a:v1",),
            "127.0.0.1",
            2000,
        )
        assert [(d.uuid, d.memory, d.enforced) for d in node.devices] == [
            (f"SIM-nvidia-a100-{i}", 40 << 30, False) for i in (0, 1)
        ]
        assert "process" in node.runtimes and os.environ.get("FLAME_NOTHING") is None
    finally:
        agent.close()


SDK = """
import flame
with flame.connect() as client, client.session("flmping") as session:
    print("done", session.run(b"{}").result(30) is not None)
"""


def test_the_sdk_finds_the_cluster_from_inside(agent):
    with LocalCluster() as cluster, cluster.connect() as client:
        token = client.create_token("replica", "user").token
        boxes = [{}] if refusal(("user", "pid", "mount")) else [{}, {"flame.runtime": "bubblewrap"}]
        for n, labels in enumerate(boxes):
            command = (sys.executable, "-u", "-c", SDK)
            env = (m.EnvVar("PYTHONPATH", os.environ.get("PYTHONPATH", "")),)
            agent.start(
                an_order(f"sdk{n}", command, endpoint=cluster.run.endpoint, token=token, labels=labels, env=env)
            )
            status = agent.ended(f"sdk{n}", 60)
            assert (status.phase, agent.output(f"sdk{n}")) == ("Succeeded", ["done True"]), agent.output(f"sdk{n}")


def test_without_control_groups_nothing_is_left_either(tmp_path):
    agent = Agent(tmp_path, isolation={"cgroups": False})
    try:
        agent.start(an_order("left", shell("setsid sleep 300 & echo $!; sleep 0.2")))
        agent.ended("left")
        pid = int(agent.output("left")[0])
        eventually(lambda: not alive(pid), 5)
        agent.start(
            an_order(
                "data",
                python("try:\n x = bytearray(900 << 20)\nexcept MemoryError: print('refused')"),
                limits={"memory": 64 << 20},
            )
        )
        agent.ended("data")
        assert agent.output("data") == ["refused"]
    finally:
        agent.close()
