"""Volumes as directories of this host: scratch that goes with its replica, claims that stay, files of a spec, paths of the host.

DIR/work/replicas/<id>/volumes/<name>                 emptyDir, configMap
DIR/volumes/<tenant>/<namespace>/<claim>              a claim: on this node only
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from flame.core.base.errors import InvalidArgument
from flame.core.model import messages as m


@dataclass(frozen=True)
class Mount:
    """`source` is on this host, `target` the absolute path that the spec names."""

    volume: str
    source: Path
    target: str
    read_only: bool


def part(name: str) -> str:
    """A name as one part of a path, whatever is in it."""
    return quote(name, safe="").replace(".", "%2E") if name in ("", ".", "..") else quote(name, safe=" ")


def prepare(order: m.StartReplica, directory: Path, data_dir: Path, host_paths: Sequence[str]) -> dict[str, Path]:
    """Make them. `host_paths`: below which the node's settings allow paths of the host. Raises InvalidArgument, OSError."""
    found = {}
    for volume in order.spec.volumes:
        if volume.kind == "claim":
            spec = order.spec
            path = data_dir / "volumes" / part(spec.tenant) / part(spec.namespace) / part(volume.source)
        elif volume.kind == "host":
            path = _of_host(volume, host_paths)
        elif volume.kind in ("empty", "files"):
            path = directory / "volumes" / part(volume.name)
        else:
            raise InvalidArgument(f"volume {volume.name}: unknown kind {volume.kind!r}")
        if volume.kind != "host":
            path.mkdir(parents=True, exist_ok=True)
        for name, content in volume.files.items():
            file = _inside(path, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        found[volume.name] = path
    return found


def mounts(container: m.ContainerSpec, order: m.StartReplica, volumes: dict[str, Path]) -> list[Mount]:
    """In the order of the spec. Raises InvalidArgument for one that names no volume."""
    read_only = {volume.name for volume in order.spec.volumes if volume.read_only}
    found = []
    for mount in container.mounts:
        if mount.volume not in volumes:
            raise InvalidArgument(f"volumeMount {mount.path}: there is no volume {mount.volume!r}")
        if not mount.path.startswith("/") or ".." in PurePosixPath(mount.path).parts or mount.path.strip("/") == "":
            raise InvalidArgument(f"volumeMount {mount.path!r}: not an absolute path below /")
        source = volumes[mount.volume]
        if mount.sub_path:
            source = _inside(source, mount.sub_path)
            if not source.exists():
                source.mkdir(parents=True)
        target = str(PurePosixPath(mount.path))
        found.append(Mount(mount.volume, source, target, mount.read_only or mount.volume in read_only))
    return found


def _inside(root: Path, name: str) -> Path:
    relative = PurePosixPath(name)
    path = root / relative
    if relative.is_absolute() or ".." in relative.parts or not path.resolve().is_relative_to(root.resolve()):
        raise InvalidArgument(f"{name!r} leaves its volume")
    return path


def _of_host(volume: m.VolumeSpec, host_paths: Sequence[str]) -> Path:
    path = Path(os.path.realpath(volume.source))
    if not any(path.is_relative_to(os.path.realpath(allowed)) for allowed in host_paths):
        raise InvalidArgument(
            f"volume {volume.name}: hostPath {volume.source} is not allowed on this node",
            hint="`host_paths:` of its flame-cluster.yaml lists what is",
        )
    if not path.exists():
        raise InvalidArgument(f"volume {volume.name}: hostPath {volume.source} is not there")
    return path
