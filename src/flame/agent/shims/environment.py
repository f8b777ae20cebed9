"""The environment, directories and command of a foreign service process, as published node agents make them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flame.agent.shims.installers import Installed, install
from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import AppSpec
from flame.ops.paths import RunFile, runtime_root

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
SOCKET_PATH = 100
"""Bytes; the kernel's limit is 107."""
OURS = ("FLAME_EXECUTOR_ID", "FLAME_NODE", "FLAME_DATA_DIR")
"""Our own variables that a foreign service does not get."""


@dataclass(frozen=True)
class Plan:
    """How to start one service process."""

    command: list[str]
    environment: dict[str, str]
    directory: Path
    """Where it runs; may be shared with others when the application names it."""
    private: Path
    """`<directory>/work/<app>/<id>`, with its `tmp`; removed afterwards."""
    socket: Path
    out: Path
    err: Path


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME}` and `$NAME` replaced; unknown variables become empty, as in a shell."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def plan(id: str, app: str, spec: AppSpec) -> Plan:
    """Everything about the process of executor `id`. Installs the package when there is one. Raises InvalidArgument without a command."""
    if not spec.command:
        raise InvalidArgument(f"application {app} has no command to start", hint="spec.command names the program")
    directory = Path(spec.working_directory) if spec.working_directory else Path.cwd()
    directory.mkdir(parents=True, exist_ok=True)
    data_dir = Path(os.environ.get("FLAME_DATA_DIR", directory))
    agent = {name: value for name, value in os.environ.items() if name not in OURS}
    given = {name: expand(value, agent) for name, value in spec.environments.items()}
    installed = install(app, spec, data_dir, given)
    private = directory / "work" / app / id
    (private / "tmp").mkdir(parents=True, exist_ok=True)
    socket = socket_path(id)
    environment = compose(agent, given, installed, private / "tmp")
    environment |= {"FLAME_INSTANCE_ENDPOINT": str(socket), "FLAME_ENDPOINT": endpoint(data_dir, agent)}
    command = [expand(word, environment) for word in (spec.command, *spec.arguments)]
    if command[0] == "python" and (spec.installer or "").lower() == "python":
        command[0] = sys.executable
    return Plan(command, environment, directory, private, socket, directory / f"{id}.out", directory / f"{id}.err")


def compose(agent: Mapping[str, str], given: Mapping[str, str], installed: Installed, tmp: Path) -> dict[str, str]:
    """Later rows win; search paths of the package come before the application's, and those before the agent's."""
    environment = {**agent, **given}
    environment["RUST_LOG"] = environment["FLAME_LOG"] = agent.get("RUST_LOG", "info")
    for name, value in installed.variables.items():
        environment[name] = given.get(name, value)
    for name, paths in installed.paths.items():
        rest = [environment[name]] if environment.get(name) else []
        environment[name] = os.pathsep.join([*paths, *rest])
    for name in ("TMPDIR", "TEMP", "TMP"):
        environment[name] = given.get(name, str(tmp))
    return environment


def endpoint(data_dir: Path, agent: Mapping[str, str]) -> str:
    """Where clients inside the service find the cluster: the compat listener where there is one, since they speak gRPC."""
    run = RunFile.read(data_dir / "run.json")
    return f"http://{run.compat}" if run is not None and run.compat else agent.get("FLAME_ENDPOINT", "")


def socket_path(id: str) -> Path:
    """`$FLAME_SOCKET_DIR/<id>.sock`, else beside our own sockets."""
    chosen = os.environ.get("FLAME_SOCKET_DIR")
    folder = Path(chosen) if chosen else runtime_root() / "services"
    if len(os.fsencode(folder / f"{id}.sock")) > SOCKET_PATH:
        folder = Path(f"/tmp/flame-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{id}.sock"
