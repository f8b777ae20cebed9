"""An agent, and the executors and containers under it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from flame.core.model import messages as m
from flame.core.peers.agent import AgentPeer, Spawn
from flame.core.peers.agent import Signal as SignalEffect
from flame.sim.containers import Containers
from flame.sim.executor import ExecutorProcess
from flame.sim.process import Process

if TYPE_CHECKING:
    from flame.sim.network import Link
    from flame.sim.world import World


class AgentProcess(Process):
    """Executors and containers die with their agent."""

    def __init__(self, world: World, name: str, nodes: list[m.RegisterNode]) -> None:
        super().__init__(world, name)
        self.nodes = nodes
        self.peer = AgentPeer(nodes)
        self.executors: dict[str, ExecutorProcess] = {}
        self.containers = Containers(self)
        self._link: Link | None = None
        self._tick_at: float | None = None

    def begin(self) -> None:
        self.peer = AgentPeer(self.nodes)
        self._link, self._tick_at = None, None
        self._dial()

    def kill(self) -> None:
        executors, self.executors = self.executors, {}
        for executor in executors.values():
            executor.kill()
        self.containers.kill()
        super().kill()

    def _dial(self) -> None:
        self.world.network.dial(self, self.world.allocator, self.peer.hello())

    def refused(self, listener: Process) -> None:
        self.after(0.02, self._dial)

    def connected(self, link: Link) -> None:
        self._link = link
        self.links[self.number(link, 0)] = link, 0
        self.peer.joined(self.now)
        self.work()

    def lost(self, link: Link, side: int) -> None:
        self.links.pop(link.peers[side], None)
        if link is self._link:
            self._link = None
            self.peer.lost()
            self.after(0.01 + 0.05 * self.world.clock.rng.random(), self._dial)

    def receive(self, link: Link, side: int, request: int, message: m.Message) -> None:
        if link is self._link:
            self.world.clock.trace(self.name, type(message).__name__)
            self.peer.receive(message, self.now)
            self.work()

    def work(self) -> None:
        """Say and do what the peer wants, and have a tick at its deadline."""
        if self._link is not None:
            for message in self.peer.drain():
                self._link.send(0, message)
        for action in self.peer.actions():
            if isinstance(action, Spawn):
                self.after(0.001 + 0.004 * self.world.clock.rng.random(), self._spawn, action.order)
            elif isinstance(action, SignalEffect):
                self._signal(action)
            else:
                self.containers.do(action)
        due = self.peer.deadline()
        if due is not None and (self._tick_at is None or due < self._tick_at):
            self._tick_at = due
            self.after(max(0.0, due - self.now), self._tick, due)

    def _tick(self, due: float) -> None:
        if self._tick_at == due:
            self._tick_at = None
            self.peer.tick(self.now)
            self.work()

    def _spawn(self, order: m.StartPlacement) -> None:
        if self.world.clock.rng.random() < self.world.plan.spawn_failures:
            self.peer.failed(order.id, "cannot start", self.now)
        else:
            executor = ExecutorProcess(self.world, self, order)
            self.executors[order.id] = executor
            self.world.truth.spawned(executor)
            executor.start()
            self.peer.spawned(order.id, executor.pid, self.now)
        self.work()

    def _signal(self, action: SignalEffect) -> None:
        executor = self.executors.get(action.id)
        if executor is None:
            return
        # A service in a long computation does not see SIGTERM; SIGKILL nobody survives.
        if action.number == signal.SIGKILL or self.world.clock.rng.random() < 0.5:
            executor.end(None, action.number)

    def child_ended(self, executor: ExecutorProcess, exit_code: int | None, number: int | None) -> None:
        """The process of a placement is gone; the agent notices a moment later."""
        if self.executors.pop(executor.order.id, None) is None:
            return
        current = executor.page()
        self.after(0.003 * self.world.clock.rng.random(), self._ended, executor.order.id, exit_code, number, current)

    def _ended(self, id: str, exit_code: int | None, number: int | None, current: tuple[int, ...]) -> None:
        self.peer.exited(id, exit_code, number, current, "", self.now)
        self.work()
