"""Settings of a cluster: `flame-cluster.yaml` < command line. Read once at the edge, validated whole, passed as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_duration, parse_resources, parse_size
from flame.ops import gateway, isolation, nodes


@dataclass(frozen=True)
class ClusterConfig:
    """One machine's cluster."""

    data_dir: Path
    """Journals, run.json, tokens, logs and working directories. Mode 0700."""
    name: str = "flame"
    """A label."""
    durability: str = "power"
    """`power` survives a power cut (one fsync a batch), `process` any process death, `memory` nothing."""
    storage: str | None = field(default=None, repr=False)
    """postgresql://... of the journals; None: SQLite in `data_dir`. It may hold a password."""
    listen: str | None = None
    """host:port beyond the unix sockets, which wants a token; None: unix sockets only. Loopback is plain TCP; beyond it, and with
    `tls://` in front, it is TLS, at this port and the two behind it."""
    advertise: str | None = None
    """What other machines call this one; None: the host of `listen`, or this machine's name."""
    client_certificates: bool = False
    """Clients must show a certificate beside their token."""
    issuer: Mapping[str, str] | None = None
    """An OpenID Connect issuer whose tokens are taken: `url`, `audience`, and optionally `tenant_claim`, `role_claim`, `ca_file`."""
    compat: str | None = None
    """host:port of gRPC flame.v1 without tokens, loopback only, `tls://` in front for TLS; None: none."""
    gateway: Mapping[str, Any] | None = None
    """The HTTP server, see `ops.gateway`; None: none."""
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
    compact_rows: int = 20_000
    """Journal rows behind the last snapshot at which a new one is written and what it covers is dropped."""
    managers: int = 1
    """Session managers; sessions are divided among them by id."""
    standby: bool = False
    """With a shared database: wait while another cluster leads."""
    with_node: bool = True
    """This machine works, too; False: control plane only."""
    private: bool = False
    """Belongs to one client and ends with it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of every executor."""
    isolation: Mapping[str, Any] | None = None
    """What keeps executors apart, see `ops.isolation`; None: its defaults."""
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What images of workloads are on this node: image -> {directory, command, env}, see `ops.nodes`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of this node, beside those it finds out."""
    taints: tuple[str, ...] = ()
    """`KEY=VALUE:Effect`: which replicas it does not want."""
    simulate_gpus: str | None = None
    """`MODEL:COUNTxMEMORY,...`: GPUs that are only said to be there."""
    max_workloads: int = 0
    """Replicas at once; 0: no limit."""
    restart_backoff: tuple[float, float] = (1.0, 60.0)
    """Seconds before a container that ended is started again: at first, and at most; they double in between."""
    rejoin_grace: float = 30.0
    """Seconds that what runs on this node is kept when its connection from another machine breaks; executors look for their manager as
    long. After that replicas start elsewhere."""
    host_paths: tuple[str, ...] = ()
    """Directories of this machine below which workloads may mount paths."""


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(str(item) for item in value)


def _yes(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _issuer(value: object) -> dict[str, str]:
    known = ("url", "audience", "tenant_claim", "role_claim", "jwks_url", "ca_file")
    if not isinstance(value, dict) or not {"url", "audience"} <= value.keys():
        raise TypeError(f"{value!r} is no mapping with url and audience")
    if unknown := sorted(set(value) - set(known)):
        raise ValueError(f"unknown keys {unknown}; known: {list(known)}")
    return {key: str(text) for key, text in value.items()}


def check_storage(url: str) -> str:
    """The address itself. Raises InvalidArgument for one that names no engine; it may hold a password, and is not repeated."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidArgument("storage is no address of a database", hint="postgresql://USER@HOST/DATABASE")
    return url


