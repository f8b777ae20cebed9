"""The project itself: files that must be there, and what its lists may not say."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.ledger("A-91")
def test_the_files_of_an_open_project_are_there():
    for name in ("LICENSE", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "README.md", "docs/index.md"):
        assert (ROOT / name).read_text().strip(), name
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_are_hashed_and_name_no_host(name):
    text = (ROOT / name).read_text()
    assert "://" not in text
    pins = re.findall(r"^[a-z0-9][\w.\[\]-]*==", text, re.MULTILINE | re.IGNORECASE)
    assert len(pins) > 10
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text.strip()) if "==" in entry)


@pytest.mark.ledger("A-89")
def test_the_base_install_is_small():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}
    assert names == {
        "cloudpickle", "google-crc32c", "grpcio", "msgspec", "protobuf", "psutil", "pyyaml", "rich", "typer", "uvloop",
    }  # fmt: skip
    locked = re.findall(r"^([a-z0-9][\w.-]*)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE | re.IGNORECASE)
    assert len(locked) <= 20


@pytest.mark.ledger("A-89")
def test_importing_flame_loads_nothing_heavy():
    assert (
        loaded(
            "flame", "asyncpg", "grpc", "google.protobuf", "pyarrow", "sqlite3", "uvloop", "asyncio", "typer", "rich"
        )
        == []
    )


def test_flmping_parses_without_the_slow_libraries():
    assert loaded("flame.cli.flmping", "asyncpg", "grpc", "google.protobuf", "typer", "rich", "yaml") == []


def loaded(module: str, *names: str) -> list[str]:
    """Which of the names importing a module loads, in a fresh process."""
    code = f"import sys, {module}; print(*({set(names)!r} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_make_alone_says_what_can_be_done():
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("help", "ping", "test", "check", "bench", "sim"):
        assert f"make {target} " in done.stdout
