"""The oci runtime against a stand-in for podman, which runs the commands it is given: no container engine runs where these tests run."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from agent.scripted import Agent, an_order, python, shell

from flame.core.model import messages as m
from flame.testing.cluster import eventually


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A directory on PATH with `podman`."""
    place = tmp_path / "bin"
    place.mkdir()
    text = (Path(__file__).parent / "podman").read_text()
    (place / "podman").write_text(text.replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
    (place / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    return place


@pytest.fixture
def agent(tmp_path, engine):
    agent = Agent(tmp_path, gpus=0)
    yield agent
    agent.close()


def calls(engine, verb="run"):
    if not (engine / "calls").exists():
        return []
    return [words for words in map(json.loads, (engine / "calls").read_text().splitlines()) if words[0] == verb]


def of(words, option):
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def left(engine):
    """Containers that the engine has."""
    return sorted((engine / "containers").glob("*"))


def test_what_the_engine_is_asked_for(agent, engine):
    eventually(lambda: agent.allocator.all(m.RegisterNode)[-1].runtimes == ("process", "oci"), 10)
    agent.start(
        an_order(
            "run", ("sh", "-c", "echo $FLAME_RANK $SECRET; exit 3"), args=("x",), image="ghcr.io/xflops/train:v1", runtime="oci",
            limits={"memory": 1 << 30, "cpu": 1500}, volumes=(m.VolumeSpec("data", "claim", "pvc"),), rank=1, world_size=2,
            mounts=(m.MountSpec("data", "/data", read_only=True),), env=(m.EnvVar("SECRET", "do not show"),), working_dir="/app",
            devices={"GPU-1": 1000, "GPU-2": 1000}, pull="Always",
        )
    )  # fmt: skip
    status = agent.ended("run")
    assert (status.phase, status.containers[0].exit_code) == ("Failed", 3)
    assert agent.output("run") == ["1 do not show"]
    (words,) = calls(engine)
    assert words[-4:] == ["ghcr.io/xflops/train:v1", "-c", "echo $FLAME_RANK $SECRET; exit 3", "x"]
    assert (of(words, "--entrypoint"), of(words, "--network"), of(words, "--pull")) == (["sh"], ["host"], ["always"])
    assert of(words, "--device") == ["nvidia.com/gpu=GPU-1", "nvidia.com/gpu=GPU-2"]
    assert (of(words, "--memory"), of(words, "--cpus"), of(words, "--workdir")) == ([str(1 << 30)], ["1.5"], ["/app"])
    claim = agent.data / "volumes/default/default/pvc"
    assert f"type=bind,source={claim},target=/data,readonly" in of(words, "--mount")
    assert "do not show" not in " ".join(words[:-4]) and "SECRET" in of(words, "--env")
    assert of(words, "--name") == ["flame-run.main.1"]
    eventually(lambda: calls(engine, "rm"), 10)


def test_it_is_asked_to_end_and_then_removed(agent, engine):
    image = {"image": "i", "runtime": "oci"}
    code = "import signal,sys,time\nsignal.signal(15, {})\nprint('up')\nwhile 1: time.sleep(.05)"
    agent.start(an_order("polite", python(code.format("lambda *a: sys.exit(print('bye'))")), **image))
    agent.start(an_order("stubborn", python(code.format("signal.SIG_IGN")), **image))
    for id in ("polite", "stubborn"):
        eventually(
            lambda one=id: agent.now(one) and agent.now(one).phase == "Running" and agent.output(one) == ["up"], 10
        )
        agent.stop(id, 0.5)
    assert agent.ended("polite").phase == "Succeeded" and agent.output("polite") == ["up", "bye"]
    assert agent.ended("stubborn").phase == "Failed"
    eventually(lambda: not left(engine), 10)


def test_commands_and_probes_run_inside(agent, engine):
    live = m.ProbeSpec("exec", command=("sh", "-c", 'test -n "$INSIDE"'), period=0.1, failure=1)
    agent.start(
        an_order(
            "in", shell("sleep 60"), image="i:latest", runtime="oci", readiness=live, env=(m.EnvVar("MINE", "yes"),)
        )
    )
    agent.until("in", lambda status: status.ready)
    assert of(calls(engine)[0], "--pull") == ["always"]
    command = agent.call("in", "exec", body=json.dumps({"command": ["sh", "-c", "echo $INSIDE $MINE"]}).encode()).id
    eventually(lambda: agent.call("in", "read", id=command).ended, 10)
    assert agent.call("in", "read", id=command).data == b"flame-in.main.1 yes\n"
    agent.stop("in", 1.0)
    agent.ended("in")


def test_an_image_that_is_not_there_and_none_at_all(agent, engine):
    agent.start(an_order("missing", (), image="missing:v1", runtime="oci"))
    status = agent.ended("missing")
    assert status.phase == "Failed" and "no such image" in status.log and status.containers[0].exit_code == 125
    agent.start(an_order("none", ("true",), runtime="oci"))
    agent.until("none", lambda status: status.containers[0].reason == "InvalidImageName")


def test_what_a_killed_agent_left_is_removed(agent, engine):
    agent.start(an_order("left", shell("sleep 300"), image="i", runtime="oci"))
    agent.running("left")
    eventually(lambda: left(engine), 10)
    agent.end(signal.SIGKILL)
    assert left(engine), "the engine's containers outlive its client"
    agent.allocator.heard.clear()
    agent.begin()
    eventually(lambda: not left(engine), 10)


def test_a_node_whose_engine_does_not_answer_has_none(tmp_path, engine):
    (engine / "podman").write_text("#!/bin/sh\necho Cannot connect to the daemon >&2\nexit 1\n")
    agent = Agent(tmp_path)
    try:
        eventually(lambda: "Cannot connect to the daemon" in agent.log(), 10)
        agent.start(an_order("what", runtime="oci"))
        status = agent.until("what", lambda status: status.containers[0].reason == "CreateContainerError")
        assert "runtime 'oci' cannot be had on this node; it has process" in status.containers[0].message
        assert [node.runtimes for node in agent.allocator.all(m.RegisterNode)] == [("process",)]
    finally:
        agent.close()
