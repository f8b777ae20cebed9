"""How a container of the `process` runtime sees the file system: as it is, with its volumes mounted, or only what the policy shows.

Absolute mount paths need a mount namespace, which bubblewrap makes where the kernel lets it. Nothing is made on the host for them: a
directory in which a mount point is missing is shown as a copy that holds the same entries. Elsewhere there are `FLAME_VOLUME_<NAME>`,
and links in the container's private directory.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flame.agent import sandbox
from flame.agent.replicas.volumes import Mount
from flame.ops.isolation import Isolation
from flame.ops.paths import runtime_root

MANY = 500
"""Entries of a directory that is shown as a copy; one with more is left alone, and so are mount points missing in it."""


@dataclass
class View:
    """`prefix`: the command line in front of the container's; empty: it is executed as it is. `variables`: where the volumes are.
    `note`: what was done about them, for the container's status."""

    prefix: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    note: str = ""


def plain(mounts: Sequence[Mount], private: Path, cwd: Path) -> View:
    """Under `process`: the machine as it is, with the volumes at their paths where that can be done."""
    if not mounts:
        return View()
    reason = sandbox.refusal(("mount",))
    covered = None if reason else _covers([mount.target for mount in mounts])
    if covered is None:
        return _linked(mounts, private, reason or "a directory with too many entries")
    program = sandbox.bubblewrap()
    assert program is not None, "it has just been tried"
    line = [program, "--die-with-parent"] + ([] if "/" in covered else ["--dev-bind", "/", "/"])
    for directory in covered:
        line += _copied(directory)
    line += _bound(mounts)
    note = "volumes are mounted at their paths, by bubblewrap"
    return View([*line, "--chdir", str(cwd), "--", *_reset()], _variables(mounts), note)


def apart(
    policy: Isolation,
    mounts: Sequence[Mount],
    private: Path,
    cwd: Path,
    data_dir: Path,
    environment: Mapping[str, str],
    files: Sequence[str],
    sockets: Sequence[str],
    devices: bool,
) -> View:
    """Under `bubblewrap`: the system's programs, this interpreter, `files` of the command, volumes, and its own directory."""
    program = sandbox.bubblewrap()
    assert program is not None, "the runtime was refused otherwise"
    line = [program, *sandbox.flags(policy.namespaces)]
    if "mount" in policy.namespaces:
        line += sandbox.system("pid" in policy.namespaces, environment)
        for path in sandbox.shallow([*sandbox.interpreter(environment), *files, *policy.readable]):
            line += ["--ro-bind-try", path, path]
        for path in policy.writable:
            line += ["--bind-try", path, path]
        line += ["--tmpfs", str(data_dir), "--tmpfs", str(runtime_root())]
        if devices:
            for path in (path for pattern in sandbox.GPUS for path in sorted(glob.glob(pattern))):
                line += ["--dev-bind-try", path, path]
            line += ["--ro-bind-try", "/sys", "/sys"]
        for path in sockets:
            line += ["--ro-bind-try", path, path]
        line += ["--bind", str(private), str(private)]
        if not cwd.is_relative_to(private):
            line += ["--ro-bind-try", str(cwd), str(cwd)]
    line += _bound(mounts)
    note = "volumes are mounted at their paths, by bubblewrap" if mounts else ""
    return View([*line, "--chdir", str(cwd), "--", *_reset()], _variables(mounts), note)


def _linked(mounts: Sequence[Mount], private: Path, reason: str) -> View:
    variables = {}
    for mount in mounts:
        variables[f"FLAME_VOLUME_{upper(mount.volume)}"] = str(mount.source)
        link = private / mount.target.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(mount.source)
    paths = ", ".join(mount.target for mount in mounts)
    note = f"not mounted at {paths} ({reason}): see FLAME_VOLUME_<NAME>, and the same paths below its own directory"
    return View([], variables, note)


def _variables(mounts: Sequence[Mount]) -> dict[str, str]:
    return {f"FLAME_VOLUME_{upper(mount.volume)}": mount.target for mount in mounts}


def upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _bound(mounts: Sequence[Mount]) -> list[str]:
    """Outer ones first: a later mount covers an earlier one."""
    line = []
    for mount in sorted(mounts, key=lambda mount: mount.target.count("/")):
        line += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), mount.target]
    return line


def _covers(targets: Sequence[str]) -> list[str] | None:
    """The directories in which mount points are missing, outermost first; None when one is too large to be shown as a copy."""
    found = set()
    for target in targets:
        path = Path(target)
        if path.is_dir():
            continue
        while not path.is_dir():
            path = path.parent
        found.add(str(path))
    for path_ in found:
        if len(os.listdir(path_)) > MANY:
            return None
    return sorted(found, key=len)


def _copied(directory: str) -> list[str]:
    """An empty directory with the same entries bound into it."""
    line = ["--tmpfs", directory]
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_symlink():
                line += ["--symlink", os.readlink(entry.path), entry.path]
            else:
                line += ["--dev-bind-try", entry.path, entry.path]
    return line


@functools.cache
def _reset() -> list[str]:
    """In front of the command inside: SIGTERM, which the maker of the sandbox ignores, ends a program again."""
    env = shutil.which("env") or "/usr/bin/env"
    line = [env, "--default-signal=TERM"]
    try:
        done = subprocess.run([*line, "true"], capture_output=True, timeout=sandbox.PROBE_SECONDS, check=False)
        if done.returncode == 0:
            return line
    except (OSError, subprocess.TimeoutExpired):
        pass
    script = "import os,signal,sys; signal.signal(signal.SIGTERM, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", script]
