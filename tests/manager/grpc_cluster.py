"""A gRPC server over a desk, and stubs that speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest

from flame.manager.grpc.server import CompatServer
from flame.wire.v1.backend_pb2_grpc import BackendStub
from flame.wire.v1.frontend_pb2_grpc import FrontendStub


@dataclass
class Served:
    desk: Any
    front: Any
    back: Any
    server: CompatServer


@asynccontextmanager
async def serving(desk: Any) -> AsyncIterator[Served]:
    server = CompatServer(desk)
    await server.start("127.0.0.1")
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as front,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port + 1}") as back,
    ):
        try:
            yield Served(desk, FrontendStub(front), BackendStub(back), server)
        finally:
            await server.stop(0)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await body()

    asyncio.run(main())


async def refused(call: Any, status: grpc.StatusCode, text: str = "") -> None:
    """The call must end with this status and this text in its details."""
    with pytest.raises(grpc.aio.AioRpcError) as found:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    assert found.value.code() is status, found.value
    assert text in (found.value.details() or ""), found.value.details()
