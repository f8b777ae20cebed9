"""The session managers of one cluster, as a client reaches them: a link to each, made when first needed.

Most clusters have one. With several, a session belongs to one of them by its id (`core.base.ids.shard_of`), or by its number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from flame.core.base.ids import shard_of
from flame.sdk.link import Link
from flame.sdk.target import Target
from flame.shell.address import Address, parse_all


class Links:
    """`first`: the link to whichever was reached; `make`: another one; `via`: where the manager at an address is reached instead."""

    def __init__(
        self,
        first: Link,
        target: Target,
        make: Callable[[Target], Link],
        via: Callable[[Address], Address] | None = None,
    ) -> None:
        self.first = first
        self._target, self._make, self._via = target, make, via
        self._lock = threading.Lock()
        assert first.welcome is not None, "a link is welcomed when it is made"
        self._shards = first.welcome.shards
        self._own = first.welcome.shard
        self._made: dict[int, Link] = {self._own: first}

    @property
    def count(self) -> int:
        return max(1, len(self._shards))

    def of(self, session: str) -> Link:
        """The link to the manager of a session, by id or number. Raises Unavailable."""
        if self.count == 1:
            return self.first
        if session.isdecimal() and len(session) < 19:
            return self._to((int(session) - 1) % self.count)
        return self._to(shard_of(session, self.count))

    def all(self) -> list[Link]:
        return [self.first] if self.count == 1 else [self._to(shard) for shard in range(self.count)]

    def _to(self, shard: int) -> Link:
        with self._lock:
            link = self._made.get(shard)
            if link is None or link.closed:
                here = all(address.path for address in self._target.addresses)
                found = parse_all(self._shards[shard])
                wanted = tuple(a for a in found if bool(a.path) == here) or found
                if self._via is not None:
                    wanted = tuple(self._via(address) for address in wanted)
                link = self._made[shard] = self._make(replace(self._target, addresses=wanted))
            return link

    def close(self) -> None:
        for link in self._made.values():
            link.close()
