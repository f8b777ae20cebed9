"""`grpc.health.v1.Health`: for load balancers and probes, without a token, and honest.

SERVING says that a question went through the reactor, that what is written gets committed within a second, and that the allocator is there.
The messages are two bytes long, so they are written here by hand: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from flame.core.base.errors import FlameError
from flame.core.model.access import LOCAL
from flame.core.model.messages import GetStatus, Hello, Status
from flame.manager.desk import Desk

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
LIMIT = 1.0
"""Seconds that question and commit may take together."""


class Health:
    """`committed`: returns when everything written so far is committed."""

    def __init__(self, desk: Desk, committed: Callable[[], Awaitable[None]]) -> None:
        self._desk, self._committed = desk, committed

    def handler(self) -> grpc.GenericRpcHandler:
        check: Any = grpc.unary_unary_rpc_method_handler(self._check)
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})

    async def _check(self, request: bytes, context: Any) -> bytes:
        try:
            return SERVING if await asyncio.wait_for(self._works(), LIMIT) else NOT_SERVING
        except (FlameError, TimeoutError):
            return NOT_SERVING

    async def _works(self) -> bool:
        line = self._desk.line(
            Hello("client", client_id=f"health-{secrets.token_hex(4)}"), lambda _: None, lambda: None, LOCAL
        )
        try:
            status = await line.ask(GetStatus())
            await self._committed()
        finally:
            line.close()
        return isinstance(status, Status) and status.storage == "ok" and status.allocator
