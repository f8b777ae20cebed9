"""The listeners of `flame.v1`: Frontend on a port, Backend on the next one."""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before grpc loads: it prints goaways of leaving clients otherwise

import grpc
import grpc.aio

from flame.core.base.errors import InvalidArgument, PortTaken
from flame.manager.desk import Desk
from flame.manager.grpc.backend import Backend
from flame.manager.grpc.frontend import Frontend
from flame.wire.v1 import backend_pb2_grpc, frontend_pb2_grpc

RECEIVE = 32 * 1024 * 1024
"""Bytes of a message we take: more than is allowed, so that the refusal can say why."""
TRIES = 20
"""Pairs of neighbouring ports tried when any port will do."""
OPTIONS = (
    ("grpc.max_receive_message_length", RECEIVE),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a taken port must be an error
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),  # long polls idle for hours
)


class GrpcServer:
    """Frontend and Backend of one manager.

    token: what every call must carry as `authorization: Bearer <token>`; None serves clients that can send none, which is what
    `--compat-listener` asks for.
    """

    def __init__(self, desk: Desk, token: str | None = None) -> None:
        self._frontend, self._backend = Frontend(desk), Backend(desk)
        self._token = token
        self._servers: list[grpc.aio.Server] = []
        self.host, self.port = "", 0

    @property
    def address(self) -> str:
        """host:port of the Frontend; the Backend is at the next port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self, host: str, port: int = 0) -> None:
        """Listen. `port` 0 takes any free pair. Raises InvalidArgument beyond loopback and PortTaken."""
        if not is_loopback(host):
            raise InvalidArgument(
                f"will not listen on {host}: only loopback is allowed",
                hint="addresses beyond loopback need TLS, which comes later",
            )
        for _ in range(1 if port else TRIES):
            servers = [self._server(), self._server()]
            frontend_pb2_grpc.add_FrontendServicer_to_server(self._frontend, servers[0])
            backend_pb2_grpc.add_BackendServicer_to_server(self._backend, servers[1])
            try:
                found = self._bind(servers[0], host, port)
                self._bind(servers[1], host, found + 1)
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

    async def stop(self, grace: float = 0.5) -> None:
        self._backend.close()
        self._frontend.close()
        for server in self._servers:
            await server.stop(grace)
        self._servers = []

    def _server(self) -> grpc.aio.Server:
        guards = [Guard(self._token)] if self._token is not None else []
        return grpc.aio.server(options=OPTIONS, interceptors=guards)

    @staticmethod
    def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
        try:
            found = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError:
            found = 0
        if not found:
            raise PortTaken(f"{host}:{port} is in use", hint="choose another port, or 0 for any free one")
        return int(found)


class Guard(grpc.aio.ServerInterceptor):
    """Lets a call in that carries the token."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> Any:
        for name, value in call.invocation_metadata:
            if name == "authorization" and hmac.compare_digest(str(value).encode(), self._wanted):
                return await continuation(call)
        return grpc.unary_unary_rpc_method_handler(_unauthenticated)


async def _unauthenticated(request: Any, context: Any) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong; it is in the cluster's token file"
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
