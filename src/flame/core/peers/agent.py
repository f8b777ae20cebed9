"""An agent's half of the conversation with the allocator, without any I/O: what it was told to run, what runs, what ended.

The shell (and the simulator) call `receive` for what comes in, `spawned`, `failed` and `exited` for what executors do, the methods of
`replicas.live[id]` for what containers do, and `tick` at `deadline()`. `drain` gives what to send, `actions` what to do: `Spawn` a process,
`Signal` a process group, and what `core.peers.replica` asks for.

Orders are kept by placement id: an order that comes twice is one order. A report that may not have arrived is sent again on the
next connection, after the list of what runs.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from flame.core.base.backoff import Backoff
from flame.core.model import messages as m
from flame.core.model.messages import Message
from flame.core.model.reactor import Effect
from flame.core.peers.replica import FINAL
from flame.core.peers.replicas import Replicas, ended

BEAT, LOOK = 5.0, 60.0
"""Seconds between heartbeats, and between looks at what the machine has, until the allocator says otherwise."""
QUICK = 2.0
"""A process that ends badly within this many seconds has failed to start."""
LACKING = Backoff(first=0.1, ceiling=1.0)
"""Waits after the node itself could not start something: trying costs little, and nobody says when it has room again."""
CANNOT_START = 127
"""Exit code of what never ran."""
MAX_REPORTS = 256
"""Ended placements that are reported again on a new connection."""


class Spawn(Effect, frozen=True, gc=False):
    """Start an executor process for this order; then say `spawned`, or `failed`."""

    order: m.StartPlacement


class Look(Effect, frozen=True, gc=False):
    """See what the machine has now; then say `changed` if that is something else."""


class Signal(Effect, frozen=True, gc=False):
    """Send a signal to the process group of a placement."""

    id: str
    pid: int
    number: int


@dataclass
class Process:
    """One order. `pid` is 0 until it is spawned; `start_at`: not before, after failed starts of the same application."""

    order: m.StartPlacement
    start_at: float = 0.0
    asked: bool = False
    pid: int = 0
    spawned_at: float = 0.0
    stopping: bool = False
    kill_at: float | None = None
    placed: m.Placed = field(init=False)

    def __post_init__(self) -> None:
        order = self.order
        self.placed = m.Placed(
            id=order.id,
            session=order.session,
            resources=order.resources,
            devices=order.devices,
            token=order.token,
            shim=order.spec.shim,
            address=order.address,
        )


class AgentPeer:
    """All nodes of one agent (usually one)."""

    def __init__(
        self,
        nodes: Sequence[m.RegisterNode],
        token: str = "",
        backoff: Backoff | None = None,
        restarts: Backoff | None = None,
    ) -> None:
        """`backoff`: before an executor of an application that cannot start; `restarts`: before a container is started again."""
        self.nodes = {node.name: node for node in nodes}
        self.token = token
        self.backoff = backoff or Backoff()
        self.replicas = Replicas(restarts)
        self.connected = False
        self.processes: dict[str, Process] = {}
        #: by application: failed starts in a row, and when the last one was
        self._failures: dict[str, tuple[int, float]] = {}
        #: the same of the node itself
        self._lacked = 0, 0.0
        self._reports: dict[str, m.PlacementExited] = {}
        self._finals: dict[str, m.ReplicaChanged] = {}
        self.beat, self.look = BEAT, LOOK
        self._beat_at = self._look_at = 0.0
        self._out: list[Message] = []
        self._actions: list[Effect] = []

    # -- connection

    def hello(self) -> m.Hello:
        return m.Hello("agent", token=self.token)

    def joined(self, now: float) -> None:
        """The allocator is there (again): say which nodes there are, what they run, and what has ended."""
        self.connected = True
        self.beat, self.look = BEAT, LOOK
        self._beat_at, self._look_at = now + self.beat, now + self.look
        for node in self.nodes.values():
            self._out.append(self._register(node))
        self._out += [replica.status() for replica in self.replicas.live.values()]
        for id, report in self._reports.items():
            self._out += [self._finals[id], report] if id in self._finals else [report]

    def lost(self) -> None:
        """The connection ended. Everything goes on running."""
        self.connected = False
        self._out.clear()

    def change(self, node: m.RegisterNode) -> None:
        """The node has other resources than before, or is new."""
        self.nodes[node.name] = node
        self._say(self._register(node))

    # -- what the allocator says

    def receive(self, message: Message, now: float) -> None:
        if isinstance(message, m.StartPlacement):
            self._start(message, now)
        elif isinstance(message, m.StartReplica):
            if message.id not in self._reports:
                self.replicas.start(message, now)
                self._gather()
        elif isinstance(message, m.StopPlacement):
            self._stop(message, now)
        elif isinstance(message, m.AgentTuned):
            self.beat, self.look = message.beat, message.look
            self._beat_at, self._look_at = min(self._beat_at, now + self.beat), now + self.look

    def _start(self, order: m.StartPlacement, now: float) -> None:
        if order.id in self.processes or order.id in self._reports:
            return
        failures, failed_at = self._failures.get(order.app, (0, 0.0))
        lacked, lacked_at = self._lacked
        # From the failure on, not from the order: one that is taken back and given again waits no longer for that.
        due = max(now, failed_at + self.backoff.delay(failures), lacked_at + LACKING.delay(lacked))
        process = Process(order, due)
        self.processes[order.id] = process
        self._spawn_if_due(process, now)

    def _stop(self, message: m.StopPlacement, now: float) -> None:
        process = self.processes.get(message.id)
        if message.id in self.replicas.live:
            self.replicas.live[message.id].stop(message.grace, now, message.reason)
            self._gather()
        elif process is None:
            self._say(self._reports.get(message.id) or m.PlacementExited(message.id, reason="not running here"))
        elif not process.asked:
            del self.processes[message.id]
            self._report(m.PlacementExited(message.id, reason="stopped before it started"))
        else:
            due = now + message.grace
            first = not process.stopping
            process.stopping = True
            process.kill_at = due if process.kill_at is None else min(due, process.kill_at)
            if first and process.pid and message.grace > 0:
                self._actions.append(Signal(message.id, process.pid, signal.SIGTERM))
            self._kill_if_due(process, now)

    # -- what processes do

    def spawned(self, id: str, pid: int, now: float) -> None:
        """The process of a Spawn runs."""
        process = self.processes[id]
        process.pid, process.spawned_at = pid, now
        self._say(m.PlacementStarted(id, pid))
        if process.stopping:
            self._actions.append(Signal(id, pid, signal.SIGTERM))
            self._kill_if_due(process, now)

    def failed(self, id: str, reason: str, now: float, *, of_node: bool = False) -> None:
        """A Spawn could not be done; reported as a shell reports a command it cannot start. `of_node`: for want of disk, memory or
        descriptors, which says nothing about the service: no process ended."""
        process = self.processes.pop(id)
        if of_node:
            self._lacked = self._lacked[0] + 1, now
        else:
            self._count_failure(process.order.app, now)
        self._report(m.PlacementExited(id, None if of_node else CANNOT_START, log=reason, reason=reason))

    def exited(
        self,
        id: str,
        exit_code: int | None,
        number: int | None,
        current: tuple[int, ...],
        log: str,
        now: float,
        reason: str = "",
    ) -> None:
        """A process ended. `current`: the run of the task it was executing, or (); `log`: its last lines; `reason`: why, where more is
        known than code and signal say."""
        process = self.processes.pop(id, None)
        if process is None:
            return
        bad = number is not None or exit_code != 0
        # Whoever got as far as a task has started well: a task that kills it is not to slow its application down.
        if bad and not current and not process.stopping and now - process.spawned_at < QUICK:
            self._count_failure(process.order.app, now)
        else:
            self._failures.pop(process.order.app, None)
            self._lacked = 0, 0.0
        self._report(m.PlacementExited(id, exit_code, number, current, log, reason))

    # -- time

    def tick(self, now: float) -> None:
        if self.connected and now >= self._beat_at:
            self._beat_at = now + self.beat
            self._out += [m.Heartbeat(name, now) for name in self.nodes]
        if self.connected and now >= self._look_at:
            self._look_at = now + self.look
            self._actions.append(Look())
        for process in list(self.processes.values()):
            self._spawn_if_due(process, now)
            self._kill_if_due(process, now)
        self.replicas.tick(now)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        due = [self._beat_at, self._look_at] if self.connected else []
        for process in self.processes.values():
            if not process.asked:
                due.append(process.start_at)
            if process.kill_at is not None and process.pid:
                due.append(process.kill_at)
        if (at := self.replicas.deadline()) is not None:
            due.append(at)
        return min(due, default=None)

    def drain(self) -> list[Message]:
        """What to send now."""
        self._gather()
        out, self._out = self._out, []
        return out

    def actions(self) -> list[Effect]:
        """What to do now, in order."""
        self._gather()
        actions, self._actions = self._actions, []
        return actions + self.replicas.actions()

    # -- inside

    def _gather(self) -> None:
        """What replicas have to tell. After the last word about one comes the end of its placement."""
        for report in self.replicas.drain():
            self._say(report)
            if report.phase in FINAL:
                self._finals[report.id] = report
                self._report(ended(report))

    def _register(self, node: m.RegisterNode) -> m.RegisterNode:
        executors = tuple(
            m.Placed(p.id, p.session, p.resources, p.devices, process.pid, p.token, p.shim, p.address)
            for process in self.processes.values()
            if process.order.node == node.name
            for p in (process.placed,)
        )
        return replace(node, running=(*executors, *self.replicas.running(node.name)))

    def _spawn_if_due(self, process: Process, now: float) -> None:
        if not process.asked and now >= process.start_at:
            process.asked = True
            self._actions.append(Spawn(process.order))

    def _kill_if_due(self, process: Process, now: float) -> None:
        if process.pid and process.kill_at is not None and now >= process.kill_at:
            process.kill_at = None
            self._actions.append(Signal(process.order.id, process.pid, signal.SIGKILL))

    def _count_failure(self, app: str, now: float) -> None:
        self._failures[app] = self._failures.get(app, (0, 0.0))[0] + 1, now

    def _report(self, report: m.PlacementExited) -> None:
        self._reports[report.id] = report
        while len(self._reports) > MAX_REPORTS:
            oldest = next(iter(self._reports))
            del self._reports[oldest]
            self._finals.pop(oldest, None)
        self._say(report)

    def _say(self, message: Message) -> None:
        if self.connected:
            self._out.append(message)
