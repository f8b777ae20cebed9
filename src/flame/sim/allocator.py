"""The allocator's shell: its records are few and small, so a commit takes no time here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flame.core.allocator import records as ar
from flame.core.allocator.reactor import Allocator
from flame.core.model.reactor import Close, Event, Persist, Recorded, Send
from flame.sim.process import Server
from flame.wire.manifests import parse

if TYPE_CHECKING:
    from flame.sim.world import World


class AllocatorShell(Server):
    def __init__(self, world: World) -> None:
        super().__init__(world, "allocator")
        self._rows: list[bytes] = []
        self.reactor = self._new()

    def _new(self) -> Allocator:
        settings = self.world.plan.allocator
        return Allocator(self.world.fresh, lambda: self.world.fresh("token"), settings, parse=parse)

    def begin(self) -> None:
        self._tick_at = None
        self.reactor = self._new()
        for position, body in enumerate(self._rows):
            self.reactor.handle(Recorded(position, ar.decode_record(body)), self.now)
        self.reactor.begin(self.now, self.life)
        self.listening = True

    def feed(self, event: Event) -> None:
        if not self.alive:
            return
        for effect in self.reactor.handle(event, self.now):
            if isinstance(effect, Send):
                self.send(effect.peer, effect.message, effect.request)
            elif isinstance(effect, Persist):
                assert isinstance(effect.record, ar.Record)
                self._rows.append(ar.encode_record(effect.record))
            elif isinstance(effect, Close):
                self.hang_up(effect.peer)
        if self.world.checking:
            self.reactor.check()
            if not self.world.plan.faults:
                self.world.truth.draining(self.reactor.book)
        self.arm()

    def deadline(self) -> float | None:
        return self.reactor.deadline()
