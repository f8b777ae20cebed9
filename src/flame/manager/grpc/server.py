"""The gRPC listeners: `flame.v1` for published clients, and the task plane of other machines.

compat      loopback, no token (one identity): Frontend, and Backend on the next port
clients     TLS and a token: Frontend and the task plane
machines    mutual TLS: the task plane of executors and agents
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before grpc loads: it prints goaways of leaving clients otherwise

import grpc
import grpc.aio

from flame.core.base.errors import InvalidArgument, PortTaken
from flame.core.model.access import COMPAT
from flame.manager.desk import Desk
from flame.manager.grpc.backend import Backend
from flame.manager.grpc.frontend import Frontend
from flame.manager.grpc.health import Health
from flame.shell.address import Address
from flame.shell.gate import Gate
from flame.shell.listener import bind
from flame.wire.v1 import backend_pb2_grpc, frontend_pb2_grpc

RECEIVE = 80 * 1024 * 1024
"""Bytes of a message we take: as much as a frame may have, and more than `flame.v1` allows, so that the refusal can say why."""
TRIES = 20
"""Pairs of neighbouring ports tried when any port will do."""
OPTIONS = (
    ("grpc.max_receive_message_length", RECEIVE),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a taken port must be an error
    ("grpc.keepalive_time_ms", 3000),  # a machine that vanished is noticed within about 6 s
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),  # long polls idle for hours
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 * 1024 * 1024),
)

Calls = Callable[[Any], Awaitable[None]]
"""Serves one call of the task plane, for as long as it lasts."""


class CompatServer:
    """Frontend and Backend of one manager, for clients that can send no token: loopback only.

    credentials: makes those of one port, to serve TLS (published clients take a CA file); None: plain.
    """

    def __init__(
        self, desk: Desk, credentials: Callable[[], grpc.ServerCredentials] | None = None, gate: Gate | None = None
    ) -> None:
        self._frontend, self._backend = Frontend(desk, gate or Gate(COMPAT)), Backend(desk)
        self._credentials = credentials
        self._servers: list[grpc.aio.Server] = []
        self.host, self.port = "", 0

    @property
    def address(self) -> str:
        """host:port of the Frontend; the Backend is at the next port."""
        return Address(host=self.host, port=self.port).target

    async def start(self, host: str, port: int = 0) -> None:
        """Listen. `port` 0 takes any free pair. Raises InvalidArgument beyond loopback and PortTaken."""
        if not Address(host=host).loopback:
            raise InvalidArgument(
                f"will not listen on {host} without tokens: only loopback is allowed",
                hint="`--listen` serves the same beyond this machine, with TLS and tokens",
            )
        for _ in range(1 if port else TRIES):
            servers = [grpc.aio.server(options=OPTIONS), grpc.aio.server(options=OPTIONS)]
            frontend_pb2_grpc.add_FrontendServicer_to_server(self._frontend, servers[0])
            backend_pb2_grpc.add_BackendServicer_to_server(self._backend, servers[1])
            try:
                found = bind(servers[0], Address(host=host, port=port), self._made())
                bind(servers[1], Address(host=host, port=found + 1), self._made())
            except PortTaken:
                for server in servers:
                    await server.stop(None)
                if port:
                    raise
                continue
            for server in servers:
                await server.start()
            self._servers, self.host, self.port = servers, host, found
            return
        raise PortTaken(f"no two neighbouring ports are free on {host}")

    def _made(self) -> grpc.ServerCredentials | None:
        """gRPC tells a change of certificates to one port only: each has credentials of its own."""
        return self._credentials() if self._credentials is not None else None

    async def stop(self, grace: float = 0.5) -> None:
        self._backend.close()
        self._frontend.close()
        for server in self._servers:
            await server.stop(grace)
        self._servers = []


class ClientServer:
    """What clients beyond this process's sockets reach: `flame.v1` Frontend and the task plane, TLS and a token."""

    def __init__(
        self,
        desk: Desk,
        gate: Gate,
        plane: Calls,
        committed: Callable[[], Awaitable[None]],
        credentials: grpc.ServerCredentials,
    ) -> None:
        self._frontend = Frontend(desk, gate)
        self._health = Health(desk, committed)
        self._plane, self._credentials = plane, credentials
        self._server: grpc.aio.Server | None = None

    async def start(self, address: Address) -> None:
        """Raises PortTaken."""
        from flame.shell.carrier import handler

        server = grpc.aio.server(options=OPTIONS)
        frontend_pb2_grpc.add_FrontendServicer_to_server(self._frontend, server)
        server.add_generic_rpc_handlers((handler(self._plane), self._health.handler()))
        bind(server, address, self._credentials)
        await server.start()
        self._server = server

    async def stop(self, grace: float = 0.5) -> None:
        self._frontend.close()
        if self._server is not None:
            await self._server.stop(grace)
