"""The provider `local`: this host. A claim is granted as soon as the host's agent has registered."""

from __future__ import annotations

from collections.abc import Sequence

from flame.core.allocator.claims import ClaimSpec, ClaimUpdate
from flame.core.base.quantity import describe
from flame.core.model.resources import Resources, fits
from flame.core.model.states import ClaimState


class LocalProvider:
    """One node, the host's. It is not divided: a second claim gets the same node, the scheduler shares it."""

    name = "local"

    def __init__(self) -> None:
        self._node = ""
        self._allocatable: Resources = {}
        self._waiting: dict[str, ClaimSpec] = {}
        self._granted: dict[str, None] = {}
        self._news: list[ClaimUpdate] = []

    def registered(self, node: str, allocatable: Resources) -> None:
        """The agent of this host is there."""
        self._node, self._allocatable = node, allocatable
        for spec in list(self._waiting.values()):
            del self._waiting[spec.id]
            self._news.append(self._answer(spec))

    def lost(self, now: float) -> None:
        """The agent is gone, and with it everything it ran."""
        self._node = ""
        self._news += [ClaimUpdate(id, ClaimState.REVOKED, "agent lost", (), now) for id in self._granted]
        self._granted.clear()

    def request(self, spec: ClaimSpec, now: float) -> Sequence[ClaimUpdate]:
        if spec.id in self._granted or spec.id in self._waiting:
            return ()
        if self._node or spec.count > 1:
            return (self._answer(spec),)
        self._waiting[spec.id] = spec
        return (ClaimUpdate(spec.id, ClaimState.PENDING, "waiting for the agent of this host"),)

    def withdraw(self, id: str, now: float) -> Sequence[ClaimUpdate]:
        known = id in self._granted or id in self._waiting
        self._granted.pop(id, None)
        self._waiting.pop(id, None)
        return (ClaimUpdate(id, ClaimState.REVOKED, "withdrawn", (), now),) if known else ()

    def poll(self, now: float) -> Sequence[ClaimUpdate]:
        news, self._news = self._news, []
        return news

    def deadline(self) -> float | None:
        return 0.0 if self._news else None

    def _answer(self, spec: ClaimSpec) -> ClaimUpdate:
        if spec.count > 1:
            return ClaimUpdate(spec.id, ClaimState.DENIED, f"asked for {spec.count} nodes; this host is one")
        if not fits(spec.resources, self._allocatable):
            found = f"asked for {describe(spec.resources)}; this host has {describe(self._allocatable)}"
            return ClaimUpdate(spec.id, ClaimState.DENIED, found)
        self._granted[spec.id] = None
        return ClaimUpdate(spec.id, ClaimState.GRANTED, "", (self._node,))
