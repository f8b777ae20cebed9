"""The session manager's shell: apply -> journal -> tell, on a simulated disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flame.core.model.messages import Assign, Hello
from flame.core.model.reactor import LAZY, NOW, Choked, Close, Effect, Event, Joined, Persist, Recorded, Send
from flame.core.sessions import records as r
from flame.core.sessions.reactor import Fetch, Fetched, Sessions
from flame.sim.disk import Disk, Row
from flame.sim.process import Process, Server

if TYPE_CHECKING:
    from flame.sim.network import Link
    from flame.sim.world import World


LAZY_COMMIT = 0.001
"""Seconds until a batch that nobody waits for is committed."""


class Manager(Server):
    """One life after another over one disk. It listens once it has replayed its journal."""

    def __init__(self, world: World, disk: Disk) -> None:
        super().__init__(world, "manager")
        self.disk = disk
        self.reactor = Sessions(world.plan.sessions, address="plane", durability=disk.durability)
        self._position = self._committed = 0
        self._batch: list[Row] = []
        self._writing = False
        self._urgent = self._lazy = False
        self._held: deque[tuple[int, Effect]] = deque()
        self._snapshot_wanted = False
        #: it dies after its next commit, before it has told anybody
        self.doomed = False

    # -- recovery

    def begin(self) -> None:
        """Replay what is on the disk, start an epoch, listen, find the allocator."""
        disk = self.disk
        if disk.full:
            self.after(0.05, self._try_again)
            return
        disk.epoch += 1
        self._tick_at = None
        self._batch, self._writing, self._snapshot_wanted = [], False, False
        self._urgent = self._lazy = False
        self._held.clear()
        self.reactor = Sessions(self.world.plan.sessions, address="plane", durability=disk.durability)
        for body in disk.saved:
            self.reactor.handle(Recorded(disk.covered, r.decode_record(body)), self.now)
        for position in self.reactor.missing():
            self.reactor.reload(position, *disk.read([position]))
        self._position = disk.covered
        for position in sorted(p for p in disk.rows if p > disk.covered):
            assert position == self._position + 1, f"row {self._position + 1} is missing"
            self._position = position
            self.reactor.handle(Recorded(position, *disk.read([position])), self.now)
        self._committed = self._position
        self.world.truth.recovered(self)
        self.listening = True
        self._perform(self.reactor.begin(disk.epoch, disk.history, self.now))
        self.world.network.dial(self, self.world.allocator, Hello("manager"))

    def _try_again(self) -> None:
        self.begin()

    def crash(self, power: bool = False) -> None:
        """Die, and leave the disk as the death leaves it."""
        if not self.alive:
            return
        self.kill()
        if power:
            if self.disk.power_lost():
                self.disk.history = f"h{self.life}"
        else:
            self.disk.process_died()

    # -- the allocator

    def connected(self, link: Link) -> None:
        self.feed(Joined(self.number(link, 0), Hello("allocator")))

    def refused(self, listener: Process) -> None:
        self.after(0.02, self.world.network.dial, self, listener, Hello("manager"))

    def lost(self, link: Link, side: int) -> None:
        super().lost(link, side)
        if side == 0:
            self.refused(self.world.allocator)

    # -- apply -> journal -> tell

    def feed(self, event: Event) -> None:
        if self.alive and self.listening:
            self._perform(self.reactor.handle(event, self.now))

    def deadline(self) -> float | None:
        return self.reactor.deadline()

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                self._persist(effect)
            elif isinstance(effect, Send) and effect.when == NOW:
                self.send(effect.peer, effect.message, effect.request)
            elif isinstance(effect, Close):
                self.hang_up(effect.peer)
            else:
                self._held.append((self._position, effect))
                self._urgent = self._urgent or not (isinstance(effect, Send) and effect.when == LAZY)
        if self.world.checking:
            self.reactor.check()
            for effect in effects:
                if isinstance(effect, Send) and isinstance(effect.message, Assign):
                    self.world.truth.dispatched(self, effect.message)
        self._release()
        self._commit()
        self.arm()

    def _persist(self, effect: Persist) -> None:
        record = effect.record
        assert isinstance(record, r.Record)
        self._position += 1
        self._batch.append(Row(self._position, r.session_of(record), r.encode_record(record)))

    def _release(self) -> None:
        """Tell what waited for what is committed now. A send never overtakes another that waits."""
        held = self._held
        while held and held[0][0] <= self._committed:
            _, effect = held.popleft()
            if isinstance(effect, Send):
                self.send(effect.peer, effect.message, effect.request)
            elif isinstance(effect, Fetch):
                self.after(self.disk.latency(), self._fetched, effect)

    def _fetched(self, effect: Fetch) -> None:
        self.feed(Fetched(effect.token, self.disk.read(effect.positions)))

    def _commit(self) -> None:
        if not self._batch or self._writing:
            return
        if not self._urgent:  # nobody waits for it: it may grow for a while
            if not self._lazy:
                self._lazy = True
                self.after(LAZY_COMMIT, self._urge)
            return
        self._urgent = False
        rows, self._batch = self._batch, []
        self._writing = True
        self.disk.begin(rows)
        self.after(self.disk.latency(), self._committed_, rows)

    def _urge(self) -> None:
        self._lazy, self._urgent = False, True
        self._commit()

    def _committed_(self, rows: list[Row]) -> None:
        self._writing = False
        if not self.disk.finish():
            # What memory says and what the disk says differ now: only the disk counts.
            self.world.clock.trace("disk full")
            self.crash()
            self.world.clock.after(0.05, self.world.revive, self)
            return
        self._committed = rows[-1].position
        self.world.truth.committed(rows)
        if self.doomed:
            self.doomed = False
            self.crash()
            self.world.clock.after(0.02, self.world.revive, self)
            return
        self._release()
        self._commit()
        if self._snapshot_wanted and not self._writing and not self._batch:
            self._save_snapshot()

    def compact(self) -> None:
        """Save a snapshot as soon as nothing is on its way to the disk."""
        self._snapshot_wanted = True
        if self.alive and self.listening and not self._writing and not self._batch:
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        self._snapshot_wanted = False
        bodies = [r.encode_record(record) for record in self.reactor.snapshot()]
        self.disk.save_snapshot(self._committed, bodies, lambda session: session in self.reactor.core.sessions)
        self.world.clock.trace("snapshot", self._committed)

    def choke(self, seconds: float) -> None:
        """Some client reads slowly for a while."""
        for peer, hello in list(self.reactor.core.peers.items()):
            if hello.role == "client" and peer in self.links:
                self.feed(Choked(peer, True))
                self.after(seconds, self._clear, peer)

    def _clear(self, peer: int) -> None:
        if peer in self.links:
            self.feed(Choked(peer, False))
