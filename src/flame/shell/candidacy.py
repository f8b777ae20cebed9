"""One of several processes leads; the others stand by until it is gone.

Only with PostgreSQL: a SQLite journal has one owner by its lock. A process that stands by answers whoever connects that it does so:
clients, executors and agents then try the next address they know.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flame.core.base.errors import AlreadyExists, Fenced, FlameError, InvalidState, StorageFull, Unavailable
from flame.core.model.messages import Hello, Identity
from flame.core.model.reactor import Peer
from flame.shell.address import Address, parse_all
from flame.shell.gate import Gate
from flame.shell.plane import Handler, Plane

if TYPE_CHECKING:
    from flame.store.leadership import Leader, Leadership

log = logging.getLogger("flame.candidacy")

STALE = 1.5
"""Seconds of silence after which a leader is deposed."""


class _StandsBy(Handler):
    def __init__(self, role: str) -> None:
        self._role = role
        self.plane = Plane(self)

    def joined(self, peer: Peer, hello: Hello, identity: Identity | None) -> None:
        text = f"{self._role} stands by here; another process leads"
        self.plane.connections[peer].refuse(Unavailable(text, hint="give every endpoint of the cluster, with commas"))


class Candidacy:
    """Of one process for one role. `deposed` is called in the loop when another process leads; this one then has to end.

    Losing the lock alone is no reason to end: the database may have restarted. As long as nobody else leads the process goes on and
    takes the lock again; what it may write is decided by the epoch of the store in any case.
    """

    def __init__(
        self, storage: str, role: str, addresses: Sequence[str], deposed: Callable[[FlameError], None]
    ) -> None:
        self._storage, self._role, self._addresses, self._deposed = storage, role, tuple(addresses), deposed
        self._lead: Leadership | None = None
        self._regaining: asyncio.Task[None] | None = None

    async def run(
        self, listeners: Sequence[tuple[socket.socket, Gate]], may_wait: bool, waits: Callable[[], None]
    ) -> None:
        """Until it leads. `waits` is called when it stands by first; without `may_wait` that is AlreadyExists.

        Raises what keeps the database from being used, but for what may pass when it `may_wait`."""
        leader = await self._other(patient=may_wait)
        if leader is not None and not may_wait:
            raise AlreadyExists(
                f"{self._role} of this database is led at {leader.addresses[0]}",
                hint="`flame up --standby` waits until that is gone",
            )
        standing = _StandsBy(self._role)
        for sock, gate in listeners:
            standing.plane.serve(sock, gate)
        if leader is not None:
            waits()
        self._lead = self._make()
        try:
            await self._lead.acquire_async()
        finally:
            standing.plane.stop()
        log.info("leads %s", self._role)

    def _make(self) -> Leadership:
        from flame.store.leadership import Leadership

        loop = asyncio.get_running_loop()

        def lost() -> None:
            loop.call_soon_threadsafe(self._lost)

        return Leadership(self._storage, self._role, self._addresses, stale=STALE, lost=lost)

    async def _other(self, patient: bool) -> Leader | None:
        """Somebody else who leads, as far as the database can tell."""
        from flame.store.leadership import read_leaders_async

        try:
            leader = (await read_leaders_async(self._storage)).get(self._role)
        except StorageFull:
            if patient:
                return None
            raise
        return leader if leader is not None and leader.age < STALE and leader.addresses != self._addresses else None

    def _lost(self) -> None:
        if self._regaining is None or self._regaining.done():
            self._regaining = asyncio.ensure_future(self._regain())

    async def _regain(self) -> None:
        while await self._other(patient=True) is None:
            assert self._lead is not None, "it led"
            await self._lead.stop_async()
            self._lead = self._make()
            try:
                await asyncio.wait_for(self._lead.acquire_async(), STALE)
                log.warning("leads %s again", self._role)
                return
            except (TimeoutError, InvalidState):
                continue
        self._deposed(Fenced(f"another process leads {self._role} now"))

    async def stop(self) -> None:
        if self._regaining is not None:
            self._regaining.cancel()
        if self._lead is not None:
            await self._lead.stop_async()


async def led_at(storage: str, role: str) -> tuple[Address, ...]:
    """Where the leader of a role is, as far as the database knows. Raises FlameError."""
    from flame.store.leadership import read_leaders_async

    leader = (await read_leaders_async(storage)).get(role)
    return parse_all(",".join(leader.addresses)) if leader is not None and leader.addresses else ()
