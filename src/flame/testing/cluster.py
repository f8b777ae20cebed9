"""A real cluster of real processes for a test: in a temporary directory, gone when the test is, even if the test is killed.

with LocalCluster() as cluster, cluster.connect() as client:
    ...
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flame.ops.paths import RunFile
from flame.sdk.local import PrivateCluster

if TYPE_CHECKING:
    from types import TracebackType

    from flame.sdk.client import Client


class LocalCluster:
    """`options` are fields of ClusterConfig: durability ("process" here unless said otherwise), cpus, compat, listen, ..."""

    #: called with the data directory of every cluster before it is removed: to look for what should not be there
    inspectors: ClassVar[list[Callable[[Path], None]]] = []

    def __init__(self, data_dir: Path | None = None, **options: Any) -> None:
        self._own = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="flame-test-"))
        self._options = {
            "data_dir": str(self.data_dir),
            "durability": "process",
            "private": True,
            "cpus": 4.0,
        } | options
        self._process: PrivateCluster | None = None

    def start(self) -> LocalCluster:
        """Raises what keeps it from starting."""
        process = PrivateCluster(self._options, fall_back=False)
        process.wait()
        self._process = process
        return self

    def stop(self) -> None:
        """The processes; the directory stays until the end of the `with` block."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def run(self) -> RunFile:
        found = RunFile.read(self.data_dir / "run.json")
        assert found is not None, f"nothing runs in {self.data_dir}"
        return found

    def pid(self, name: str) -> int:
        """Of supervisor, allocator, manager or agent, as run.json has it now."""
        return self.run.pids[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal a process; returns the pid it had."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def connect(self) -> Client:
        from flame.sdk.client import Client
        from flame.sdk.target import Target
        from flame.shell.address import parse

        return Client(Target((parse(self.run.endpoint),)))

    def log(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self.data_dir / "logs" / f"{name}.log").read_text(errors="replace")
        return ""

    def __enter__(self) -> LocalCluster:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        if kind is not None:
            print(json.dumps({name: self.log(name)[-2000:] for name in ("manager", "allocator", "agent")}, indent=2))
        for inspect in self.inspectors:
            inspect(self.data_dir)
        if self._own:
            shutil.rmtree(self.data_dir, ignore_errors=True)


def eventually(true: Callable[[], object], seconds: float = 20.0, what: str = "") -> None:
    """Wait until `true()` is. Raises AssertionError with `what` when it does not become so: a bound, not a pause."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what or "did not happen in time"
        time.sleep(0.01)
