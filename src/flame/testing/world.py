"""A small world around an allocator: builders, and a recorder that keeps what it says until a test takes it.

After every event the allocator's invariants are checked; at the end of a test nothing it said may be left unread (views aside).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import TypeVar

from flame.core.allocator.reactor import Allocator
from flame.core.allocator.settings import AllocatorSettings
from flame.core.model.messages import (
    AppSpec,
    ClusterChanged,
    DemandChanged,
    Device,
    ExecutorChanged,
    Hello,
    Identities,
    ManagerJoined,
    Message,
    Placed,
    PlacementStarted,
    Reasons,
    RegisterNode,
    StartPlacement,
)
from flame.core.model.reactor import Effect, Event, Joined, Lost, Peer, Persist, Received, Recorded, Send, Ticked
from flame.core.model.states import ExecutorState
from flame.wire.manifests import parse

M = TypeVar("M", bound=Message)
GIB = 1 << 30


def an_app(**more: object) -> AppSpec:
    return AppSpec(**more)  # type: ignore[arg-type]


def a_demand(session: str = "s", want: int = 1, **more: object) -> DemandChanged:
    """What a session wants; `cpu` in milli-CPU, everything else as in DemandChanged."""
    fields: dict[str, object] = {
        "app": "a",
        "app_spec": AppSpec(),
        "resources": {"cpu": more.pop("cpu", 1000)},
        "idle": 0,
        "min_instances": 0,
        "max_instances": None,
        "priority": 0,
        "created": 0.0,
    }
    return DemandChanged(session=session, want=want, **(fields | more))  # type: ignore[arg-type]


def a_node(
    name: str = "n1", cpus: int = 4, running: Iterable[Placed] = (), gpus: int = 0, **more: object
) -> RegisterNode:
    capacity = {"cpu": cpus * 1000, "memory": cpus * GIB} | ({"gpu": gpus * 1000} if gpus else {})
    more.setdefault("devices", tuple(Device(f"{name}-{at}", "NVIDIA A100", 40 * GIB) for at in range(gpus)))
    return RegisterNode(name, capacity, capacity, running=tuple(running), **more)  # type: ignore[arg-type]


class World:
    """An allocator, its time, and everybody it talks to."""

    def __init__(self, settings: AllocatorSettings | None = None, now: float = 1000.0) -> None:
        self._names = count(1)
        self._peers = count(1)
        self.now = now
        self.settings = settings or AllocatorSettings()
        self.said: list[Send] = []
        self.effects: list[Effect] = []
        self.records: list[Persist] = []
        self.allocator = self._new_allocator()

    def _new_allocator(self) -> Allocator:
        names = self._names
        return Allocator(lambda kind: f"p{next(names)}", lambda: f"token{next(names)}", self.settings, parse=parse)

    # -- events

    def handle(self, event: Event) -> None:
        effects = self.allocator.handle(event, self.now)
        self.allocator.check()
        self.effects += effects
        self.said += [effect for effect in effects if isinstance(effect, Send)]
        self.records += [effect for effect in effects if isinstance(effect, Persist)]

    def join(self, role: str) -> Peer:
        peer = next(self._peers)
        self.handle(Joined(peer, Hello(role)))
        return peer

    def tell(self, peer: Peer, *messages: Message) -> None:
        """The peer says this; plans that become due are made."""
        for message in messages:
            self.handle(Received(peer, 0, message))
        self.settle()

    def agent(self, *nodes: RegisterNode) -> Peer:
        peer = self.join("agent")
        self.tell(peer, *(nodes or (a_node(),)))
        return peer

    def manager(self, *placements: str) -> Peer:
        peer = self.join("manager")
        self.tell(peer, ManagerJoined("unix:/plane", 1, tuple(placements)))
        return peer

    def lose(self, peer: Peer) -> None:
        self.handle(Lost(peer))
        self.settle()

    def settle(self) -> None:
        """Let everything that is due within 50 ms happen."""
        self.until(self.now + 0.05)

    def until(self, moment: float) -> None:
        """Time passes, with a tick at every deadline."""
        while (due := self.allocator.deadline()) is not None and due <= moment:
            self.now = max(self.now, due)
            self.handle(Ticked())
        self.now = moment

    def wait(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def restart(self) -> None:
        """A new allocator with what the old one has persisted; every connection is new."""
        self.allocator = self._new_allocator()
        for position, effect in enumerate(self.records):
            self.allocator.handle(Recorded(position, effect.record), self.now)

    # -- what it said

    def take(self, kind: type[M], peer: Peer | None = None) -> list[M]:
        """Everything of this kind that was said (to `peer`) and not taken yet, in order."""
        taken: list[M] = []
        rest: list[Send] = []
        for send in self.said:
            if isinstance(send.message, kind) and peer in (None, send.peer):
                taken.append(send.message)
            else:
                rest.append(send)
        self.said = rest
        return taken

    def nothing_unread(self) -> None:
        """Raises AssertionError when something was said that no test looked at. Views may go unread: they are repeated whole."""
        unread = [send for send in self.said if not isinstance(send.message, ClusterChanged | Identities | Reasons)]
        assert not unread, f"never taken: {unread}"

    # -- shortcuts

    def run(self, agent: Peer, manager: Peer | None = None, *, idle: bool = False) -> list[StartPlacement]:
        """The agent starts what it was told to; the manager sees it bound."""
        orders = self.take(StartPlacement, agent)
        for order in orders:
            self.tell(agent, PlacementStarted(order.id, 1))
            if manager is not None:
                self.sees(manager, order, idle=idle)
        return orders

    def sees(self, manager: Peer, order: StartPlacement, *, idle: bool = False, lent: bool = False) -> None:
        self.tell(manager, ExecutorChanged(order.id, order.session, int(ExecutorState.BOUND), idle, lent))
