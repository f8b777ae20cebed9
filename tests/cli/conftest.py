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

    def run(*command: object, cwd: Path | None = None, **more: str) -> Ran:
        words = [str(word) for word in command]
        done = subprocess.run(words, env=env | more, cwd=cwd or home, capture_output=True, text=True, timeout=60)
        return Ran(done.returncode, done.stdout, done.stderr)

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
