"""The same verbs as coroutines, for asyncio programs.

client = await flame.aio.connect()
async with await client.session("flmping") as session:
    output = await session.run(b"...")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from flame.sdk.client import Client
from flame.sdk.connect import connect as _connect
from flame.sdk.session import Session


class AsyncSession:
    """A Session whose waiting verbs are coroutines. `run` submits at once and returns an awaitable future of the running loop."""

    def __init__(self, session: Session) -> None:
        self.sync = session
        self.id = session.id

    def run(self, input: bytes | None = None) -> asyncio.Future[Any]:
        return asyncio.wrap_future(self.sync.run(input))

    async def invoke(self, input: bytes | None = None, timeout: float | None = None) -> Any:
        """Cancelling the awaiting task cancels the engine's task."""
        future = self.sync.run(input)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        except (asyncio.CancelledError, TimeoutError):
            await asyncio.to_thread(future.cancel, True)
            raise

    async def map(self, inputs: Iterable[bytes | None], *, window: int = 10_000) -> AsyncIterator[Any]:
        """Outputs in order; at most `window` tasks are out at once."""
        out: list[asyncio.Future[Any]] = []
        it = iter(inputs)
        more = True
        while more or out:
            while more and len(out) < window:
                try:
                    out.append(self.run(next(it)))
                except StopIteration:
                    more = False
            for future in out[: max(1, len(out) // 2)] if more else list(out):
                yield await future
                out.remove(future) if out[0] is not future else out.pop(0)

    async def flush(self, timeout: float | None = None) -> None:
        await asyncio.to_thread(self.sync.flush, timeout)

    async def watch(self, no: int) -> AsyncIterator[Any]:
        it = self.sync.watch(no)
        while (info := await asyncio.to_thread(next, it, None)) is not None:
            yield info

    async def close(self, mode: str = "drain") -> Any:
        return await asyncio.to_thread(self.sync.close, mode)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.sync, name)
        if name not in ("get_task", "create_task", "list_tasks", "cancel", "status", "number"):
            raise AttributeError(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            found = await asyncio.to_thread(verb, *args, **kwargs)
            return list(found) if name == "list_tasks" else found

        return call

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, kind: Any, error: Any, tb: Any) -> None:
        await self.close("finish" if kind is None else "cancel")


class AsyncClient:
    """A Client whose verbs are coroutines."""

    def __init__(self, client: Client) -> None:
        self.sync = client

    async def session(self, app: Any, **options: Any) -> AsyncSession:
        return AsyncSession(await asyncio.to_thread(self.sync.session, app, **options))

    async def open_session(self, id: str, app: str | None = None, **options: Any) -> AsyncSession:
        return AsyncSession(await asyncio.to_thread(self.sync.open_session, id, app, **options))

    async def close(self) -> None:
        await asyncio.to_thread(self.sync.close)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.sync, name)
        if not callable(verb):
            return verb

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(verb, *args, **kwargs)

        return call

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: Any, error: Any, tb: Any) -> None:
        await self.close()


async def connect(endpoint: str | None = None) -> AsyncClient:
    """See `flame.connect`."""
    return AsyncClient(await asyncio.to_thread(_connect, endpoint))
