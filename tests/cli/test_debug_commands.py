"""flame status, debug, stack, replay, doctor, config: what to reach for when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli.test_apply import train
from cli.test_replica_commands import job

from flame.cli.checks import machine, network
from flame.core.model.messages import AppSpec
from flame.testing.cluster import LocalCluster, eventually
from flame.testing.node import LocalNode

GUIDE = Path(__file__).parents[1] / "objects" / "guide"


@pytest.mark.ledger("B-159")
def test_status_is_one_screen(flame):
    eventually(lambda: flame("status").code == 0)  # the node comes a moment after the cluster
    empty = flame("status")
    assert empty.code == 0 and "Workloads:     none" in empty.out and "GPUs:          0 allocated of 2" in empty.out
    flame("apply", "-f", "-", stdin=train("well"))
    flame("apply", "-f", "-", stdin=job("bad", "echo no luck; exit 3", maxRetries=0))
    flame("apply", "-f", "-", stdin=train("large", cpu="3"))
    eventually(lambda: "1 failed" in flame("status").out)
    text = flame("status").out
    assert "Workloads:     1 pending, 1 running, 1 failed" in text
    assert "Failing:       1\n\tdefault/bad: Error: " in text
    assert "Waiting:       1\n\tdefault/large: NoCapacity: " in text
    assert len(text.splitlines()) <= 24, "one screen"
    record = json.loads(flame("status", "-o", "json").out)
    assert record["state"] == "ok" and record["workloads"] == {"Pending": 1, "Running": 1, "Failed": 1}
    assert [one["name"] for one in record["failing"]] == ["bad"]
    assert record["agents"][0]["state"] == "Ready" and record["gpus"] == {"total": "2", "allocated": "0"}


@pytest.mark.ledger("B-159")
def test_status_of_a_cluster_that_lost_its_node(bare):
    with (
        LocalCluster(respawn=False)
        if "respawn" in LocalCluster.__init__.__code__.co_varnames
        else LocalCluster() as cluster
    ):
        with LocalNode(cluster, "b"):
            eventually(lambda: "2 ready of 2" in bare("flame", "status", FLAME_ENDPOINT=cluster.run.endpoint).out)
        eventually(lambda: bare("flame", "status", FLAME_ENDPOINT=cluster.run.endpoint).code == 1)
        said = bare("flame", "status", FLAME_ENDPOINT=cluster.run.endpoint)
        assert "degraded; 1 of 2 nodes are ready" in said.out and "b (" in said.out


@pytest.mark.ledger("B-158")
def test_debug_workload_has_evidence_and_next_steps(flame):
    flame("apply", "-f", "-", stdin=job("bad", "echo no luck >&2; exit 3", maxRetries=0))
    eventually(lambda: flame("get", "fw", "bad", "-o", "jsonpath={.status.phase}").out == "Failed\n")
    ran = flame("debug", "workload", "bad")
    lines = ran.out.splitlines()
    assert ran.code == 0 and lines[0].startswith("bad: crash: failed 1 times")
    assert "Evidence:" in lines and "Events:" in lines and "Next:" in lines
    assert "  flame logs bad" in lines and flame("logs", "bad").out == "no luck\n"
    record = json.loads(flame("debug", "workload", "bad", "-o", "json").out)
    assert record["summary"] == lines[0] and record["causes"][0]["kind"] == "crash"
    assert flame("debug", "workload", "bad", "-o", "name").out == "crash\n"
    assert flame("debug", "workload", "nobody").code == 68


SLOW = """
import time
import flame

def outer(n):
    return deep_inside(n)

def deep_inside(n):
    time.sleep(n)
    return n

class Service(flame.FlameService):
    def on_session_enter(self, ctx):
        self.greeting = (ctx.common_data or b"?").decode()
    def on_task_invoke(self, ctx):
        text = (ctx.input or b"").decode()
        if text == "sleep":
            outer(60)
        if text == "fail":
            raise ValueError("no " + self.greeting)
        print("in the task")
        return (self.greeting + " " + text).encode()
