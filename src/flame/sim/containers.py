"""The containers of the replicas on one agent: they start, run for a while, fail, ignore SIGTERM, and die with their agent."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flame.core.model import messages as m
from flame.core.model.reactor import Effect
from flame.core.peers.replica import Prepare, SignalContainer, SpawnContainer

if TYPE_CHECKING:
    from flame.sim.agent import AgentProcess


@dataclass
class _Running:
    order: m.StartReplica
    run: int


class Containers:
    """Does what `core.peers.replica` asks for, and says what came of it, in the agent's present life."""

    def __init__(self, agent: AgentProcess) -> None:
        self.agent, self.world = agent, agent.world
        self.running: dict[int, _Running] = {}

    def kill(self) -> None:
        """The agent is dead, and its children with it."""
        for pid in list(self.running):
            self._gone(pid)

    def do(self, action: Effect) -> None:
        rng = self.world.clock.rng
        if isinstance(action, Prepare):
            self.agent.after(0.002 * rng.random(), self._prepare, action.id)
        elif isinstance(action, SpawnContainer):
            self.agent.after(0.001 + 0.004 * rng.random(), self._spawn, action)
        elif isinstance(action, SignalContainer) and action.pid in self.running:
            deaf = action.number == signal.SIGTERM and rng.random() < 0.2
            if not deaf:
                self.agent.after(
                    0.002 * rng.random(), self._end, action.id, action.container, action.pid, None, action.number
                )

    def _prepare(self, id: str) -> None:
        replica = self.agent.peer.replicas.live.get(id)
        if replica is not None:
            if self.world.clock.rng.random() < self.world.plan.spawn_failures:
                replica.unprepared("CreateContainerError", "no space left", self.agent.now)
            else:
                replica.prepared({}, self.agent.now)
        self.agent.work()

    def _spawn(self, action: SpawnContainer) -> None:
        replica = self.agent.peer.replicas.live.get(action.id)
        if replica is None:
            return
        pid, clock, order = self.world.new_pid(), self.world.clock, replica.order
        self.running[pid] = _Running(order, action.run)
        self.world.jobs.started(order, pid)
        replica.spawned(action.container, pid, self.agent.now)
        seconds, code = self.world.jobs.fate(order, clock.rng)
        if seconds is not None:
            self.agent.after(seconds, self._end, action.id, action.container, pid, code, None)
        self.agent.work()

    def _end(self, id: str, container: str, pid: int, code: int | None, number: int | None) -> None:
        if pid not in self.running:
            return
        self.world.jobs.exited(self.running[pid].order, pid, code)
        self._gone(pid)
        replica = self.agent.peer.replicas.live.get(id)
        if replica is not None:
            replica.exited(container, code, number, self.agent.now)
        self.agent.work()

    def _gone(self, pid: int) -> None:
        self.world.jobs.ended(self.running.pop(pid).order, pid)
