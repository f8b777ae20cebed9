"""The table of `flame`'s commands, which are imported one by one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import flame.cli
from flame.cli.flame import COMMANDS, commands_of

PROBE = """
import runpy, sys
try:
    runpy.run_module("flame.cli.flame", run_name="__main__")
except SystemExit:
    print(*sys.modules)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flame.cli.flame", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("module", COMMANDS)
def test_the_table_says_what_modules_register(module):
    assert tuple(commands_of(module)) == COMMANDS[module]


def test_every_module_that_registers_is_in_the_table():
    folder = Path(flame.cli.__file__).parent
    found = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if re.search(r"^def register\(\w+: typer.Typer\)", path.read_text(), re.MULTILINE)
    }
    assert found - {"install"} == set(COMMANDS)  # that one is of flmadm


def test_help_lists_all_commands_and_a_typing_error_is_understood():
    said = run("--help").stdout
    for names in COMMANDS.values():
        assert all(f" {name} " in said for name in names)
    wrong = run("gte", "workloads")
    assert wrong.returncode == 2
    assert "Did you mean 'get'?" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--version"], ["flame.cli.running", "yaml", "msgspec", "grpc"]),
        (["get", "nothing"], ["flame.cli.identities", "flame.store.backup", "yaml", "grpc", "cryptography"]),
        (["status", "--data-dir", "/nowhere"], ["flame.store.backup", "yaml", "grpc", "cryptography"]),
    ],
)
def test_a_command_imports_what_it_needs(words, absent):
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, timeout=60)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "typer" in imported
    assert not imported & set(absent)
