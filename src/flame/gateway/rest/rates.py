"""How many tasks a session ends per second: from two looks at its counts, some seconds apart."""

from __future__ import annotations

from collections import OrderedDict

WINDOW = 10.0
"""Seconds over which a rate is taken, at most."""
SHORTEST = 1.0
MOST = 20_000


class Rates:
    """Remembers what was seen of each session; `seen` gives the rate since the look before."""

    def __init__(self) -> None:
        self._looks: OrderedDict[str, tuple[float, int, float | None]] = OrderedDict()

    def seen(self, id: str, ended: int, now: float) -> float | None:
        """ended: tasks that have ended so far. None at the first look."""
        at, before, rate = self._looks.get(id, (now, ended, None))
        since = now - at
        if id not in self._looks or since >= SHORTEST:
            if since >= SHORTEST:
                rate = max(0.0, (ended - before) / since) if since <= 6 * WINDOW else None
            self._looks[id] = (now, ended, rate)
            self._looks.move_to_end(id)
            if len(self._looks) > MOST:
                self._looks.popitem(last=False)
        return rate
