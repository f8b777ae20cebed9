"""Is this process alive, and is the cluster behind it?"""

from __future__ import annotations

import asyncio

import msgspec

from flame.core.base.errors import FlameError, Unauthenticated
from flame.core.model.messages import Identity
from flame.gateway.callers import Callers
from flame.gateway.credentials import LONGEST
from flame.gateway.metrics import Metrics

LIMIT = 3.0
"""Seconds that the cluster may take to say that it is there."""


class Ready(msgspec.Struct):
    """`ready`: session manager and allocator answer; otherwise `problems` says what does not."""

    ready: bool
    problems: list[str]


class Health:
    """token: the cluster's own; whoever asks for readiness needs none."""

    def __init__(self, callers: Callers, metrics: Metrics, token: str) -> None:
        self._callers, self._metrics, self._token = callers, metrics, token

    async def ready(self) -> Ready:
        """Asks both, each time."""
        problems: list[str] = []
        try:
            async with asyncio.timeout(LIMIT), self._callers.borrow(self._token) as caller:
                status = await caller.direct.status()
                if not status.allocator:
                    problems.append("the allocator is not connected")
                else:
                    await caller.direct.list("Namespace", limit=1, timeout=LIMIT)
                if status.storage != "ok":
                    problems.append(f"storage: {status.storage}")
        except TimeoutError:
            problems.append(f"no answer from the cluster within {LIMIT:g} s")
        except FlameError as error:
            problems.append(error.message)
        return Ready(not problems, problems)

    async def check(self, token: str) -> Identity:
        """Whose token it is. Raises Unauthenticated."""
        if not token or len(token) > LONGEST or not token.isascii() or any(c in token for c in ';, "'):
            raise Unauthenticated("this is no token")
        async with self._callers.borrow(token) as caller:
            return caller.identity

    def metrics(self) -> bytes:
        self._metrics.callers.set(len(self._callers))
        return self._metrics.text()
