"""What an earlier release wrote, this one reads: one directory of journals for each release, kept for good.

`data-0.1.0` was written by 0.1.0: a closed session with results, one with a failure, an open one, an application, a tenant, a token.
When the format changes a new directory is added and these stay. From the first tag on, `test_neighbours` runs the tagged client and
agent against this engine, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flame.testing.cluster import LocalCluster, eventually

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def tags() -> list[str]:
    """Releases of this project, latest first."""
    done = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-v:refname"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.split()


@pytest.mark.parametrize("release", sorted(path.name for path in HERE.glob("data-*")))
def test_journals_of_every_release_are_read(release, tmp_path):
    with LocalCluster(tmp_path / "d") as probe:  # makes the directory as a cluster wants it
        assert probe.data_dir.exists()
    for path in (HERE / release).iterdir():
        shutil.copy(path, tmp_path / "d" / path.name)
    with LocalCluster(tmp_path / "d") as cluster, cluster.connect() as client:
        sessions = {info.id: info for info in client.list_sessions()}
        assert sessions.keys() == {"closed", "failed", "open"}
        assert (sessions["closed"].state, sessions["closed"].succeed) == (1, 20)
        assert (sessions["failed"].state, sessions["failed"].failed) == (1, 1)
        assert (sessions["open"].state, sessions["open"].spec.priority) == (0, 7)
        assert "mine" in {app.name for app in client.list_apps()}
        eventually(lambda: {use.tenant.name: use.tenant.weight for use in client.list_tenants()}.get("acme") == 3)
        assert [token.name for token in client.list_tokens()] == ["ann"]
        session = client.open_session("open")
        assert session.run(None).result(60)
        assert client.get_session("open").succeed == 6


@pytest.mark.skipif(not tags(), reason="nothing was released yet: from the first tag on this runs by itself")
def test_neighbours(tmp_path):
    """Client and agent of the last release, from its tag, against this engine."""
    tree = tmp_path / "tree"
    subprocess.run(
        ["git", "worktree", "add", "--detach", str(tree), tags()[0]], cwd=ROOT, check=True, capture_output=True
    )
    env = os.environ | {"PYTHONPATH": str(tree / "src"), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    try:
        with LocalCluster(with_node=False) as cluster:
            words = ["agent", "join", cluster.run.endpoint, "--data-dir", str(tmp_path / "n")]
            agent = subprocess.Popen([sys.executable, "-m", "flame.cli.flame", *words], env=env)
            try:
                command = [sys.executable, str(HERE / "neighbour.py"), cluster.run.endpoint]
                done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
                assert (done.stdout.strip(), done.returncode) == ("500", 0), done.stderr
            finally:
                agent.terminate()
                agent.wait(20)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=False, capture_output=True)
