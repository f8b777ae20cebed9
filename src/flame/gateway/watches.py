"""Requests that stay open: how many there may be, and that they end when the gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from flame.core.base.errors import Exhausted
from flame.core.objects.selectors import parse_fields, parse_labels
from flame.gateway.callers import Caller
from flame.gateway.metrics import Metrics

MOST, MOST_OF_ONE = 1000, 100
"""Open at once, of all and of one identity."""


class Watches:
    """None of them takes a thread: they wait for answers of the session manager, in the loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._open = 0
        self.closing = asyncio.Event()

    def check(self, caller: Caller) -> None:
        """Raises Exhausted when there are too many already."""
        if self._open >= MOST or caller.watches >= MOST_OF_ONE:
            most = f"{MOST_OF_ONE} of one identity" if caller.watches >= MOST_OF_ONE else f"{MOST}"
            raise Exhausted(f"{most} watches are open already", hint="close some", retry_after=5.0)

    @contextmanager
    def opened(self, caller: Caller) -> Iterator[None]:
        self._open += 1
        caller.watches += 1
        caller.uses += 1
        self._metrics.watches.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            caller.watches -= 1
            caller.uses -= 1
            self._metrics.watches.set(self._open)

    async def pieces(self, caller: Caller, found: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same, counted, and at its end when the gateway ends."""
        closing = asyncio.ensure_future(self.closing.wait())
        with self.opened(caller):
            try:
                while True:
                    following = asyncio.ensure_future(anext(found, None))
                    try:
                        await asyncio.wait((following, closing), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not following.done():
                            following.cancel()
                            await asyncio.gather(following, return_exceptions=True)
                    if following.cancelled() or (piece := following.result()) is None:
                        return
                    yield piece
            finally:
                closing.cancel()
                close = getattr(found, "aclose", None)
                if close is not None:
                    await close()


def check_selectors(labels: str, fields: str) -> None:
    """Before an answer has begun. Raises InvalidArgument."""
    parse_labels(labels)
    parse_fields(fields)
