"""Where this process may make control groups: which controllers, of which version, under which directory.

Version 1 has a tree per controller: ours go under the group this process is in. Version 2 has one tree, in which a group with processes
passes no controllers on to its children (except at the root): then this process's relatives move to a leaf, or ours go beside it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WANTED = ("memory", "cpu", "pids")
ENGINE = "flame-engine"
"""The leaf that the engine's own processes move to, so that their group may pass controllers on."""


@dataclass(frozen=True)
class Hierarchy:
    """`parent`: where groups can be made; `controllers`: those of WANTED that count there."""

    version: int
    parent: Path
    controllers: tuple[str, ...]


@dataclass(frozen=True)
class Mount:
    version: int
    point: Path
    root: str
    """Which group of the hierarchy is seen at `point`."""
    controllers: tuple[str, ...]


def mounts(text: str) -> list[Mount]:
    """Of control groups, from the text of /proc/self/mountinfo."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        root, point = (word.replace("\\040", " ") for word in fields[3:5])
        if kinds[0] == "cgroup2":
            found.append(Mount(2, Path(point), root, ()))
        else:
            options = kinds[2].split(",")
            found.append(Mount(1, Path(point), root, tuple(name for name in WANTED if name in options)))
    return found


def memberships(text: str) -> dict[str, str]:
    """Controller -> group of this process, from the text of /proc/self/cgroup; version 2 under the empty name."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            found[name] = path
    return found


def own(mount: Mount, group: str) -> Path:
    """The directory of a group: of the mount's own root when it lies outside of what is mounted, as in containers."""
    relative = os.path.relpath(group, mount.root)
    return mount.point if relative.startswith("..") else (mount.point / relative).resolve()


def find() -> tuple[list[Hierarchy], list[str]]:
    """The hierarchies to use, and why others cannot be used."""
    if sys.platform != "linux":
        return [], [f"{sys.platform} has no control groups"]
    try:
        seen = mounts(Path("/proc/self/mountinfo").read_text())
        groups = memberships(Path("/proc/self/cgroup").read_text())
    except OSError as error:
        return [], [f"control groups cannot be looked up: {error}"]
    found, reasons, have = [], [], set()
    for mount in seen:
        for name in mount.controllers:
            parent = own(mount, groups.get(name, "/"))
            if name not in have and (reason := _refusal(parent)):
                reasons.append(f"{name}: {reason}")
            elif name not in have:
                have.add(name)
                found.append(Hierarchy(1, parent, (name,)))
    for mount in seen:
        if mount.version == 2 and "" in groups:
            missing = [name for name in WANTED if name not in have]
            made = unified(own(mount, groups[""]), missing, mount.point)
            if isinstance(made, Hierarchy):
                have |= set(made.controllers)
                found.append(made)
            elif made and missing:
                reasons.append(made)
            break
    return found, reasons


def _refusal(parent: Path) -> str:
    """Why no group can be made there; empty when it can."""
    if os.access(parent, os.W_OK):
        return ""
    return f"{parent} is not writable"


def unified(group: Path, wanted: Iterable[str], top: Path) -> Hierarchy | str:
    """Of version 2, from the group this process is in; the reason when no wanted controller can be had there."""
    for parent in (group, *group.parents):
        if not parent.is_relative_to(top):
            break
        here = _words(parent / "cgroup.controllers")
        names = [name for name in wanted if name in here]
        if not names:
            continue
        if os.access(parent / "cgroup.procs", os.W_OK) and enable(parent, names, parent == group):
            return Hierarchy(2, parent, tuple(names))
    return f"the kernel's unified hierarchy offers none of {', '.join(wanted) or 'nothing'} below {group}"


def enable(parent: Path, names: list[str], may_move: bool) -> bool:
    """Have a group pass controllers on to its children."""
    missing = [name for name in names if name not in _words(parent / "cgroup.subtree_control")]
    if not missing:
        return True
    text = " ".join(f"+{name}" for name in missing)
    try:
        write(parent / "cgroup.subtree_control", text)
        return True
    except OSError as error:
        if error.errno != errno.EBUSY or not may_move:
            return False
    try:
        if not _move_relatives(parent):
            return False
        write(parent / "cgroup.subtree_control", text)
        return True
    except OSError:
        return False


def _move_relatives(parent: Path) -> bool:
    """Into a leaf, when nobody else is in the group: a service of its own, or a container."""
    pids = [int(word) for word in _words(parent / "cgroup.procs")]
    if not all(pid == 1 or _runs_our_program(pid) for pid in pids):
        return False
    leaf = parent / ENGINE
    leaf.mkdir(exist_ok=True)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            write(leaf / "cgroup.procs", str(pid))
    return True


def _runs_our_program(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink() == Path("/proc/self/exe").readlink()
    except OSError:
        return False


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def write(path: Path, text: str) -> None:
    """One write, as the kernel wants it. Raises OSError, ENOENT where the kernel has no such file."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