"""


@pytest.fixture
def session(cluster, tmp_path):
    (tmp_path / "slow_service.py").write_text(SLOW)
    with cluster.connect() as client:
        name = f"slow-{tmp_path.name}"
        client.register(name, service="slow_service:Service", path=str(tmp_path))
        with client.session(name, common_data=b"hello") as made:
            yield made


@pytest.fixture
def asleep(session):
    future = session.run(b"sleep")
    eventually(lambda: session.get_task(1).state == 1)
    yield f"{session.id}/1"
    future.cancel(kill=True)


def test_the_stack_of_a_task(flame, asleep):
    ran = flame("stack", asleep)
    assert ran.code == 0, ran
    assert "deep_inside" in ran.out and "outer" in ran.out and "slow_service.py" in ran.out
    assert "n: 60" in flame("stack", asleep, "--locals").out


def test_the_stack_of_a_replica(flame):
    container = {
        "name": "main",
        "image": "none",
        "command": [sys.executable, "-c", "import time\ndef nap(): time.sleep(600)\nnap()"],
    }
    body = json.loads(job("nap", ""))
    body["spec"]["template"]["spec"]["containers"] = [container]
    flame("apply", "-f", "-", stdin=json.dumps(body))
    eventually(lambda: flame("get", "fw", "nap", "-o", "jsonpath={.status.readyReplicas}").out == "1\n")
    eventually(lambda: "nap (<string>:2)" in flame("stack", "nap").out)
    flame("apply", "-f", "-", stdin=job("shell", "sleep 600"))
    eventually(lambda: flame("get", "fw", "shell", "-o", "jsonpath={.status.readyReplicas}").out == "1\n")
    none = flame("stack", "shell-0")
    assert none.code == 66 and "runs no Python" in none.err


def test_what_does_not_run_has_no_stack(flame, session):
    session.run(b"x").result(20)
    ran = flame("stack", f"{session.id}/1")
    assert ran.code == 66 and f"flame replay {session.id}/1" in ran.err
    assert flame("stack", f"{session.id}/9").code == 68
    assert flame("stack", "nobody").code == 68


def test_without_py_spy_it_says_how_to_get_it(flame, asleep, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    code = "import sys; sys.executable = '/nowhere/python'; from flame.cli.flame import main; sys.argv = ['flame', *sys.argv[1:]]; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "stack", asleep],
        env=flame.environment | {"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 75 and "py-spy is not installed" in done.stderr and "flame-engine[debug]" in done.stderr


@pytest.mark.ledger("B-160")
def test_a_shell_beside_a_task(flame, asleep, tmp_path):
    ran = flame("debug", "shell", asleep, stdin="echo $FLAME_SERVICE; pwd; exit 9\n")
    assert ran.code == 9, ran
    assert ran.out.splitlines()[0] == "slow_service:Service", "the environment is that of its executor"
    over = flame("debug", "shell", asleep.replace("/1", "/7"))
    assert over.code == 68


def test_a_task_is_run_again_here(flame, session):
    assert session.run(b"world").result(20) == b"hello world"
    ran = flame("replay", f"{session.id}/1")
    assert (ran.code, ran.out) == (0, "in the task\nhello world\n"), ran
    assert flame("replay", f"{session.id}/1", "--raw").out == "in the task\nhello world"
    failed = session.run(b"fail")
    assert failed.exception(20)
    again = flame("replay", f"{session.id}/2")
    assert again.code == 10 and "There it failed: no hello" in again.err
    assert "ValueError: no hello" in again.err and "slow_service.py" in again.err
    debugged = flame("replay", f"{session.id}/2", "--pdb", stdin="p text\nq\n")
    assert debugged.code == 10 and "'fail'" in debugged.out
    assert session.get_task(2).attempt == 1, "nothing of it is recorded"
    assert flame("replay", "x").code == 65 and flame("replay", "nobody/1").code == 68


def test_a_function_is_run_again_here(flame, cluster, tmp_path):
    script = tmp_path / "calls.py"
    script.write_text(
        "import os, flame\nfrom flame import FlameExecutor\n"
        "def divide(a, b):\n    return a / b\n"
        "client = flame.connect()\n"
        "pool = FlameExecutor()\n"
        "print(pool.submit(divide, 1, 4).result())\n"
        "print(type(pool.submit(divide, 1, 0).exception()).__name__)\n"
        "print(next(s.id for s in client.list_sessions() if s.spec.application.startswith('flame-functions')), flush=True)\n"
        "input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env=flame.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["0.25\n", "ZeroDivisionError\n"]
        session = process.stdout.readline().strip()
        assert flame("replay", f"{session}/1").out == "0.25\n"
        failed = flame("replay", f"{session}/2")
        assert failed.code == 10 and "ZeroDivisionError" in failed.err and "a / b" in failed.err
    finally:
        process.communicate("\n", timeout=30)


@pytest.mark.ledger("B-001", "B-092")
def test_settings_say_where_they_come_from(flame):
    before = flame("config", "show", "--origin")
    assert all(line.endswith(" default") for line in before.out.splitlines()[1:]), before.out
    try:
        for name in ("flame-config", "gpu-config", "monitoring-config", "logging-config"):
            assert flame("apply", "-f", GUIDE / f"{name}.yaml").code == 0
        found = {one["key"]: one for one in json.loads(flame("config", "show", "--origin", "-o", "json").out)}
        inner = yaml.safe_load(yaml.safe_load((GUIDE / "flame-config.yaml").read_text())["data"]["config.yaml"])
        assert found["scheduling.maxConcurrentWorkloads"]["value"] == inner["scheduling"]["maxConcurrentWorkloads"]
        lines = yaml.safe_load((GUIDE / "flame-config.yaml").read_text())["data"]["config.yaml"].splitlines()
        number = next(i for i, line in enumerate(lines, 1) if "maxConcurrentWorkloads" in line)
        assert (
            found["scheduling.maxConcurrentWorkloads"]["origin"]
            == f"ConfigMap flame-system/flame-config config.yaml:{number}"
        )
        gpu = flame("config", "show", "gpu", "--origin").out
        assert all("gpu." in line and "ConfigMap flame-system/gpu-config" in line for line in gpu.splitlines()[1:]), gpu
        tree = json.loads(flame("config", "show", "monitoring", "-o", "json").out)
        assert set(tree) == {"metrics", "prometheus", "grafana"}
        assert "logging" in yaml.safe_load(flame("config", "show", "logging", "-o", "yaml").out)
        one = flame("config", "show", "scheduling.maxRetries")
        assert len(one.out.splitlines()) == 2
        typo = flame("config", "show", "scheduling.maxRetrys")
        assert typo.code == 68 and "did you mean scheduling.maxRetries?" in typo.err
        local = flame("config", "show", "-f", GUIDE / "values.yaml", "--origin")
        assert local.code == 0 and "values.yaml" in local.out
    finally:
        for name in ("flame-config", "gpu-config", "monitoring-config", "logging-config"):
            flame("delete", "cm", name, "-n", "flame-system", "--ignore-not-found")


@pytest.mark.ledger("B-001")
def test_a_file_of_settings_is_checked(flame, tmp_path):
    good = GUIDE / "flame-config.yaml"
    ran = flame("config", "check", good)
    assert ran.code == 0 and f"{good}: right" in ran.out
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(good.read_text().replace("maxRetries", "maxRetrys"))
    line = next(i for i, text in enumerate(wrong.read_text().splitlines(), 1) if "maxRetrys" in text)
    ran = flame("config", "check", wrong)
    assert ran.code == 65 and f"{wrong}:{line}" in ran.err and "maxRetries" in ran.err, ran
    assert flame("config", "check", GUIDE / "workload.yaml").code == 65
    assert flame("config", "check", "/nowhere.yaml").code == 65


def test_doctor(flame):
    ran = flame("doctor")
    assert ran.code == 0, ran
    names = [line.split()[1] for line in ran.out.splitlines() if line.split()[0] in ("ok", "warn", "fail")]
    for name in (
        "python",
        "packages",
        "memory",
        "cgroups",
        "bubblewrap",
        "disk",
        "fsync",
        "clock",
        "ports",
        "connection",
        "node",
        "workloads",
    ):
        assert name in names, ran.out
    record = json.loads(flame("doctor", "-o", "json").out)
    assert record["ok"] and {check["state"] for check in record["checks"]} <= {"ok", "warn"}


def test_doctor_without_a_cluster_and_with_what_is_wrong(bare):
    ran = bare("flame", "doctor")
    assert ran.code == 0 and "No cluster is running here." in ran.out
    if os.getuid():
        assert bare("flame", "doctor", "--data-dir", "/proc").code == 1
    away = bare("flame", "doctor", FLAME_ENDPOINT="unix:///nowhere.sock")
    assert away.code == 1 and "fail  connection" in away.out, away


def test_doctor_sees_certificates_that_end(tmp_path, monkeypatch):
    run = subprocess.run(
        [str(Path(sys.executable).with_name("flmadm")), "certs", "init", "--dir", str(tmp_path / "certs")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    found = list(machine.certificates(tmp_path))
    assert {check.state for check in found} == {"ok"} and any("ca.pem" in check.message for check in found)
    real = machine.time.time()
    monkeypatch.setattr(machine.time, "time", lambda: real + 80 * 86400)
    assert "warn" in {check.state for check in machine.certificates(tmp_path)}
    monkeypatch.setattr(machine.time, "time", lambda: real + 4000 * 86400)
    assert {check.state for check in machine.certificates(tmp_path)} == {"fail"}


@pytest.mark.ledger("B-147")
def test_doctor_measures_between_nodes(bare):
    with LocalCluster() as cluster, LocalNode(cluster, "b"), LocalNode(cluster, "c"), cluster.connect() as client:
        eventually(
            lambda: sum(one["status"]["phase"] == "Ready" for one in client.objects.list("flameagent").items) == 3
        )
        found = list(network.network(client))
        assert found[-1].state == "ok" and found[-1].message.startswith("3 ways, "), found
        eventually(lambda: not client.objects.list("flameworkload").items, what="the probe goes")
        assert "3 ways" in bare("flame", "doctor", "--network", FLAME_ENDPOINT=cluster.run.endpoint).out


def test_a_way_that_is_slower_than_the_others_is_told():
    ways = [
        ["a", "b", 0.002, 1e9],
        ["a", "c", 0.002, 1e9],
        ["b", "c", 0.02, 1e9],
        ["a", "d", 0.002, 1e8],
        ["b", "d", -1, "refused"],
        ["c", "d", 0.002, 1e9],
    ]
    found = list(network.judge(ways))
    assert [(check.state, check.message.split(":")[0]) for check in found[:3]] == [
        ("fail", "b cannot reach d"),
        ("warn", "b to c"),
        ("warn", "a to d"),
    ]


def test_an_application_of_the_contract_is_replayed_too(flame, cluster, tmp_path):
    """A program that serves flame.v1.Instance: it is started here, as on a node."""
    examples = Path(__file__).parents[1] / "agent" / "foreign_service.py"
    with cluster.connect() as client:
        client.register("foreign", AppSpec(command=sys.executable, arguments=(str(examples),)))
        with client.session("foreign") as session:
            expected = session.run(b"abc").result(60)
            ran = flame("replay", f"{session.id}/1", "--raw")
            assert ran.code == 0 and ran.out.encode() == (expected or b""), ran
