"""Listening for other machines: the task plane by gRPC, under mutual TLS.

Ports follow from one: clients at P, executors (and agents that renew their certificate) at P+1, agents of the allocator at P+2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flame.core.base.errors import PortTaken
from flame.core.model.access import EVERY
from flame.core.model.messages import Identity
from flame.shell.address import Address
from flame.shell.gate import Gate

if TYPE_CHECKING:
    import grpc
    import grpc.aio

    from flame.shell.plane import Plane

MACHINES, AGENTS, PORTS = 1, 2, 3
"""Added to the port of clients; and how many ports one session manager takes."""
SERVER = "server"
"""Name of the identity that listeners show."""


@dataclass(frozen=True)
class Public:
    """How a cluster listens beyond this machine. host: to bind; name: what others call it; certs: directory with ca.pem and server.pem."""

    host: str
    name: str
    port: int
    certs: Path

    def bound(self, offset: int = 0) -> Address:
        return Address(host=self.host, port=self.port + offset, tls=True)

    def advertised(self, offset: int = 0) -> Address:
        return Address(host=self.name, port=self.port + offset, tls=True)

    def credentials(self, require_client: bool) -> grpc.ServerCredentials:
        """Raises NotFound or InvalidArgument for certificates that cannot be used."""
        from flame.security.tls import server_credentials

        return server_credentials(self.certs / f"{SERVER}.pem", self.certs / "ca.pem", require_client)


class MachineServer:
    """Serves a plane to processes of other machines that show a certificate of one of these roles."""

    def __init__(self, plane: Plane, roles: Sequence[str]) -> None:
        self._plane, self._roles = plane, roles
        self._server: grpc.aio.Server | None = None

    async def start(self, address: Address, credentials: grpc.ServerCredentials) -> None:
        """Raises PortTaken."""
        import grpc.aio

        from flame.shell.carrier import OPTIONS, handler

        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((handler(self._take),))
        bind(server, address, credentials)
        await server.start()
        self._server = server

    async def _take(self, context: Any) -> None:
        import grpc

        from flame.security.tls import peer_of

        found = peer_of(context.auth_context())
        if found is None or found[0] not in self._roles:
            shown = f"the certificate of {found[0]} {found[1]}" if found else "a certificate without a role"
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{shown}; wanted here: {', '.join(self._roles)}")
        assert found is not None
        await self._plane.take_call(context, Gate(Identity(found[1], found[0], EVERY, "certificate")))

    async def stop(self, grace: float = 0.5) -> None:
        if self._server is not None:
            await self._server.stop(grace)


def bind(server: grpc.aio.Server, address: Address, credentials: grpc.ServerCredentials | None) -> int:
    """The port it listens on. Raises PortTaken."""
    try:
        if credentials is None:
            found = server.add_insecure_port(address.target)
        else:
            found = server.add_secure_port(address.target, credentials)
    except RuntimeError:
        found = 0
    if not found:
        raise PortTaken(f"{address.target} is in use", hint="choose another port, or 0 for any free one")
    return int(found)
