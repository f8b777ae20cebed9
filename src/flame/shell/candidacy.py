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

from flame.core.base.errors import AlreadyExists, Fenced, FlameError, Unavailable
from flame.core.model.messages import Hello, Identity
from flame.core.model.reactor import Peer
from flame.shell.address import Address, parse_all
from flame.shell.gate import Gate
from flame.shell.plane import Handler, Plane

if TYPE_CHECKING:
    from flame.store.leadership import Leadership

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
    """Of one process for one role. `lost` is called in the loop when it led and does no longer; the process then has to end."""

    def __init__(self, storage: str, role: str, addresses: Sequence[str], lost: Callable[[FlameError], None]) -> None:
        self._storage, self._role, self._addresses, self._lost = storage, role, tuple(addresses), lost
        self._lead: Leadership | None = None

    async def run(
        self, listeners: Sequence[tuple[socket.socket, Gate]], may_wait: bool, waits: Callable[[], None]
    ) -> None:
        """Until it leads. `waits` is called when it stands by first; without `may_wait` that is AlreadyExists.

        Raises what keeps the database from being used."""
        from flame.store.leadership import Leadership, read_leaders_async

        leader = (await read_leaders_async(self._storage)).get(self._role)
        others = leader is not None and leader.age < STALE and leader.addresses != self._addresses
        if others and not may_wait:
            assert leader is not None
            raise AlreadyExists(
                f"{self._role} of this database is led at {leader.addresses[0]}",
                hint="`flame up --standby` waits until that is gone",
            )
        loop = asyncio.get_running_loop()

        def lost() -> None:
            error = Fenced(f"another process leads {self._role} now")
            loop.call_soon_threadsafe(self._lost, error)

        self._lead = Leadership(self._storage, self._role, self._addresses, stale=STALE, lost=lost)
        standing = _StandsBy(self._role)
        for sock, gate in listeners:
            standing.plane.serve(sock, gate)
        if others:
            waits()
        try:
            await self._lead.acquire_async()
        finally:
            standing.plane.stop()
        log.info("leads %s", self._role)

    async def stop(self) -> None:
        if self._lead is not None:
            await self._lead.stop_async()


async def led_at(storage: str, role: str) -> tuple[Address, ...]:
    """Where the leader of a role is, as far as the database knows. Raises FlameError."""
    from flame.store.leadership import read_leaders_async

    leader = (await read_leaders_async(storage)).get(role)
    return parse_all(",".join(leader.addresses)) if leader is not None and leader.addresses else ()
