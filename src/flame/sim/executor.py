"""An executor process: a connection, a queue of tasks, and a service that takes its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flame.core.model import messages as m
from flame.core.model.states import ResultCode
from flame.core.peers.executor import LONG_TASK, ExecutorPeer
from flame.sim.process import Process
from flame.sim.tasks import BLOCK, FAIL, LONG, MEDIUM, POISON, RETRY, kind_of, output_of

if TYPE_CHECKING:
    from flame.sim.agent import AgentProcess
    from flame.sim.network import Link
    from flame.sim.world import World


class ExecutorProcess(Process):
    """One placement, one process, one session."""

    def __init__(self, world: World, agent: AgentProcess, order: m.StartPlacement) -> None:
        super().__init__(world, order.id)
        self.agent, self.order = agent, order
        self.pid = world.new_pid()
        self.peer = ExecutorPeer(order.id, order.token, order.session)
        self.slow = 10.0 if world.clock.rng.random() < world.plan.slow_executors else 1.0
        self._link: Link | None = None
        self.busy = False
        self._entering = False
        self._task = 0

    def page(self) -> tuple[int, ...]:
        """What the agent can read after the process is gone: the run of the task it was executing."""
        current = self.peer.current
        if current is None or not self.busy:
            return ()
        no, epoch, lease, attempt = current
        return no, 1, epoch, lease, attempt

    # -- its life

    def begin(self) -> None:
        self._dial()

    def _dial(self) -> None:
        self.world.network.dial(self, self.world.manager, self.peer.hello())

    def refused(self, listener: Process) -> None:
        self.after(0.02 + 0.03 * self.world.clock.rng.random(), self._dial)

    def connected(self, link: Link) -> None:
        self._link = link
        self.number(link, 0)

    def lost(self, link: Link, side: int) -> None:
        self.links.pop(link.peers[side], None)
        if link is self._link:
            self._link = None
            self.peer.lost()
            self.refused(self.world.manager)

    def end(self, exit_code: int | None, number: int | None) -> None:
        """The process is over."""
        if self.alive:
            self.kill()
            self.agent.child_ended(self, exit_code, number)

    # -- its conversation

    def receive(self, link: Link, side: int, request: int, message: m.Message) -> None:
        if link is not self._link:
            return
        self.world.clock.trace(self.name, type(message).__name__)
        if isinstance(message, m.Failure):
            self.end(1, None)
            return
        self.peer.receive(message)
        if isinstance(message, m.Enter):
            self.world.truth.entered(self, message.session)
            if not self._entering:
                self._entering = True
                self.after(0.002 * self.world.clock.rng.random(), self._enter)
        elif isinstance(message, m.CancelRunning) and self.peer.cancelled and self.world.clock.rng.random() < 0.5:
            self._finish(self._task, ResultCode.CANCELLED)
        self._work()

    def _enter(self) -> None:
        self._entering = False
        failed = self.world.clock.rng.random() < self.world.plan.enter_failures
        if not failed:
            self.peer.entered = True
        if self.peer.connected:
            self.peer.out.append(m.Entered(12, "no luck") if failed else m.Entered(0))
        self._work()

    def _say(self) -> None:
        if self._link is not None and self.peer.connected:
            for message in self.peer.drain():
                self._link.send(0, message)

    # -- its work

    def _work(self) -> None:
        if not self.alive:
            return
        if not self.busy and (self.peer.entered or self.peer.leaving):
            self._next()
        self._say()

    def _next(self) -> None:
        peer, rng = self.peer, self.world.clock.rng
        # Whoever leaves gives back what has not started: its Recall is on the way or answered.
        found = None if peer.leaving else peer.take(self.now)
        if found is None:
            peer.flush()
            if peer.leaving and not peer.unrecorded and not peer.batches:
                if self._link is not None:
                    self._say()
                    self._link.send(0, m.Left())
                    self._link.close(0)
                self.end(0, None)
            return
        no, payload, attempt = found
        assert payload is not None
        self.busy = True
        self._task += 1
        self.world.truth.started(self, no, payload, attempt)
        kind = kind_of(payload)
        if kind == POISON and attempt <= payload[1]:
            self.after(0.001 * rng.random(), self._die, self._task, payload)
            return
        takes = self.slow * rng.random() * {LONG: 0.4, MEDIUM: 0.05}.get(kind, 0.003)
        if kind == BLOCK:
            peer.block(True)
        if takes > LONG_TASK:
            self.after(LONG_TASK, self._long, self._task, self.now)
        self.after(takes, self._done, self._task, payload, attempt)

    def _die(self, task: int, payload: bytes) -> None:
        if task == self._task and self.busy:
            self.world.truth.killed(payload)
            self.end(None, 11)

    def _long(self, task: int, began: float) -> None:
        if task == self._task and self.busy:
            self.peer.report_started(began)
            self._say()
            # A connection that comes back hears it again.
            self.after(0.05, self._long, task, began)

    def _done(self, task: int, payload: bytes, attempt: int) -> None:
        kind = kind_of(payload)
        if kind == FAIL:
            self._finish(task, ResultCode.FAILED, b"failed")
        elif kind == RETRY and attempt <= payload[1]:
            self._finish(task, ResultCode.RETRY, b"again")
        else:
            self._finish(task, ResultCode.SUCCEED, output_of(payload, attempt))
        self._work()

    def _finish(self, task: int, code: ResultCode, payload: bytes | None = None) -> None:
        if task != self._task or not self.busy:
            return
        self.busy = False
        self.peer.block(False)
        self.peer.done(int(code), payload, self.now)
        if not self.peer.batches or self.world.clock.rng.random() < 0.3:
            self.peer.flush()
