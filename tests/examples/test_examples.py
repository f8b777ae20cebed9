"""Every example runs as its README says, on an engine of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sdk.toolchains import CACHES

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(home: Path, *command: str, seconds: float = 110) -> str:
    """Output of a command in an empty home. Skips when the example says that it cannot run here."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
    env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    env |= CACHES
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=seconds)
    if done.stderr.startswith("skipped:"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def python(tmp_path):
    return lambda name, *args, **more: run(tmp_path, sys.executable, str(EXAMPLES / name / "main.py"), *args, **more)


def about_pi(text: str, tasks: int) -> bool:
    found = re.fullmatch(rf"{tasks} tasks: pi is about (\d\.\d+)\n", text)
    return found is not None and abs(float(found[1]) - 3.14159) < 0.01


@pytest.mark.ledger("A-84", "A-85")
def test_pi_by_a_numpy_service(python):
    pytest.importorskip("numpy")
    assert about_pi(python("pi_numpy"), 100)


@pytest.mark.ledger("A-84", "A-85")
def test_pi_by_a_function(python):
    assert about_pi(python("pi_task"), 100)


@pytest.mark.ledger("A-29", "A-85")
def test_a_service_keeps_its_connection_across_tasks(python):
    found = re.fullmatch(r"1000 tasks, (\d+) executors, \1 connections\n", python("sqlite_service"))
    assert found


@pytest.mark.ledger("A-85")
def test_words_of_the_standard_library_are_counted_right(python, tmp_path):
    from collections import Counter

    texts = tmp_path / "texts"
    texts.mkdir()
    source = Path(os.__file__).parent
    for name in ("os.py", "ast.py", "io.py"):
        shutil.copy(source / name, texts / name)
    words = Counter(word for path in texts.iterdir() for word in re.findall(r"[a-z]{4,}", path.read_text().lower()))
    lines = python("wordcount", str(texts)).splitlines()
    assert lines[0] == f"3 files, {words.total():,} words, {len(words):,} different"
    assert lines[1].split() == [f"{words.most_common(1)[0][1]:,}", words.most_common(1)[0][0]]


@pytest.mark.ledger("A-22", "A-85")
def test_a_service_in_go_serves_tasks(python):
    assert python("any_language_go") == "[1, 2, 5, 0]\n"


@pytest.mark.ledger("A-22", "A-85")
@pytest.mark.timeout(300)
def test_a_service_in_rust_serves_tasks(python):
    assert python("any_language_rust", seconds=290) == "[1, 2, 5, 0]\n"


@pytest.mark.ledger("A-85")
def test_the_shell_example_runs(tmp_path):
    said = run(tmp_path, "bash", str(EXAMPLES / "hello_shell" / "main.sh"))
    assert said.count("hello from task") == 3
    assert "was closed." in said


def test_every_folder_has_a_readme_and_a_test():
    here = Path(__file__).read_text()
    for folder in sorted(EXAMPLES.iterdir()):
        if folder.is_dir() and folder.name not in ("__pycache__", "workloads"):  # those are in test_workloads.py
            assert (folder / "README.md").exists(), folder
            assert f'"{folder.name}"' in here, folder
