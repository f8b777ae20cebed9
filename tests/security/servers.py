"""Servers that certificates are tried on: one of the standard library's TLS, one of gRPC, and some that are neither."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import grpc


@contextlib.contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Calls `serve` with each connection, in a thread of its own. Gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def one(conn: socket.socket) -> None:
        with conn, contextlib.suppress(OSError):
            serve(conn)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn = listener.accept()[0]
                threads.append(threading.Thread(target=one, args=(conn,), daemon=True))
                threads[-1].start()

    threads.append(threading.Thread(target=accept, daemon=True))
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(10)


def tls_server(context: ssl.SSLContext, answer: bytes = b"hello") -> contextlib.AbstractContextManager[int]:
    """Waits for some bytes of each client and answers."""

    def serve(conn: socket.socket) -> None:
        conn.settimeout(10)
        with context.wrap_socket(conn, server_side=True) as secure:
            if secure.recv(100) and answer:
                secure.sendall(answer)

    return tcp_server(serve)


class WhoAmI(grpc.GenericRpcHandler):
    """Every method answers with what `peer` makes of the caller."""

    def __init__(self, peer: Callable[[dict[str, list[bytes]]], object]) -> None:
        self._peer = peer

    def service(self, details):
        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return repr(self._peer(context.auth_context())).encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.asynccontextmanager
async def grpc_server(credentials: grpc.ServerCredentials | None, peer: Callable = dict) -> AsyncIterator[int]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((WhoAmI(peer),))
    where = "127.0.0.1:0"
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def ask(port: int, credentials: grpc.ChannelCredentials) -> str:
    """One call on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        return (await channel.unary_unary("/flame/who")(b"", timeout=20)).decode()


def run(main: Callable[[], object]) -> None:
    asyncio.run(main())