def _variables(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or any(isinstance(text, dict | list) for text in value.values()):
        raise TypeError(f"{value!r} is no mapping of names to texts")
    return {str(name): str(text) for name, text in value.items()}


#: yaml key of `cluster:` -> (field, converter)
_KEYS: dict[str, tuple[str, Any]] = {
    "name": ("name", str),
    "resreq": ("resources", parse_resources),
    "policies": ("policies", _texts),
    "listen": ("listen", str),
    "advertise": ("advertise", str),
    "managers": ("managers", int),
    "with_node": ("with_node", _yes),
    "client_certificates": ("client_certificates", _yes),
    "issuer": ("issuer", _issuer),
    "compat_listener": ("compat", str),
    "gateway": ("gateway", gateway.options),
    "durability": ("durability", str),
    "storage": ("storage", lambda v: check_storage(str(v))),
    "cpus": ("cpus", float),
    "memory": ("memory", parse_size),
    "gpus": ("gpus", int),
    "node": ("node", str),
    "environment": ("environment", _variables),
    "isolation": ("isolation", isolation.checked),
    "images": ("images", nodes.images),
    "labels": ("labels", nodes.labels),
    "taints": ("taints", nodes.taints),
    "simulate_gpus": ("simulate_gpus", nodes.check_simulated),
    "max_workloads": ("max_workloads", int),
    "restart_backoff": ("restart_backoff", nodes.backoff),
    "rejoin_grace": ("rejoin_grace", parse_duration),
    "host_paths": ("host_paths", _texts),
    "delay_release": ("delay_release", lambda v: float(v) if isinstance(v, int | float) else parse_duration(str(v))),
}


NODE_KEYS = (
    "images", "labels", "taints", "simulate_gpus", "max_workloads", "restart_backoff", "rejoin_grace", "host_paths",
)  # fmt: skip
"""Keys about the node, which may also stand beside `cluster:`."""


def load(path: Path, base: ClusterConfig) -> ClusterConfig:
    """Read `flame-cluster.yaml` over `base`. Raises InvalidArgument that lists every mistake with its line; unknown keys are ignored."""
    import yaml

    try:
        text = path.read_text()
        found = yaml.safe_load(text) or {}
        lines = _lines(yaml.compose(text, yaml.SafeLoader))
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path}: not a text file: {error.reason} at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark is not None else ""
        raise InvalidArgument(f"{path}{where}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path}: not YAML: {error}") from None
    mistakes: list[str] = []

    def wrong(key: str, text: object) -> None:
        mistakes.append(f"line {lines.get(key, 1)}: {key}: {text}")

    def section(of: dict[str, Any], key: str, path: str) -> dict[str, Any]:
        value = of.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        wrong(path, f"{value!r} is no mapping")
        return {}

    if not isinstance(found, dict):
        raise InvalidArgument(f"{path}:1: the top is a mapping with a key `cluster`")
    cluster = {key: found[key] for key in NODE_KEYS if key in found} | section(found, "cluster", "cluster")
    changes: dict[str, Any] = {}
    for key, (name, convert) in _KEYS.items():
        if key in cluster and cluster[key] is not None:
            try:
                changes[name] = convert(cluster[key])
            except (ValueError, TypeError, AttributeError) as error:
                wrong(key if key in found and key in NODE_KEYS else f"cluster.{key}", error)
    limits = section(cluster, "limits", "cluster.limits")
    recovery = section(section(cluster, "recovery", "cluster.recovery"), "session", "cluster.recovery.session")
    for values, key, name in (
        (limits, "cluster.limits.max_sessions", "max_sessions"),
        (recovery, "cluster.recovery.session.retry_limits", "retry_limits"),
    ):
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            changes[name] = value
        elif value is not None:
            wrong(key, f"{value!r} is not a number")
    if not 1 <= changes.get("managers", 1) <= 64:
        wrong("cluster.managers", f"{changes['managers']}; 1 to 64")
    if changes.get("durability", "power") not in ("power", "process", "memory"):
        wrong("cluster.durability", f"{changes['durability']!r}; one of power, process, memory")
    if mistakes:
        raise InvalidArgument(f"{path}: " + "; ".join(mistakes), hint="correct these lines")
    return replace(base, **changes)


def _lines(node: Any, path: str = "", depth: int = 0) -> dict[str, int]:
    """Line of the value of every key, by its dotted path; as deep as settings go."""
    out: dict[str, int] = {}
    if depth < 4 and isinstance(getattr(node, "value", None), list):
        for pair in node.value:
            if isinstance(pair, tuple):
                name = f"{path}{pair[0].value}"
                out[name] = pair[1].start_mark.line + 1
                out |= _lines(pair[1], f"{name}.", depth + 1)
    return out
