"""Where things lie: data directories, sockets, the file that says what runs.

Sockets live under a short hash of the data directory, because paths of unix sockets are limited to about 100 bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flame.core.base.errors import PermissionDenied

RUN_VERSION = 1


def home() -> Path:
    """`~/.flame`."""
    return Path.home() / ".flame"


LONGEST_ROOT = 60
"""Bytes: a socket below it has a path of at most 100, which every kernel takes."""


def runtime_root() -> Path:
    """`$XDG_RUNTIME_DIR/flame`, else `/tmp/flame-<uid>`: mode 0700 and ours. Raises PermissionDenied when somebody else made it.
    Where the first is
    too long for the paths of sockets, a short name stands for it."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(f"/tmp/flame-{os.getuid()}")
    if base and os.access(base, os.W_OK):
        root = Path(base) / "flame"
        if len(os.fsencode(root)) > LONGEST_ROOT:
            root = Path(f"/tmp/flame-{os.getuid()}-{hashlib.sha256(os.fsencode(base)).hexdigest()[:12]}")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionDenied(
            f"{root} belongs to somebody else", hint="set XDG_RUNTIME_DIR to a directory of your own"
        )
    if found.st_mode & 0o077:
        root.chmod(0o700)
    return root


def socket_dir(data_dir: Path) -> Path:
    """Where the sockets of the cluster in `data_dir` live."""
    name = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    path = runtime_root() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def default_file() -> Path:
    """Names the cluster running here."""
    return runtime_root() / "default.json"


@dataclass(frozen=True)
class RunFile:
    """`DIR/run.json`: what runs, rewritten whole at every change."""

    epoch: int
    endpoint: str
    data_dir: str
    token_file: str
    pids: dict[str, int] = field(default_factory=dict)
    compat: str | None = None
    listen: str | None = None
    gateway: str | None = None
    durability: str = "power"
    standby: bool = False
    """Some of its processes wait for others to go."""
    node: str | None = None
    """Of a directory that holds a joined node and no control plane."""
    storage: str | None = None
    """Where the journals are if not in `data_dir`, without a password."""
    version: int = RUN_VERSION

    def write(self, path: Path) -> None:
        """Atomically: a reader sees the old file or the new one."""
        write_private(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunFile | None:
        """None when there is none, or none that can be read."""
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            known = {k: v for k, v in found.items() if k in cls.__dataclass_fields__}
            return cls(**known)
        except (OSError, ValueError, TypeError):
            return None

    @property
    def alive(self) -> bool:
        """Does its supervisor still run?"""
        pid = self.pids.get("supervisor", 0)
        if not pid:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def write_private(path: Path, text: str) -> None:
    """Mode 0600, in one step."""
    fd, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
