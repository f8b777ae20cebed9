"""Simulated connections: FIFO in each direction, slow at times, cut at any byte, and noticed late by either side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from flame.core.model.messages import Hello, Message

if TYPE_CHECKING:
    from flame.sim.clock import Clock
    from flame.sim.process import Process

DIALER, LISTENER = 0, 1
Trap = Callable[["Link", int], None]


class Parcel:
    """One message on its way."""

    __slots__ = ("alive", "data", "message", "request")

    def __init__(self, message: Message, request: int, data: bytes | None) -> None:
        self.message, self.request, self.data = message, request, data
        self.alive = True


class Link:
    """One connection between two processes. Side 0 dialled, side 1 listened; a side is closed once it knows that the link is over."""

    def __init__(self, network: Network, name: str, ends: tuple[Process, Process]) -> None:
        self.network, self.name, self.ends = network, name, ends
        network.made += 1
        self.number = network.made
        self.lives = (ends[0].life, ends[1].life)
        self.peers = [0, 0]  # the number each side gave this connection
        self.open = [True, True]
        self.cut = False
        self.latency = network.latency()
        self._flying: tuple[deque[Parcel], deque[Parcel]] = (deque(), deque())  # by sending side
        self._arrival = [0.0, 0.0]

    def send(self, side: int, message: Message, request: int = 0) -> None:
        """Say something. On a link that is cut it vanishes, as on a real one."""
        network = self.network
        if not self.open[side] or self.cut:
            return
        clock = network.clock
        parcel = Parcel(message, request, network.encode(message, request) if network.encode else None)
        self._flying[side].append(parcel)
        at = max(self._arrival[side], clock.now + self.latency * (0.5 + clock.rng.random()))
        if clock.rng.random() < network.hiccups:
            at += 0.05 * clock.rng.random()
        self._arrival[side] = at
        clock.after(at - clock.now, self._deliver, side, parcel)
        if network.traps:
            network.spring(self, side, type(message).__name__)

    def _deliver(self, side: int, parcel: Parcel) -> None:
        if not parcel.alive:
            return
        self._flying[side].popleft()
        other = 1 - side
        process = self.ends[other]
        if not self.open[other] or process.life != self.lives[other]:
            return
        request, message = parcel.request, parcel.message
        if parcel.data is not None and self.network.decode is not None:
            request, message = self.network.decode(parcel.data)
            assert message == parcel.message, f"the wire changed {parcel.message} into {message}"
        process.receive(self, other, request, message)

    def close(self, side: int) -> None:
        """One side hangs up; what it said before still arrives."""
        if not self.open[side]:
            return
        self.open[side] = False
        other = 1 - side
        at = max(self._arrival[side], self.network.clock.now + self.latency)
        self.network.clock.after(at - self.network.clock.now, self.notice, other)

    def break_(self, late: tuple[float, float] = (0.0, 0.0)) -> None:
        """Cut it now: of what is flying a part arrives, cut anywhere. Side n notices `late[n]` seconds after that."""
        if self.cut:
            return
        self.cut = True
        clock = self.network.clock
        for side in (DIALER, LISTENER):
            flying = self._flying[side]
            arriving = clock.rng.randint(0, len(flying))
            for parcel in list(flying)[arriving:]:
                parcel.alive = False
            while len(flying) > arriving:
                flying.pop()
            at = max(self._arrival[side] if arriving else 0.0, clock.now) + late[1 - side]
            clock.after(at - clock.now, self.notice, 1 - side)

    def died(self, side: int) -> None:
        """The process on this side is dead: its kernel hangs up for it."""
        if self.open[side]:
            self.open[side] = False
            self.break_()

    def notice(self, side: int) -> None:
        """This side learns that the link is over."""
        if self.open[side]:
            self.open[side] = False
            process = self.ends[side]
            if process.life == self.lives[side]:
                process.lost(self, side)


class Network:
    """All connections. With a codec every message crosses as bytes."""

    def __init__(self, clock: Clock, *, codec: bool = False) -> None:
        self.clock = clock
        self.hiccups = 0.0
        self.made = 0
        self.links: list[Link] = []
        #: faults that wait for a message of this kind: (kind, what to do with link and sending side)
        self.traps: list[tuple[str, Trap]] = []
        self.encode = self.decode = None
        if codec:
            from flame.wire import codec as wire

            self.encode, self.decode = wire.encode, wire.decode

    def latency(self) -> float:
        return 0.00002 + 0.0002 * self.clock.rng.random()

    def spring(self, link: Link, side: int, kind: str) -> None:
        """A message of this kind has just left: the first fault that waits for it happens."""
        for trap in self.traps:
            if trap[0] == kind:
                self.traps.remove(trap)
                trap[1](link, side)
                return

    def dial(self, dialer: Process, listener: Process, hello: Hello) -> None:
        """Connect after a moment: `dialer.connected`, or `dialer.refused` when nobody listens. Hello is the first message."""
        self.clock.after(self.latency(), self._connect, dialer, dialer.life, listener, hello)

    def _connect(self, dialer: Process, life: int, listener: Process, hello: Hello) -> None:
        if dialer.life != life or not dialer.alive:
            return
        if not listener.alive or not listener.listening:
            dialer.refused(listener)
            return
        link = Link(self, f"{dialer.name}-{listener.name}", (dialer, listener))
        self.links = [old for old in self.links if old.open[0] or old.open[1]]
        self.links.append(link)
        link.send(DIALER, hello)
        dialer.connected(link)
