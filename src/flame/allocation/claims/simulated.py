"""The provider `simulated`: a cloud with a fixed stock that takes its time and may take back what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from flame.core.allocator.claims import ClaimSpec, ClaimUpdate
from flame.core.model.states import ClaimState


class SimulatedProvider:
    """`stock` nodes of any shape, each claim answered `delay` seconds after its nodes are free; `notice` before a revocation."""

    name = "simulated"

    def __init__(self, stock: int = 4, delay: float = 1.0, notice: float = 30.0) -> None:
        self._stock, self._delay, self._notice = stock, delay, notice
        self._free = stock
        self._names = count(1)
        self._waiting: dict[str, tuple[ClaimSpec, float]] = {}
        self._granted: dict[str, tuple[int, float | None]] = {}
        self._news: list[ClaimUpdate] = []

    def request(self, spec: ClaimSpec, now: float) -> Sequence[ClaimUpdate]:
        if spec.id in self._waiting or spec.id in self._granted:
            return ()
        if spec.count > self._stock:
            found = f"asked for {spec.count} nodes; there are {self._stock} in all"
            return (ClaimUpdate(spec.id, ClaimState.DENIED, found),)
        self._waiting[spec.id] = spec, now + self._delay
        why = "being made" if spec.count <= self._free else f"asked for {spec.count} nodes; {self._free} are free"
        return (ClaimUpdate(spec.id, ClaimState.PENDING, why),)

    def withdraw(self, id: str, now: float) -> Sequence[ClaimUpdate]:
        known = id in self._waiting or id in self._granted
        self._waiting.pop(id, None)
        self._return(id)
        return (ClaimUpdate(id, ClaimState.REVOKED, "withdrawn", (), now),) if known else ()

    def revoke(self, id: str, now: float) -> None:
        """The cloud wants it back: a spot instance ends."""
        if id in self._granted:
            self._return(id)
            self._news.append(ClaimUpdate(id, ClaimState.REVOKED, "preempted", (), now + self._notice))

    def poll(self, now: float) -> Sequence[ClaimUpdate]:
        for id, (_, ends) in list(self._granted.items()):
            if ends is not None and ends <= now:
                self._return(id)
                self._news.append(ClaimUpdate(id, ClaimState.REVOKED, "its term is over", (), ends))
        for id, (spec, due) in list(self._waiting.items()):
            if due <= now and spec.count <= self._free:
                del self._waiting[id]
                self._free -= spec.count
                self._granted[id] = spec.count, None if spec.term is None else now + spec.term
                nodes = tuple(f"sim-{next(self._names)}" for _ in range(spec.count))
                self._news.append(ClaimUpdate(id, ClaimState.GRANTED, "", nodes))
        news, self._news = self._news, []
        return news

    def deadline(self) -> float | None:
        if self._news:
            return 0.0
        moments = [due for spec, due in self._waiting.values() if spec.count <= self._free]
        moments += [ends for _, ends in self._granted.values() if ends is not None]
        return min(moments, default=None)

    def _return(self, id: str) -> None:
        self._free += self._granted.pop(id, (0, None))[0]
