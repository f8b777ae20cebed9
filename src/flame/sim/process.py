"""A simulated process: it lives, is killed, starts again; its timers and connections die with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flame.core.model.messages import Hello, Message
from flame.core.model.reactor import Event, Joined, Lost, Peer, Received, Ticked

if TYPE_CHECKING:
    from flame.sim.network import Link
    from flame.sim.world import World


class Process:
    """Base of everything that runs. `life` counts its lives: what belongs to an earlier one does nothing any more."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.life = 0
        self.alive = False
        self.listening = False
        self.links: dict[Peer, tuple[Link, int]] = {}

    @property
    def now(self) -> float:
        return self.world.clock.now

    def start(self) -> None:
        self.life += 1
        self.alive = True
        self.world.clock.trace(self.name, "starts")
        self.begin()

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, its connections break."""
        if not self.alive:
            return
        self.world.clock.trace(self.name, "is killed")
        self.life += 1
        self.alive = self.listening = False
        self.links.clear()
        for link in self.world.network.links:  # those whose Hello is still on its way included
            for side in (0, 1):
                if link.ends[side] is self:
                    link.died(side)

    def after(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        """A timer of this life."""
        self.world.clock.after(delay, self._if_alive, self.life, call, args)

    def _if_alive(self, life: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.life == life:
            call(*args)

    def number(self, link: Link, side: int) -> Peer:
        """Take a connection up under its number: in the order in which connections were accepted, not in which they said hello."""
        link.peers[side] = link.number
        self.links[link.number] = link, side
        return link.number

    def send(self, peer: Peer, message: Message, request: int = 0) -> None:
        found = self.links.get(peer)
        if found is not None:
            found[0].send(found[1], message, request)

    # -- for subclasses

    def begin(self) -> None:
        """It has just started."""

    def connected(self, link: Link) -> None:
        """What it dialled answered."""

    def refused(self, listener: Process) -> None:
        """Nobody listens there."""

    def receive(self, link: Link, side: int, request: int, message: Message) -> None:
        """A message came in."""

    def lost(self, link: Link, side: int) -> None:
        """A connection ended."""


class Caller(Process):
    """Keeps a connection to the session manager until it is `done`."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.done = False
        self._link: Link | None = None
        self._welcome = False

    def hello(self) -> Hello:
        raise NotImplementedError

    def broken(self) -> None:
        """The connection ended."""

    def _dial(self) -> None:
        if not self.done:
            self.world.network.dial(self, self.world.manager, self.hello())

    def refused(self, listener: Process) -> None:
        self.after(0.02 + 0.03 * self.world.clock.rng.random(), self._dial)

    def connected(self, link: Link) -> None:
        self._link, self._welcome = link, False
        self.number(link, 0)

    def lost(self, link: Link, side: int) -> None:
        self.links.pop(link.peers[side], None)
        if link is self._link:
            self._link, self._welcome = None, False
            self.broken()
            self.refused(self.world.manager)


class Server(Process):
    """A process around a reactor: what comes in becomes events, deadlines become ticks."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._tick_at: float | None = None

    def feed(self, event: Event) -> None:
        """Handle one event and do what it asks for. Subclasses call `arm` when they are done."""
        raise NotImplementedError

    def deadline(self) -> float | None:
        raise NotImplementedError

    def arm(self) -> None:
        """Have a tick at the reactor's deadline."""
        due = self.deadline()
        if due is not None and (self._tick_at is None or due < self._tick_at):
            self._tick_at = due
            self.after(max(0.0, due - self.now), self._tick, due)

    def _tick(self, due: float) -> None:
        if self._tick_at != due:
            return
        self._tick_at = None
        deadline = self.deadline()
        if deadline is not None and deadline <= self.now:
            self.feed(Ticked())
        else:
            self.arm()

    def receive(self, link: Link, side: int, request: int, message: Message) -> None:
        peer = link.peers[side]
        if isinstance(message, Hello) and not peer:
            peer = self.number(link, side)
            self.world.clock.trace(self.name, "hears", message.role, message.client_id, peer)
            self.feed(Joined(peer, message))
        elif peer in self.links:
            self.world.clock.trace(self.name, peer, type(message).__name__)
            self.feed(Received(peer, request, message))

    def lost(self, link: Link, side: int) -> None:
        peer = link.peers[side]
        if self.links.pop(peer, None) is not None:
            self.world.clock.trace(self.name, peer, "is lost")
            self.feed(Lost(peer))

    def hang_up(self, peer: Peer) -> None:
        """Close a connection from our side; the reactor hears of it like of any other end."""
        found = self.links.pop(peer, None)
        if found is not None:
            found[0].close(found[1])
            self.after(0.0, self.feed, Lost(peer))
