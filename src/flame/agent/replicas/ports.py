"""Ports of this host for the ports that containers name: found once for a replica, kept while it lives."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from flame.core.base.errors import PortTaken
from flame.core.model.messages import PortSpec

ATTEMPTS = 100


class Ports:
    """`taken`: those that replicas of this agent have, whether they listen yet or not."""

    def __init__(self) -> None:
        self.taken: set[int] = set()

    def take(self, specs: Iterable[PortSpec]) -> dict[str, int]:
        """Name (or number as text) -> port of this host. Raises PortTaken when a port that is named is not free."""
        found: dict[str, int] = {}
        try:
            for spec in specs:
                name = spec.name or str(spec.port)
                found[name] = self._named(spec) if spec.host_port else self._any(spec)
                self.taken.add(found[name])
        except PortTaken:
            self.give_back(found.values())
            raise
        return found

    def give_back(self, ports: Iterable[int]) -> None:
        self.taken.difference_update(ports)

    def _named(self, spec: PortSpec) -> int:
        if spec.host_port in self.taken or not _free(spec.host_port, spec.protocol):
            raise PortTaken(
                f"port {spec.host_port} of this node is in use", hint="leave hostPort out: the node finds one"
            )
        return spec.host_port

    def _any(self, spec: PortSpec) -> int:
        for _ in range(ATTEMPTS):
            with socket.socket(socket.AF_INET, _kind(spec.protocol)) as sock:
                sock.bind(("", 0))
                port: int = sock.getsockname()[1]
            if port not in self.taken:
                return port
        raise PortTaken(f"no free port of this node after {ATTEMPTS} attempts")


def _kind(protocol: str) -> socket.SocketKind:
    return socket.SOCK_DGRAM if protocol.upper() == "UDP" else socket.SOCK_STREAM


def _free(port: int, protocol: str) -> bool:
    with socket.socket(socket.AF_INET, _kind(protocol)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True
