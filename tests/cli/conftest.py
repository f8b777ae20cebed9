"""One cluster for the commands, and a way to run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

BIN = Path(sys.executable).parent


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def runner(home: Path) -> Run:
    """Runs a command of ours with nothing in its environment that could lead it elsewhere."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
    env |= {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PATH": f"{BIN}:{env['PATH']}",
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }

    def run(*command: object, cwd: Path | None = None, stdin: str | None = None, **more: str) -> Ran:
        words = [str(word) for word in command]
        done = subprocess.run(
            words, env=env | more, cwd=cwd or home, input=stdin, capture_output=True, text=True, timeout=60
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    run.environment = env  # type: ignore[attr-defined]
    run.home = home  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="session")
def shell() -> Iterator[Run]:
    """Commands beside a running cluster."""
    home = Path(tempfile.mkdtemp(prefix="flame-cli-"))
    run = runner(home)
    try:
        up = run("flame", "up", "--detach")
        assert up.code == 0, up
        yield run
    finally:
        run("flame", "down")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def bare() -> Iterator[Run]:
    """Commands where nothing runs."""
    home = Path(tempfile.mkdtemp(prefix="flame-bare-"))
    yield runner(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster():
    """A small cluster of real processes with four slots and two GPUs that are only said to be there."""
    from flame.testing.cluster import LocalCluster

    with LocalCluster(cpus=4.0, simulate_gpus="nvidia-a100:2x40Gi") as made:
        yield made


@pytest.fixture
def flame(cluster, tmp_path):
    """`flame WORDS` beside that cluster, in a folder of its own; standard input as `stdin`."""
    run = runner(tmp_path)

    def call(*words: object, stdin: str | None = None, **more: str) -> Ran:
        return run("flame", *words, stdin=stdin, FLAME_ENDPOINT=cluster.run.endpoint, **more)

    call.environment = run.environment | {"FLAME_ENDPOINT": cluster.run.endpoint}  # type: ignore[attr-defined]
    call.home = tmp_path  # type: ignore[attr-defined]
    yield call
    with cluster.connect() as client:
        objects = client.objects
        for body in objects.list("flameworkload").items:
            about = body["metadata"]
            objects.delete("flameworkload", about["name"], namespace=about["namespace"], grace=0.0)
        from flame.testing.cluster import eventually

        eventually(lambda: not objects.list("flameworkload").items)
