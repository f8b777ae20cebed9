"""The policy from a file to a node's labels, by the commands."""

from __future__ import annotations

import json

import pytest
from cli.conftest import runner

from flame.testing.cluster import eventually


@pytest.fixture
def run(tmp_path_factory):
    made = runner(tmp_path_factory.mktemp("iso"))
    yield made
    made("flame", "down", "--data-dir", made.home / "b")
    made("flame", "down", "--data-dir", made.home / "a")


def test_each_machine_says_what_it_enforces(run):
    (run.home / "a.yaml").write_text("cluster:\n  isolation: {memory: off, cpu: off, processes: unlimited}\n")
    (run.home / "b.yaml").write_text("cluster:\n  isolation: {file_size: 1g, environment: inherited}\n")
    first, second = ("--data-dir", run.home / "a"), ("--data-dir", run.home / "b")
    up = run("flame", "up", "-d", *first, "--name", "a", "--config", run.home / "a.yaml")
    assert up.code == 0, up
    join = run("flame", "agent", "join", run.home / "a", *second, "--name", "b", "--config", run.home / "b.yaml", "-d")
    assert join.code == 0, join
    nodes = []

    def both_are_there():
        nodes[:] = json.loads(run("flame", "node", "list", *first, "-o", "json").out)
        return len(nodes) == 2

    eventually(both_are_there)
    labels = {node["name"]: node["labels"] for node in nodes}
    assert {labels["a"][f"flame.isolation/{name}"] for name in ("memory", "cpu", "processes", "file-size")} == {"off"}
    assert labels["a"]["flame.isolation/environment"] == "cleared"
    assert (labels["b"]["flame.isolation/file-size"], labels["b"]["flame.isolation/environment"]) == (
        "prlimit",
        "inherited",
    )
    assert "environment=inherited" in run("flame", "node", "list", *first, "-o", "wide").out


def test_what_cannot_run_here_does_not_start(run):
    path = run.home / "x.yaml"
    path.write_text("cluster:\n  isolation:\n    runtime: microvm\n")
    up = run("flame", "up", "-d", "--data-dir", run.home / "a", "--config", path)
    assert up.code == 65 and "looked for firecracker" in up.err and "runtime: bubblewrap" in up.err
    path.write_text("cluster:\n  isolation:\n    memory: hard\n")
    up = run("flame", "up", "-d", "--data-dir", run.home / "a", "--config", path)
    assert up.code == 65 and "line 3: cluster.isolation: memory: 'hard'" in up.err
