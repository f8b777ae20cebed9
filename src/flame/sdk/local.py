"""Starting a private cluster."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flame.core.base.errors import BY_CODE, FlameError, Unavailable
from flame.ops.paths import home
from flame.shell.address import Address, parse

START_LIMIT = 30.0
"""Seconds a private cluster may take to start."""


class PrivateCluster:
    """A cluster that lives as long as this object's process: it watches the other end of a pipe."""

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        *,
        fall_back: bool = True,
        module: str = "flame.cluster.supervisor",
    ) -> None:
        """config: fields of ClusterConfig; fall_back: use a temporary directory when the usual one is in use; module: which supervisor."""
        self._fall_back, self._module = fall_back, module
        self._temporary: Path | None = None
        self._client_r, self._client_w = os.pipe()
        self._report_r, self._report_w = os.pipe()
        self.pid = 0
        self._dead = False
        try:
            self._start(config or {}, home() / "local")
        except BaseException:
            self.stop()
            raise

    def _start(self, config: dict[str, Any], directory: Path) -> None:
        options = {
            "data_dir": str(directory), "durability": "process", "private": True, "client_fd": self._client_r,
            "report_fd": self._report_w,
        } | config  # fmt: skip
        os.set_inheritable(self._client_r, True)
        os.set_inheritable(self._report_w, True)
        environment = dict(os.environ)
        source = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [environment.get("PYTHONPATH")])])
        null = os.open(os.devnull, os.O_RDWR)
        read, write = os.pipe()
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-X", "frozen_modules=on", "-m", self._module],
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_DUP2, null, 1)],
                setsid=True,
            )
        finally:
            os.close(null)
            os.close(read)
            with contextlib.suppress(BrokenPipeError), os.fdopen(write, "w") as stdin:
                stdin.write(json.dumps(options))  # not by argument: everybody may read those
            os.set_inheritable(self._client_r, False)
            os.set_inheritable(self._report_w, False)

    def wait(self) -> Address:
        """Until it is up. Raises what kept it from starting."""
        with contextlib.suppress(OSError):
            os.close(self._report_w)
            self._report_w = -1
        raw = self._read_report()
        found = (
            json.loads(raw)
            if raw.strip()
            else {"error": {"code": "internal", "message": "the private cluster did not start", "hint": ""}}
        )
        if "run" in found:
            return parse(found["run"]["endpoint"])
        error = found["error"]
        if error["code"] == "data_dir_locked" and self._fall_back and self._temporary is None:
            self._reap(2)
            self._temporary = Path(tempfile.mkdtemp(prefix="flame-"))
            os.close(self._report_r)
            self._report_r, self._report_w = os.pipe()
            self._start({}, self._temporary)
            return self.wait()
        self.stop()
        raise BY_CODE.get(error["code"], FlameError)(error["message"], hint=error["hint"])

    def _read_report(self) -> bytes:
        raw, deadline = b"", time.monotonic() + START_LIMIT
        while b"\n" not in raw:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select((self._report_r,), (), (), left)[0]:
                self.stop()
                raise Unavailable(f"the private cluster did not start within {START_LIMIT:.0f} s")
            more = os.read(self._report_r, 65536)
            if not more:
                break
            raw += more
        return raw

    def alive(self) -> bool:
        if not self._dead:
            try:
                self._dead = os.waitpid(self.pid, os.WNOHANG)[0] != 0
            except ChildProcessError:
                self._dead = True
        return not self._dead

    def stop(self) -> None:
        """End the cluster and wait until it has."""
        for name in ("_client_w", "_client_r", "_report_r", "_report_w"):
            fd = getattr(self, name)
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
                setattr(self, name, -1)
        self._reap(5)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _reap(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.pid and self.alive():
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                deadline += 5
            time.sleep(0.003)
