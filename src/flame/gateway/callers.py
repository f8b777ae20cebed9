"""One connection to the cluster for each identity that asks: made at its first request, kept while it asks, closed when it is idle.

The session manager knows the identity of a connection by its token, so the rights of a request are those of its connection, as they are
everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from flame.core.base.errors import Exhausted, FlameError
from flame.core.model.access import digest
from flame.core.model.messages import Identity
from flame.sdk.client import Client
from flame.sdk.direct import Direct
from flame.sdk.target import Target
from flame.shell.address import Address, edge_socket

log = logging.getLogger("flame.gateway")

MOST = 256
"""Identities that are connected at once."""
IDLE = 120.0
"""Seconds after which a connection nobody uses is closed."""
DIALLERS = 4
"""Connections that are made or closed at once: that takes a thread each."""


@dataclass
class Caller:
    """An identity that is connected. `uses`: requests that are being done with it."""

    key: str
    direct: Direct
    identity: Identity
    used: float
    uses: int = 0
    watches: int = 0
    samples: dict[str, tuple[float, object]] = field(default_factory=dict)
    """What was asked lately for its pages, and when."""

    @property
    def broken(self) -> bool:
        return self.direct.client.link.closed


class Callers:
    """edge: where the first session manager takes connections that are whoever their token says."""

    def __init__(self, edge: Address, most: int = MOST, idle: float = IDLE) -> None:
        self._edge, self._most, self._idle = edge, most, idle
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._dialling: dict[str, asyncio.Future[Caller]] = {}
        self._threads = ThreadPoolExecutor(DIALLERS, "flame-dial")

    def __len__(self) -> int:
        return len(self._callers)

    @asynccontextmanager
    async def borrow(self, token: str) -> AsyncIterator[Caller]:
        """The caller of a token, for as long as it is needed. Raises Unauthenticated, Unavailable, Exhausted with too many callers."""
        caller = await self._of(digest(token), token)
        caller.uses += 1
        try:
            yield caller
        finally:
            caller.uses -= 1
            caller.used = time.monotonic()

    async def _of(self, key: str, token: str) -> Caller:
        found = self._callers.get(key)
        if found is not None and not found.broken:
            self._callers.move_to_end(key)
            return found
        dialling = self._dialling.get(key)
        if dialling is None:
            dialling = self._dialling[key] = asyncio.ensure_future(self._dial(key, token))
            dialling.add_done_callback(lambda done: self._dialled(key, done))
        return await asyncio.shield(dialling)

    def _dialled(self, key: str, done: asyncio.Future[Caller]) -> None:
        self._dialling.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waits has it, too

    async def _dial(self, key: str, token: str) -> Caller:
        self._make_room(key)
        loop = asyncio.get_running_loop()
        client = await loop.run_in_executor(self._threads, self._connect, token)
        direct = Direct(client)
        try:
            identity = await direct.whoami()
        except BaseException:
            self._close(client)
            raise
        caller = self._callers[key] = Caller(key, direct, identity, time.monotonic())
        return caller

    def _connect(self, token: str) -> Client:
        return Client(Target((self._edge,), token=token), via=edge_socket)

    def _make_room(self, key: str) -> None:
        """Raises Exhausted."""
        old = self._callers.pop(key, None)
        if old is not None:
            self._close(old.direct.client)
        if len(self._callers) + len(self._dialling) <= self._most:
            return
        for other in list(self._callers.values()):
            if not other.uses:
                self._drop(other)
                return
        raise Exhausted(f"{self._most} identities are connected already", hint="try again later", retry_after=1.0)

    def _drop(self, caller: Caller) -> None:
        self._callers.pop(caller.key, None)
        self._close(caller.direct.client)

    def _close(self, client: Client) -> None:
        self._threads.submit(_closed, client)

    def sweep(self) -> None:
        """Close what is idle or broken; called every now and then."""
        now = time.monotonic()
        for caller in list(self._callers.values()):
            if not caller.uses and (caller.broken or now - caller.used > self._idle):
                self._drop(caller)

    async def close(self) -> None:
        for caller in list(self._callers.values()):
            self._drop(caller)
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._threads.shutdown(wait=True))


def _closed(client: Client) -> None:
    try:
        client.close()
    except (FlameError, OSError):
        log.exception("closing a connection failed")
