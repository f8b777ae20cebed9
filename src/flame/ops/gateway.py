"""Settings of the gateway: `gateway:` in `flame-cluster.yaml`, and `--gateway`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flame.core.base.errors import InvalidArgument

DEFAULT_PORT = 8083
MOST_REPLICAS = 16


@dataclass(frozen=True)
class GatewayOptions:
    """How a cluster serves HTTP."""

    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    """HOST[:PORT], port 0 for any free one. Loopback serves HTTP and HTTPS at one port; beyond it, and with `https://` in front, it is
    HTTPS only."""
    origins: tuple[str, ...] = ()
    """Where pages may come from that browsers let in, as `https://host[:port]`; they count while `corsEnabled` is set."""
    hosts: tuple[str, ...] = ()
    """More names that requests may be addressed to, beside those of this machine."""
    replicas: int = 1
    """Processes that share the port: when one dies the others go on."""


@dataclass(frozen=True)
class Door:
    """Where gateways listen. url: what others write; names: hosts that requests may be addressed to; plain: is HTTP without TLS served?
    identity: file with key and certificate, None: no TLS."""

    sock: socket.socket
    url: str
    names: tuple[str, ...]
    options: GatewayOptions
    plain: bool
    identity: Path | None


def options(value: object) -> dict[str, Any]:
    """A text is `listen`. Raises ValueError or TypeError for what is not legal."""
    if isinstance(value, str):
        value = {"listen": value}
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is neither HOST[:PORT] nor a mapping")
    known = GatewayOptions.__dataclass_fields__
    if unknown := sorted(set(value) - set(known)):
        raise ValueError(f"unknown keys {unknown}; known: {sorted(known)}")
    found: dict[str, Any] = {}
    if value.get("listen") is not None:
        found["listen"] = str(value["listen"])
    for key in ("origins", "hosts"):
        texts = value.get(key) or ()
        if not isinstance(texts, list | tuple):
            raise TypeError(f"{key}: {texts!r} is no list")
        found[key] = [str(text) for text in texts]
    for origin in found["origins"]:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError(f"origins: {origin!r} is none; https://HOST[:PORT]")
    replicas = value.get("replicas", 1)
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not 1 <= replicas <= MOST_REPLICAS:
        raise ValueError(f"replicas: {replicas!r}; 1 to {MOST_REPLICAS}")
    return found | {"replicas": replicas}


def read(value: Mapping[str, Any]) -> GatewayOptions:
    """The options that a configuration holds. Raises InvalidArgument."""
    try:
        found = options(value)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"gateway: {error}", hint="--gateway HOST[:PORT]") from None
    return GatewayOptions(**(found | {"origins": tuple(found["origins"]), "hosts": tuple(found["hosts"])}))
