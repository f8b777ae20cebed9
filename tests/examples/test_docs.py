"""The tutorials are executed: Python and YAML blocks become the files they name, console blocks are run and compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(python|yaml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")


def play(page: Path, folder: Path) -> int:
    """Run a page in a folder. Returns how many commands were compared."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
    env |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    compared = 0
    for kind, body in BLOCK.findall(page.read_text()):
        if kind != "console":
            name = re.match(r"# (\S+\.(?:py|yaml))\n", body)
            assert name, f"{page}: a block must begin with the name of its file, such as `# name.py`"
            (folder / name[1]).write_text(body)
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, wanted = part.partition("\n")
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=100
            )
            pattern = re.escape(wanted.rstrip()).replace(r"\.\.\.", ".*")
            assert re.fullmatch(pattern, done.stdout.rstrip(), re.DOTALL), f"{command}\n{done.stdout}{done.stderr}"
            compared += 1
    return compared


@pytest.mark.ledger("A-86")
def test_pi_by_monte_carlo(tmp_path):
    assert play(DOCS / "pi-by-monte-carlo.md", tmp_path) == 1


@pytest.mark.ledger("A-87")
def test_pi_by_the_python_client(tmp_path):
    assert play(DOCS / "pi-by-python.md", tmp_path) == 2


@pytest.mark.ledger("B-158", "B-159")
def test_workloads_by_example(tmp_path):
    assert play(DOCS / "workloads.md", tmp_path) == 22


def test_no_page_links_to_nowhere():
    root = DOCS.parent
    for page in [*DOCS.rglob("*.md"), *root.glob("*.md"), *root.glob("examples/**/*.md")]:
        for target in LINK.findall(page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(root)} links to {target}"
