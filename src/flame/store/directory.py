"""The data directory: who holds it, what it lies on, and whether the machine went down since."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from flame.core.base.errors import StorageRefused

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "afs", "fuse.sshfs")


def hold_lock(path: Path) -> int | None:
    """An open, exclusively locked descriptor, or None when another process holds it. Closing it gives the lock back."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def refuse_network(path: Path) -> None:
    """Locks and fsync of network file systems do not keep what they promise. Raises StorageRefused."""
    found = filesystem(path)
    if found in _NETWORK:
        raise StorageRefused(f"{path} lies on {found}", hint="choose a --data-dir on a local disk")


def filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system under `path`, "" when it cannot be told."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    target = str(path.resolve())
    for line in lines:
        parts = line.split()
        point = parts[1].replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, parts[2]
    return kind


def boot_id() -> str:
    """Changes when the machine restarts; "" where it cannot be told (then a restart is never noticed)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
