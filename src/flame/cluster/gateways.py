"""Where a cluster serves HTTP: the socket that all its gateways share, and how others reach it."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from flame.cluster.listening import ANY, in_a_child, own_addresses
from flame.core.base.errors import InvalidArgument, Unimplemented
from flame.ops.config import ClusterConfig
from flame.ops.gateway import DEFAULT_PORT, Door, read
from flame.ops.paths import write_private
from flame.shell.address import Address, listen, parse
from flame.shell.listener import Public

NAME = "gateway"
"""Of its identity."""
RENEW = 60 * 86400
"""Seconds after which a new certificate is made at a start; it is good for 90 days."""


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
    """Listen, and have a certificate where it is needed; None: there is no gateway. Raises InvalidArgument, PortTaken, Unimplemented."""
    if config.gateway is None:
        return None
    options = read(config.gateway)
    asked = where(options.listen)
    name = config.advertise or (socket.gethostname() if asked.host in ANY else asked.host)
    names = [name, "localhost", "127.0.0.1", "::1", *options.hosts]
    names += [socket.gethostname(), *own_addresses()] if asked.host in ANY else [asked.host]
    hosts = tuple(dict.fromkeys(names))
    identity: Path | None = None
    try:
        identity = ensure_identity(config.data_dir / "certs", hosts)
    except Unimplemented:
        if asked.tls:
            raise
    sock = listen(asked)
    reached = Address(host=name, port=sock.getsockname()[1])
    url = f"{'https' if asked.tls else 'http'}://{reached.target}"
    return Door(sock, url, hosts, options, not asked.tls, identity)


def ensure_identity(directory: Path, hosts: tuple[str, ...]) -> Path:
    """A certificate of the cluster's authority for these names, younger than it must be. Raises Unimplemented without the `tls` extra."""
    path, names = directory / f"{NAME}.pem", directory / f"{NAME}.names"
    try:
        fresh = time.time() - path.stat().st_mtime < RENEW and names.read_text() == "\n".join(hosts)
    except OSError:
        fresh = False
    if not fresh:
        in_a_child(f"making a certificate in {directory}", lambda: _issue(directory, hosts))
        write_private(names, "\n".join(hosts))
    return path


def _issue(directory: Path, hosts: tuple[str, ...]) -> None:
    from flame.security.authority import Authority

    authority = Authority.load(directory) if (directory / "ca.key").exists() else Authority.create(directory)
    authority.issue("server", NAME, list(hosts))


def beyond(machines: Public | None, entrance: Door | None) -> bool:
    """Does anything listen for more than this machine?"""
    hosts = [machines.host] if machines is not None else []
    hosts += [entrance.sock.getsockname()[0]] if entrance is not None else []
    return not all(Address(host=host).loopback for host in hosts)
