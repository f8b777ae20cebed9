"""Errors leave gRPC servicers here, all by the one table."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc

from flame.core.base.errors import FlameError
from flame.wire.status import edge

log = logging.getLogger("flame.grpc")

T = TypeVar("T")
DETAILS = 1024
"""Characters of an error text: it travels in a header, and headers are small."""
_STATUS: dict[int, grpc.StatusCode] = {status.value[0]: status for status in grpc.StatusCode}


async def refuse(context: Any, error: Exception) -> NoReturn:
    """End the call with this error. Our own clients read class and hint from the trailing metadata."""
    if not isinstance(error, FlameError):
        log.error("internal error in a gRPC call", exc_info=error)
        error = FlameError(f"internal error: {type(error).__name__}")
    context.set_trailing_metadata((("flame-code", error.code), ("flame-hint-bin", error.hint.encode()[:DETAILS])))
    await context.abort(_STATUS[edge(error).grpc], error.message[:DETAILS])
    raise AssertionError("abort raises")


def guarded(method: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """A unary call whose errors become statuses."""

    @functools.wraps(method)
    async def call(self: Any, request: Any, context: Any) -> T:
        try:
            return await method(self, request, context)
        except Exception as error:
            await refuse(context, error)

    return call


def guarded_stream(method: Callable[..., AsyncIterator[T]]) -> Callable[..., AsyncIterator[T]]:
    """A server stream whose errors become statuses."""

    @functools.wraps(method)
    async def call(self: Any, request: Any, context: Any) -> AsyncIterator[T]:
        try:
            async for item in method(self, request, context):
                yield item
        except Exception as error:
            await refuse(context, error)

    return call
