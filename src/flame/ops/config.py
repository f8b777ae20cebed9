"""Settings of a cluster: `flame-cluster.yaml` < command line. Read once at the edge, validated whole, passed as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_duration, parse_resources, parse_size


@dataclass(frozen=True)
class ClusterConfig:
    """One machine's cluster."""

    data_dir: Path
    """Journals, run.json, tokens, logs and working directories. Mode 0700."""
    name: str = "flame"
    """A label."""
    durability: str = "power"
    """`power` survives a power cut (one fsync a batch), `process` any process death, `memory` nothing."""
    listen: str | None = None
    """host:port of a TCP listener of the task plane, which wants the token; None: unix sockets only."""
    compat: str | None = None
    """host:port of gRPC flame.v1 without tokens, loopback only; None: none."""
    node: str | None = None
    """Name of this node; None: the hostname."""
    cpus: float | None = None
    """CPU slots of this node; None: max(4, cores)."""
    memory: int | None = None
    """Bytes for executors; None: all."""
    gpus: int | None = None
    """None: those that are found."""
    resources: Mapping[str, int] = field(default_factory=lambda: {"cpu": 1000, "memory": 1 << 30})
    """Of a session that names none; `cluster.resreq`."""
    policies: tuple[str, ...] = ("priority", "drf")
    """Scheduler plugins, in order of consultation; `shim` is always added."""
    retry_limits: int = 5
    """Failed binds of one session before it gets no new executors."""
    max_sessions: int | None = None
    """Sessions kept in memory; the oldest closed ones are dropped beyond it. None: all."""
    delay_release: float | None = None
    """Seconds an idle executor stays; None: as its application says."""
    private: bool = False
    """Belongs to one client and ends with it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of every executor."""


#: yaml key of `cluster:` -> (field, converter)
_KEYS: dict[str, tuple[str, Any]] = {
    "name": ("name", str),
    "resreq": ("resources", parse_resources),
    "policies": ("policies", lambda v: tuple(str(p) for p in v)),
    "listen": ("listen", str),
    "compat_listener": ("compat", str),
    "durability": ("durability", str),
    "cpus": ("cpus", float),
    "memory": ("memory", parse_size),
    "gpus": ("gpus", int),
    "node": ("node", str),
    "delay_release": ("delay_release", lambda v: float(v) if isinstance(v, int | float) else parse_duration(str(v))),
}


def load(path: Path, base: ClusterConfig) -> ClusterConfig:
    """Read `flame-cluster.yaml` over `base`. Raises InvalidArgument that lists every mistake; unknown keys are ignored."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{path}: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cluster", {}), dict):
        raise InvalidArgument(f"{path}: the top is a mapping with a key `cluster`")
    cluster = found.get("cluster") or {}
    changes: dict[str, Any] = {}
    mistakes: list[str] = []
    for key, (name, convert) in _KEYS.items():
        if key in cluster and cluster[key] is not None:
            try:
                changes[name] = convert(cluster[key])
            except (ValueError, TypeError) as error:
                mistakes.append(f"cluster.{key}: {error}")
    limits = cluster.get("limits") or {}
    recovery = (cluster.get("recovery") or {}).get("session") or {}
    for section, key, name in ((limits, "max_sessions", "max_sessions"), (recovery, "retry_limits", "retry_limits")):
        if isinstance(section.get(key), int):
            changes[name] = section[key]
        elif section.get(key) is not None:
            mistakes.append(f"{key}: {section[key]!r} is not a number")
    if "durability" in changes and changes["durability"] not in ("power", "process", "memory"):
        mistakes.append(f"cluster.durability: {changes['durability']!r}; one of power, process, memory")
    if mistakes:
        raise InvalidArgument(f"{path}: " + "; ".join(mistakes))
    return replace(base, **changes)
