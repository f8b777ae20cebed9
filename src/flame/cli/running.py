"""The cluster of this machine, as the commands see it: find it, start it, stop it, ask how it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from flame.core.base.errors import BY_CODE, FlameError, InvalidArgument, NoCluster
from flame.core.base.quantity import parse_size
from flame.ops import nodes
from flame.ops.config import ClusterConfig, check_storage, load
from flame.ops.paths import RunFile, default_file, home

STOP_SECONDS = 15.0
STORAGE = "FLAME_STORAGE"
"""The address of a database, for those who do not want its password on a command line. No child gets it in its environment."""


def size(text: str | None) -> int | None:
    return parse_size(text) if text is not None else None


def settings(data_dir: Path | None, config: Path | None, **given: Any) -> ClusterConfig:
    """File < command line; labels and taints of both. Raises InvalidArgument with every mistake of the file."""
    if given.get("storage"):
        check_storage(given["storage"])
    base = ClusterConfig(data_dir=(data_dir or home() / "data").absolute())
    if config is not None:
        base = load(config, base)
    try:
        given["labels"] = {**base.labels, **nodes.labels(given.get("labels") or [])}
        given["taints"] = tuple(dict.fromkeys((*base.taints, *nodes.taints(given.get("taints") or []))))
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    if given.get("gateway") is not None:
        given["gateway"] = {**(base.gateway or {}), "listen": given["gateway"]}
    nodes.simulated(given.get("simulate_gpus"))
    return replace(base, **{key: value for key, value in given.items() if value is not None})


def hide_storage(url: str | None) -> None:
    """A password on our command line is read by everybody for as long as we run: start again with the address in the environment."""
    if url is None or urlsplit(url).password is None or not any(url in word for word in sys.orig_argv):
        return
    words = list(sys.orig_argv)
    for index, word in enumerate(sys.orig_argv):
        if word == url:
            words[index - 1 : index + 1] = ["", ""]
        elif url in word:
            words[index] = ""
    sys.stdout.flush()
    os.execve(sys.executable, [word for word in words if word], os.environ | {STORAGE: url})


def find(data_dir: Path | None) -> RunFile:
    """The run file of a cluster that runs. Raises NoCluster."""
    path = data_dir.absolute() / "run.json" if data_dir is not None else default_file()
    run = RunFile.read(path)
    if run is None or not run.alive:
        where = f"in {data_dir}" if data_dir is not None else "here"
        raise NoCluster(f"No cluster is running {where}.", hint="flame up --detach starts one")
    return run


def start(config: ClusterConfig, detach: bool, say: Callable[[dict[str, Any]], None]) -> int:
    """Start a cluster (see `launch`)."""
    return launch("flame.cluster.supervisor", msgspec.to_builtins(asdict(config), enc_hook=str), detach, say)


def launch(module: str, options: dict[str, Any], detach: bool, say: Callable[[dict[str, Any]], None]) -> int:
    """Start a supervisor, `say` its run file once everything is up, and (unless detached) stay until it ends.

    Raises the error that kept it from starting. Returns the exit code.
    """
    report, tell = os.pipe()
    alive, held = os.pipe()  # our end closes when we die, however we die
    options = options | {"report_fd": tell}
    if not detach:
        options["client_fd"] = alive
    passed = (tell,) if detach else (tell, alive)
    child = subprocess.Popen(
        [sys.executable, "-m", module],
        pass_fds=passed,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={key: value for key, value in os.environ.items() if key != STORAGE},
    )
    os.close(tell)
    os.close(alive)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as stdin:
        stdin.write(json.dumps(options).encode())
    with os.fdopen(report) as lines:
        outcome = json.loads(
            lines.readline() or '{"error": {"code": "internal", "message": "the supervisor died", "hint": ""}}'
        )
    if "error" in outcome:
        child.wait()
        error = outcome["error"]
        raise BY_CODE.get(error["code"], FlameError)(error["message"], hint=error["hint"])
    say(outcome["run"])
    if detach:
        child.returncode = 0  # it is on its own now: no warning that it still runs
        return 0
    return _stay(child, held)


def _stay(child: subprocess.Popen[bytes], held: int) -> int:
    def end(*_: object) -> None:
        child.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    code = child.wait()
    os.close(held)
    return code


def stop(run: RunFile) -> None:
    """SIGTERM to the supervisor, and wait until it is gone."""
    pid = run.pids["supervisor"]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not _alive(pid):
            return
        time.sleep(0.02)
    raise FlameError(f"the supervisor (pid {pid}) did not end in {STOP_SECONDS:.0f} s", hint=f"see {run.data_dir}/logs")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return not _zombie(pid)
    except ProcessLookupError:
        return False


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@contextmanager
def client(data_dir: Path | None, endpoint: str | None) -> Iterator[Any]:
    """A client of the cluster named, or running here. Never starts one. A directory that is named wins over FLAME_ENDPOINT."""
    from flame.sdk.connect import connect
    from flame.sdk.target import find as find_target

    named = endpoint if data_dir is None else None
    if named is None and data_dir is None and find_target() is not None:
        with connect() as found:  # FLAME_ENDPOINT, or where `flame login` was
            yield found
        return
    with connect(named or find(data_dir).endpoint) as found:
        yield found


def status(data_dir: Path | None, endpoint: str | None) -> dict[str, Any]:
    """Everything about the cluster; `state` is ok or degraded, with the reasons. Raises when it cannot be reached."""
    run = find(data_dir) if endpoint is None or data_dir is not None else None
    with client(data_dir, endpoint) as found:
        record: dict[str, Any] = msgspec.to_builtins(found.status())
    record |= {"endpoint": endpoint, "compat": None, "listen": None, "gateway": None, "data_dir": None, "pids": {}}
    if run is not None:
        record |= {key: getattr(run, key) for key in ("endpoint", "compat", "listen", "gateway", "data_dir", "pids")}
    reasons = []
    if record["storage"] != "ok":
        reasons.append(f"storage: {record['storage']}")
    if not record["allocator"]:
        reasons.append("the allocator is not connected")
    if record["nodes_ready"] < max(1, record["nodes"]):
        reasons.append(f"{record['nodes_ready']} of {record['nodes']} nodes are ready")
    reasons += [f"{name} (pid {pid}) is gone" for name, pid in record["pids"].items() if pid and not _alive(pid)]
    return {"state": "degraded" if reasons else "ok", "reasons": reasons, **record}
