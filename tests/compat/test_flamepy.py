"""flamepy 0.6.0, unmodified, over `--compat-listener`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flame.testing.cluster import LocalCluster


def merged(lines):
    return {key: value for line in lines for key, value in line.items()}


@pytest.mark.ledger("A-51", "A-89")
def test_the_published_client_registers_opens_runs_watches_and_lists(play, record_property, capsys):
    said = merged(play("frontend.py", "500"))
    assert said["apps"] == ["flmexec", "flmping", "flmrun"]
    assert said["mine"] == ["/bin/true", "d", {"A": "1"}, ["x"], 1_000_000, 60, None]
    assert "already exists" in said["again"][1]
    assert said["bad"] is not None
    assert "invalid input schema:" in said["schema"][1]
    assert said["session"] == ["one", "mine", "OPEN", 0, "cd"]
    assert "open session" in said["busy"][1]
    assert "already exists" in said["twice"][1]
    assert "not found" in said["no_app"][1]
    assert "invalid session id" in said["bad_id"][1]
    assert (said["opened"], said["made"], said["listed"]) == ("one", "two", ["one", "two"])
    assert said["mismatch"][0] == "INVALID_ARGUMENT"
    assert "max_instances" in said["mismatch"][1]
    assert said["unknown"][0] == "NOT_FOUND"
    assert "not found" in said["unknown"][1].lower()
    assert said["closed"][0] == "INVALID_ARGUMENT"
    assert "not open" in said["closed"][1]
    assert "not open" in said["task"][1]
    assert (said["state"], said["gone"], said["still"]) == ("CLOSED", None, [])
    assert said["nodes"] == [True]
    assert said["states"] == [True]
    assert said["got"][:2] == ["1", "SUCCEED"]
    assert said["got"][2][0] == 0
    assert said["got"][2][-1] == 2
    assert said["ids"] is True
    assert said["watch"] == "SUCCEED"
    assert said["counts"] == [502, "CLOSED"]
    with capsys.disabled():
        print(f"\nflamepy 0.6.0 on flmping: {said['rate']:,.0f} tasks/s")


@pytest.mark.ledger("A-22", "A-27", "A-28")
def test_a_published_service_runs_behind_the_shim(play, tmp_path, capsys):
    mark = tmp_path / "left"
    service = Path(__file__).parent / "scripts" / "echo_service.py"
    said = merged(play("service.py", sys.executable, str(service), str(mark)))
    assert said["outcomes"][:3] == [["ok", "one"], ["ok", ""], ["ok", None]]
    assert said["outcomes"][3][0] == "error"
    assert "the task said fail" in said["outcomes"][3][1]
    assert said["outcomes"][4] == ["ok", "two"]
    who = said["who"]
    assert (who["tasks"], who["common"]) == (6, "hello")
    assert who["env"]["FLAME_INSTANCE_ENDPOINT"].startswith("/")
    assert "work/echo" in who["env"]["TMPDIR"] or "tmp" in who["env"]["TMPDIR"]
    assert said["same"] is True
    assert "failed to bind session" in said["refused"][0]
    assert "the service will not enter" in said["refused"][0]
    deadline = time.time() + 10
    while not mark.exists() and time.time() < deadline:
        time.sleep(0.1)
    assert mark.read_text().split()[0] == who["session"]
    with capsys.disabled():
        print(f"\nflamepy 0.6.0 service behind the shim: {said['rate']:,.0f} tasks/s")


def test_the_published_client_survives_a_killed_manager(play, data_dir):
    said = merged(play("survive.py", str(data_dir)))
    assert said == {"states": ["SUCCEED"], "count": 51, "more": True}


@pytest.mark.ledger("A-49", "A-51")
def test_the_published_client_works_over_tls_with_its_ca_file(tmp_path):
    """The same script, unchanged: https, and the authority by FLAME_CA_FILE."""
    with LocalCluster(compat="tls://127.0.0.1:0") as cluster:
        ca = cluster.data_dir / "certs" / "ca.pem"
        port = cluster.run.compat.rpartition(":")[2]
        env = dict(os.environ) | {
            "HOME": str(tmp_path),
            "FLAME_ENDPOINT": f"https://localhost:{port}",
            "FLAME_CA_FILE": str(ca),
        }
        script = Path(__file__).parent / "scripts" / "frontend.py"
        command = [sys.executable, "-W", "ignore", str(script), "50"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        said = merged(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        assert said["counts"] == [52, "CLOSED"]
