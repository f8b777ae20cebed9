"""Where a cluster serves HTTP: the socket that all its gateways share, and how others reach it."""

from __future__ import annotations

import socket

from flame.cluster.listening import ANY, ensure_certificates, own_addresses
from flame.core.base.errors import InvalidArgument
from flame.ops.config import ClusterConfig
from flame.ops.gateway import DEFAULT_PORT, Door, read
from flame.shell.address import Address, listen, parse


def where(text: str) -> Address:
    """What `--gateway` says; TLS where it must be or was asked for. Raises InvalidArgument."""
    body = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    if body.isdecimal():
        body = f"127.0.0.1:{body}"
    elif ":" not in body.rpartition("]")[2]:
        body = f"{body}:{DEFAULT_PORT}"
    if "://" in body or body.startswith("/"):
        raise InvalidArgument(f"--gateway {text}: no address", hint="[https://]HOST[:PORT]")
    found = parse(body)
    if not found.loopback and text.startswith("http://"):
        raise InvalidArgument(f"--gateway {text}: plain HTTP only on loopback", hint=f"https://{found.target}")
    host = "0.0.0.0" if found.host == "*" else found.host
    return Address(host=host, port=found.port, tls=text.startswith("https://") or not found.loopback)


def door(config: ClusterConfig) -> Door | None:
    """Listen, and have certificates where they are needed; None: there is no gateway. Raises InvalidArgument, PortTaken."""
    if config.gateway is None:
        return None
    options = read(config.gateway)
    asked = where(options.listen)
    name = config.advertise or (socket.gethostname() if asked.host in ANY else asked.host)
    names = [name, "localhost", "127.0.0.1", "::1", *options.hosts]
    names += [socket.gethostname(), *own_addresses()] if asked.host in ANY else [asked.host]
    if asked.tls:
        ensure_certificates(config.data_dir / "certs", names, config.node)
    sock = listen(asked)
    reached = Address(host=name, port=sock.getsockname()[1])
    url = f"{'https' if asked.tls else 'http'}://{reached.target}"
    return Door(sock, url, tuple(dict.fromkeys(names)), options, config.data_dir / "certs" if asked.tls else None)
