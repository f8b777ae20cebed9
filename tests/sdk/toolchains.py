"""Programs in other languages, built where there is a toolchain for them; it keeps its caches, whatever home the tests have."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
OWNER = Path(pwd.getpwuid(os.getuid()).pw_dir)
PLACES = {"GOPATH": "go", "GOCACHE": ".cache/go-build", "CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}
CACHES = {name: os.environ.get(name, str(OWNER / place)) for name, place in PLACES.items()}


@dataclass(frozen=True)
class Toolchain:
    folder: Path
    fetch: tuple[str, ...]
    """What brings the dependencies."""
    build: tuple[str, ...]
    program: Path

    def built(self) -> str:
        """Path of the program. Skips without the toolchain, or without the dependencies; code that does not build is a failure."""
        if shutil.which(self.build[0]) is None:
            pytest.skip(f"there is no {self.build[0]} here")
        done = self._run(self.build)
        if done.returncode and (fetched := self._run(self.fetch)).returncode:
            pytest.skip(f"{' '.join(self.fetch)}: {fetched.stderr.strip().splitlines()[0]}")
        assert done.returncode == 0, done.stderr
        return str(self.program)

    def _run(self, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, env=os.environ | CACHES, capture_output=True, text=True)


GO = Toolchain(
    EXAMPLES / "any_language_go",
    fetch=("go", "mod", "download"),
    build=("go", "build", "-o", "bin/echo", "./echo"),
    program=EXAMPLES / "any_language_go" / "bin" / "echo",
)
RUST = Toolchain(
    EXAMPLES / "any_language_rust",
    fetch=("cargo", "fetch", "--locked"),
    build=("cargo", "build", "--locked", "--quiet", "--bin", "echo", "--target-dir", "target"),
    program=EXAMPLES / "any_language_rust" / "target" / "debug" / "echo",
)
