"""flame up, down, status: the cluster's life from the shell."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_without_a_cluster_status_and_down_say_what_to_do(bare):
    status = bare("flame", "status")
    assert status.code == 2
    assert "No cluster is running here." in status.err
    assert "flame up --detach" in status.err
    down = bare("flame", "down")
    assert down.code == 72
    assert "No cluster" in down.err
    assert json.loads(bare("flame", "status", "-o", "json").out)["state"] == "down"


def test_status_tells_how_the_cluster_is(shell):
    ran = shell("flame", "status")
    assert ran.code == 0, ran
    assert re.search(r"^Cluster: +ok$", ran.out, re.MULTILINE)
    assert re.search(r"^Durability: +power$", ran.out, re.MULTILINE)
    record = json.loads(shell("flame", "status", "-o", "json").out)
    assert (record["state"], record["nodes_ready"], record["storage"]) == ("ok", 1, "ok")
    assert {"supervisor", "manager", "allocator", "agent"} <= record["pids"].keys()


def test_a_second_cluster_in_the_same_place_is_refused(shell):
    ran = shell("flame", "up", "--detach")
    assert ran.code == 73
    assert "is running in" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("up", "--durability", "hope"), 2, "one of power"),
        (("up", "--cpus", "0"), 2, "cpus"),
        (("up", "--memory", "lots"), 65, "not a size"),
        (("up", "--listen", "tcp://0.0.0.0:1"), 65, "loopback"),
        (("up", "--compat-listener", "10.0.0.1:1"), 65, "loopback"),
        (("up", "--config", "/nowhere.yaml"), 65, "nowhere.yaml"),
        (("explain", "x"), 72, "No cluster"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_wrong_input_has_an_exit_code_and_a_sentence(bare, words, code, text):
    ran = bare("flame", *words)
    assert ran.code == code, ran
    assert text in ran.err
    assert "Traceback" not in ran.err


def test_mistakes_in_the_configuration_are_told_together(bare, tmp_path):
    file = tmp_path / "flame-cluster.yaml"
    file.write_text("cluster:\n  resreq: cpu=x\n  durability: maybe\n")
    ran = bare("flame", "up", "--config", file)
    assert ran.code == 65
    assert "cluster.resreq" in ran.err
    assert "durability" in ran.err


@pytest.mark.ledger("A-13")
def test_down_and_up_again_keeps_the_history(bare, tmp_path):
    data = tmp_path / "data"
    assert bare("flame", "up", "--detach", "--data-dir", data).code == 0
    assert bare("flmping", "-p", "-t", "20").code == 0
    before = json.loads(bare("flmctl", "list", "-s", "-o", "json").out)
    assert bare("flame", "down", "--data-dir", data).code == 0
    assert not (data / "run.json").exists()
    assert bare("flame", "up", "--detach", "--data-dir", data).code == 0
    after = json.loads(bare("flmctl", "list", "-s", "-o", "json").out)
    bare("flame", "down", "--data-dir", data)
    assert [(s["id"], s["succeed"], s["creation_time"]) for s in after] == [
        (s["id"], s["succeed"], s["creation_time"]) for s in before
    ]


def test_in_the_foreground_it_ends_with_ctrl_c_and_with_its_shell(tmp_path):
    env = dict(os.environ) | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    for end in (signal.SIGINT, signal.SIGKILL):
        data = tmp_path / f"data-{end}"
        command = [str(Path(sys.executable).parent / "flame"), "up", "--data-dir", str(data)]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as up:
            assert up.stdout is not None
            assert "running" in up.stdout.readline()
            pids = json.loads((data / "run.json").read_text())["pids"]
            up.send_signal(end)
            up.wait(15)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


def test_explain_and_logs(shell):
    ran = shell("flmexec", "-t", "2", "-l", "python", "-c", "import sys; sys.stderr.write('to stderr')")
    assert ran.code == 0
    session = re.search(r"<(flmexec-\w+)>", ran.out)
    assert session
    said = shell("flame", "explain", session[1])
    assert said.code == 0
    assert "is closed" in said.out
    missing = shell("flame", "explain", "nope")
    assert missing.code == 68
    assert shell("flame", "logs", session[1]).code == 0
    assert shell("flame", "logs", f"{session[1]}/x").code == 2


@pytest.mark.ledger("A-15")
def test_an_executor_started_by_hand_registers_and_pulls(shell):
    # Larger than the node: nobody else can serve this session.
    created = shell("flmctl", "create", "-a", "flmping", "-r", "cpu=4000,mem=1g")
    session = created.out.split("<")[1].split(">")[0]
    env = dict(os.environ) | {"HOME": str(shell.home), "XDG_RUNTIME_DIR": str(shell.home)}
    command = [str(Path(sys.executable).parent / "flame"), "executor", "-s", session]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as hand:
        assert hand.stdout is not None
        found = re.fullmatch(rf"Executor <(hand-\w+)> serves session <{session}>\.\n", hand.stdout.readline())
        assert found
        script = "import flame, sys; s = flame.connect().open_session(sys.argv[1]); print(len([s.invoke() for _ in range(20)]))"
        assert shell(sys.executable, "-c", script, session).out == "20\n"
        listed = json.loads(shell("flmctl", "list", "-e", "-o", "json").out)
        (mine,) = [one for one in listed if one["id"] == found[1]]
        assert (mine["session"], mine["node"], mine["state"]) == (session, "by-hand", "Bound")
        assert not listening(hand.pid)
        shell("flmctl", "close", "-s", session)
        assert hand.wait(15) == 0
    time.sleep(1.5)
    assert found[1] not in shell("flmctl", "list", "-e").out
    refused = shell("flame", "executor", "-s", session)
    assert (refused.code, "not open" in refused.err) == (66, True)


def listening(pid: int) -> list[str]:
    """Sockets of a process that wait for connections."""
    import psutil

    return [str(c.laddr) for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
