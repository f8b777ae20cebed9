"""A cluster with a compat listener, and scripts that speak to it with the published client in a process of their own (its descriptors and
ours cannot share one)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SCRIPTS = Path(__file__).parent / "scripts"
DATA: list[Path] = []
"""The data directory of the running cluster, last."""
Play = Callable[..., list[dict[str, object]]]


@pytest.fixture(scope="module")
def listener() -> Iterator[str]:
    """host:port of `flame up --compat-listener`."""
    folder = Path(tempfile.mkdtemp(prefix="flame-compat-"))
    env = dict(os.environ) | {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    data = str(folder / "data")
    command = [str(BIN / "flame"), "up", "--detach", "--data-dir", data, "--compat-listener", "127.0.0.1:0"]
    try:
        up = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
        assert up.returncode == 0, up.stderr
        DATA.append(folder / "data")
        yield json.loads((folder / "data" / "run.json").read_text())["compat"]
    finally:
        subprocess.run([str(BIN / "flame"), "down", "--data-dir", data], env=env, capture_output=True, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def play(listener: str, tmp_path: Path) -> Play:
    """Run a script of `scripts/` against the cluster; it prints one JSON object a line."""

    def run(name: str, *args: str) -> list[dict[str, object]]:
        env = dict(os.environ) | {"HOME": str(tmp_path), "FLAME_ENDPOINT": f"http://{listener}"}
        command = [sys.executable, "-W", "ignore", str(SCRIPTS / name), *args]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run


@pytest.fixture
def data_dir(listener: str) -> Path:
    return DATA[-1]
