"""How a machine becomes a node: a join token buys a certificate, which it shows from then on and renews by itself.

The key is made here and never leaves; what travels is a signing request. The authority of the cluster is either known (`ca_file`) or pinned
by its fingerprint, which the one who made the token hands over with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flame.core.base.errors import FlameError, InvalidArgument, ProtocolError, Unavailable
from flame.core.model import messages as m
from flame.core.peers.client import ClientPeer
from flame.ops.paths import write_private
from flame.sdk.link import Link
from flame.sdk.target import Target
from flame.shell.address import Address, parse_all
from flame.shell.listener import AGENTS, MACHINES

CA, IDENTITY = "ca.pem", "agent.pem"
"""Files in `DIR/certs` of a node."""
RENEW_AT = 1 / 3
"""Of its life that a certificate has left when it is renewed."""


def trust(endpoints: Sequence[Address], certs: Path, ca_file: Path | None, fingerprint: str | None) -> Path:
    """The file that says who may sign for this cluster. Raises InvalidArgument when nothing does, Unauthenticated for a fingerprint that
    does not match."""
    path = certs / CA
    certs.mkdir(parents=True, exist_ok=True, mode=0o700)
    if ca_file is not None:
        write_private(path, ca_file.read_text())
    elif fingerprint is not None:
        from flame.security.tls import fetch_ca

        trouble: Exception | None = None
        for address in endpoints:
            try:
                write_private(path, fetch_ca(address.host, address.port, fingerprint).decode())
                return path
            except Unavailable as error:
                trouble = error
        if trouble is not None:
            raise trouble
    elif not path.exists():
        raise InvalidArgument(
            f"nothing says who may sign for {endpoints[0]}",
            hint="--ca-hash sha256:..., as `flame token create --role join` prints it",
        )
    return path


def admit(endpoints: Sequence[Address], name: str, token: str, certs: Path, hosts: Sequence[str]) -> None:
    """Buy a certificate. Raises what the cluster answers; nothing is left here then."""
    target = Target(tuple(endpoints), token, certs / CA)
    _obtain(target, name, certs, hosts)


def renew(endpoints: Sequence[Address], name: str, certs: Path, hosts: Sequence[str]) -> None:
    """Get a new certificate for the one we have."""
    machines = tuple(Address(host=a.host, port=a.port + MACHINES, tls=True) for a in endpoints)
    _obtain(Target(machines, "", certs / CA, certs / IDENTITY), name, certs, hosts)


def _obtain(target: Target, name: str, certs: Path, hosts: Sequence[str]) -> None:
    from flame.security.authority import new_request

    key, request = new_request(name)
    link = Link(target, ClientPeer(f"join-{name}", target.token), reconnect=5.0)
    try:
        answer = link.ask(m.JoinNode(name, request, tuple(hosts)), timeout=30.0)
    finally:
        link.close()
    if not isinstance(answer, m.NodeAdmitted):
        raise ProtocolError(f"JoinNode was answered by {type(answer).__name__}")
    if not answer.certificate:
        raise FlameError("the cluster sent no certificate")
    write_private(certs / IDENTITY, (key + answer.certificate + answer.authority).decode())
    write_private(certs / CA, answer.authority.decode())


def due(certs: Path, now: float) -> bool:
    """Is it time to renew?"""
    from flame.security.authority import describe

    found = describe(certs / IDENTITY)
    life = found.not_after.timestamp() - found.not_before.timestamp()
    return found.not_after.timestamp() - now < life * RENEW_AT


def expired(certs: Path) -> bool:
    """Is the certificate of no use any more?"""
    from datetime import UTC, datetime

    from flame.security.authority import describe

    return describe(certs / IDENTITY).not_after <= datetime.now(UTC)


def allocators(endpoints: Sequence[Address]) -> tuple[Address, ...]:
    """Where agents reach the allocator, of each endpoint for clients."""
    return tuple(Address(host=a.host, port=a.port + AGENTS, tls=True) for a in endpoints)


def for_clients(managers: str, endpoints: Sequence[Address]) -> str:
    """Where a client on this node reaches the cluster: where the node itself joined it; on the cluster's own machine its sockets, then
    the TLS port of clients. managers: where executors do, which by TLS is another port that wants the agent's certificate."""
    if endpoints or not managers:
        return ",".join(map(str, endpoints))
    found = (replace(one, port=one.port - MACHINES) if one.tls else one for one in parse_all(managers))
    return ",".join(map(str, found))
