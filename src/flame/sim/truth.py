"""What really happened, seen from outside, and the promises it is held against.

no acknowledged task is lost; each has exactly one recorded result, of its current attempt
clients get what was recorded, once, and only after it was committed
counters equal states; every closed session drains; every future resolves
no service process serves two sessions; no node runs more than it has
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flame.core.model import messages as m
from flame.core.model.payloads import decode_failure, unpack_payloads
from flame.core.model.states import PlacementState, ResultCode, TaskState
from flame.core.sessions import records as r
from flame.sim.disk import Row
from flame.sim.tasks import attempt_of

if TYPE_CHECKING:
    from flame.core.allocator.state import Book
    from flame.sim.client import ClientProcess, Ticket
    from flame.sim.executor import ExecutorProcess
    from flame.sim.manager import Manager
    from flame.sim.world import World

LEAVING = 15.0
"""Seconds in which an idle executor that is to leave has left; killing one that hangs takes ten."""
DEATHS = 12
"""Executors one task may kill: three that count, and those whose report was lost."""
Task = tuple[str, int]
STATES = {
    int(ResultCode.SUCCEED): TaskState.SUCCEED,
    int(ResultCode.FAILED): TaskState.FAILED,
    int(ResultCode.CANCELLED): TaskState.CANCELLED,
}
MIXED = ("task_failed", "task_timeout", "executor_lost", "service_failed")


class Truth:
    """Fed by the processes of the world; raises AssertionError at the first broken promise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log: dict[int, bytes] = {}
        self.acked: dict[Task, bytes] = {}
        self.served: dict[str, str] = {}
        self.runs: dict[tuple[str, int, int, int], str] = {}
        self.lent = False
        #: placements that are to leave, and since when they could
        self.leaving: dict[str, float] = {}
        self.deaths: dict[bytes, int] = {}
        self._forget()

    def _forget(self) -> None:
        self.ended: dict[Task, tuple[int, bytes | None]] = {}
        self.submitted: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.attempts: dict[Task, int] = {}
        self.payloads: dict[bytes | None, None] = {}
        self.counts: dict[str, list[int]] = {}
        self.closed_sessions: dict[str, None] = {}

    # -- the journal

    def committed(self, rows: Sequence[Row]) -> None:
        for row in rows:
            assert row.position not in self.log, f"row {row.position} is written twice"
            self.log[row.position] = row.body
            self._read(r.decode_record(row.body))

    def recovered(self, manager: Manager) -> None:
        """A manager has replayed its disk: what was known to be committed is a prefix of it, or a power cut took a suffix."""
        disk, last = manager.disk, manager.reactor.core.position
        lost = [position for position in self.log if position > last]
        assert not lost or disk.durability == "process", f"rows {lost} were committed and are gone"
        for position, row in disk.rows.items():
            known = self.log.get(position)
            assert known is None or known == row.body, f"row {position} has changed"
        if lost:
            self.log = {position: body for position, body in self.log.items() if position <= last}
            self._forget()
            for position in sorted(self.log):
                self._read(r.decode_record(self.log[position]))
            self.acked = {task: payload for task, payload in self.acked.items() if self._exists(manager, task)}
            self.runs.clear()
        self.committed([disk.rows[p] for p in sorted(disk.rows) if p not in self.log and p <= last])
        for task in self.acked:
            assert self._exists(manager, task), f"{task} was acknowledged and is gone"

    @staticmethod
    def _exists(manager: Manager, task: Task) -> bool:
        session = manager.reactor.core.sessions.get(task[0])
        return session is not None and (bool(session.archive) or session.table.has(task[1]))

    def _read(self, record: r.Record) -> None:
        if isinstance(record, r.TasksSubmitted):
            key = record.session, record.client, record.seq
            assert key not in self.submitted, f"frame {key} became tasks twice"
            for payload in unpack_payloads(record.lengths, record.blob):
                assert payload not in self.payloads, f"{record.session}: {payload!r} was submitted twice"
                self.payloads[payload] = None
            count = len(record.lengths) >> 2
            self.submitted[key] = record.first, count
            for no in range(record.first, record.first + count):
                assert (record.session, no) not in self.attempts, f"{record.session}/{no} is numbered twice"
                self.attempts[record.session, no] = 1
        elif isinstance(record, r.TaskReturned):
            task = record.session, record.no
            assert task not in self.ended, f"{task} was requeued after its end"
            assert record.attempt == self.attempts[task] + 1, (
                f"{task}: attempt {record.attempt} after {self.attempts[task]}"
            )
            self.attempts[task] = record.attempt
        elif isinstance(record, r.TasksEnded):
            payloads = unpack_payloads(record.lengths, record.blob)
            self._end(record.session, record.runs, record.codes, payloads)
        elif isinstance(record, r.TasksCancelled):
            self._end(record.session, record.runs, None, ())
        elif isinstance(record, r.SessionClosed):
            self.closed_sessions[record.id] = None

    def _end(self, session: str, runs: Sequence[int], codes: bytes | None, payloads: Sequence[bytes | None]) -> None:
        at = 0
        counts = self.counts.setdefault(session, [0, 0, 0, 0])
        for first, count in zip(runs[::2], runs[1::2], strict=True):
            for no in range(first, first + count):
                task = session, no
                assert task not in self.ended, f"{task} has two recorded results"
                assert task in self.attempts, f"{task} ended and was never submitted"
                if codes is None:
                    code, payload = int(ResultCode.CANCELLED), None
                else:
                    code, payload = (codes[at] if codes else 0), payloads[at]
                if code == ResultCode.SUCCEED:
                    assert payload is not None
                    now = self.attempts[task]
                    assert attempt_of(payload) == now, (
                        f"{task}: the result of attempt {attempt_of(payload)}, {now} is current"
                    )
                self.ended[task] = code, payload
                counts[code] += 1
                at += 1

    # -- clients

    def acknowledged(self, client: ClientProcess, message: m.Submitted) -> None:
        session = message.session
        have = self.submitted.get((session, client.name, message.seq))
        assert have == (message.first, message.count), f"{session}: acknowledged {message}, committed is {have}"
        for waiting in client.window.waiting:
            if waiting.first == message.first:
                for at, ticket in enumerate(waiting.tickets):
                    if ticket is not None:
                        task = session, message.first + at
                        assert self.acked.get(task, ticket.payload) == ticket.payload, f"{task} is two tasks"
                        self.acked[task] = ticket.payload

    def resolved(self, client: ClientProcess, ticket: Ticket) -> None:
        assert isinstance(ticket.result, tuple)
        code, payload, no = ticket.result
        task = client.script.session, no
        assert task in self.ended, f"{task}: told {code}, but nothing is committed"
        assert self.ended[task] == (code, payload) or (code == self.ended[task][0] == ResultCode.CANCELLED), (
            f"{task}: told {code} {payload!r}, recorded {self.ended[task]}"
        )
        if code == ResultCode.SUCCEED:
            assert payload is not None
            assert payload[1:] == ticket.payload, f"{task}: {ticket.payload!r} got the result {payload!r}"
        elif code == ResultCode.FAILED and payload not in (b"failed", b"again"):
            assert payload is not None
            assert decode_failure(payload).code in MIXED, f"{task} failed with {payload!r}"

    def seen(self, task: m.TaskInfo) -> None:
        """What a client reads of a task. Terminal states and outputs must be those that are recorded."""
        code, payload = self.ended.get((task.session, task.no), (None, None))
        if task.state < TaskState.SUCCEED:
            return
        assert code is not None, f"{task.session}/{task.no}: seen {task.state}, but nothing is committed"
        assert STATES[code] == task.state, f"{task.session}/{task.no}: seen {task.state}, recorded {code}"
        if code == ResultCode.SUCCEED:
            assert task.output == payload, f"{task.session}/{task.no}: seen {task.output!r}, recorded {payload!r}"
        known = self.acked.get((task.session, task.no))
        assert known is None or task.input in (None, known), f"{task.session}/{task.no}: seen input {task.input!r}"

    def dispatched(self, manager: Manager, message: m.Assign) -> None:
        """Lower numbers first: nothing that waits is older than what was just handed out."""
        session = manager.reactor.core.sessions[message.session]
        waiting = [no for a, b in session.queue.ranges() for no in range(a, b) if session.table.state(no) == 0]
        oldest = min(waiting, default=None)
        assert oldest is None or message.runs[0] < oldest, f"{session.id}: {message.runs[0]} before {oldest}"

    def closed(self, info: m.SessionInfo) -> None:
        assert info.state == 1, f"{info.id} is not closed"
        assert info.id in self.closed_sessions, f"{info.id}: told closed, but nothing is committed"
        succeed, failed, _, cancelled = self.counts.get(info.id, [0, 0, 0, 0])
        told = info.pending, info.running, info.succeed, info.failed, info.cancelled
        assert told == (0, 0, succeed, failed, cancelled), (
            f"{info.id}: told {told}, recorded {self.counts.get(info.id)}"
        )

    # -- processes

    def spawned(self, executor: ExecutorProcess) -> None:
        """A lent slot may serve a second process; a killed agent's children are dead before it is back."""
        agent, node = executor.agent, executor.order.node
        lent = self.world.allocator.reactor.book.nodes.get(node)
        if self.lent or (lent is not None and lent.overdraft):
            return
        capacity = next(info.allocatable["cpu"] for info in agent.nodes if info.name == node)
        used = sum(e.order.resources.get("cpu", 0) for e in agent.executors.values() if e.order.node == node)
        assert used <= capacity, f"{node} runs {used} milli-CPU of {capacity}"

    def killed(self, payload: bytes) -> None:
        """A task has killed its executor. Reports may be lost with their agent, but not forever."""
        self.deaths[payload] = self.deaths.get(payload, 0) + 1
        assert self.deaths[payload] <= DEATHS, f"{payload!r} has killed {self.deaths[payload]} executors"

    def draining(self, book: Book) -> None:
        """Whoever is to leave does so at its next task boundary, once everything is healed."""
        now = self.world.clock.now
        marked = [p.id for p in book.placements.values() if p.state == PlacementState.DRAINING]
        self.leaving = {id: self.leaving.get(id, now) for id in marked}
        processes = {id: e for agent in self.world.agents for id, e in agent.executors.items()}
        for id, since in self.leaving.items():
            executor = processes.get(id)
            if executor is not None and executor.busy and self.world.plan.faults:
                self.leaving[id] = now
            assert now - since < LEAVING or executor is None or not self.world.healed, (
                f"{id} was to leave {now - since:.0f} s ago and idles"
            )

    def entered(self, executor: ExecutorProcess, session: str) -> None:
        first = self.served.setdefault(f"{executor.name}.{executor.pid}", session)
        assert first == session, f"process {executor.pid} serves {first} and {session}"

    def started(self, executor: ExecutorProcess, no: int, payload: bytes, attempt: int) -> None:
        current = executor.peer.current
        assert current is not None
        _, epoch, lease, _ = current
        session = executor.peer.session
        run = session, no, epoch, lease
        assert run not in self.runs, f"{session}/{no} was started twice under lease {epoch}.{lease}"
        self.runs[run] = executor.name
        told = self.leaving.get(executor.name, self.world.clock.now)
        calm = not self.world.plan.faults
        assert not calm or self.world.clock.now - told < 0.05, (
            f"{executor.name} takes tasks and is to leave since {told}"
        )
        served = self.served[f"{executor.name}.{executor.pid}"]
        assert served == session == executor.order.session, (
            f"{executor.name} runs a task of {session}, entered {served}"
        )
        known = self.acked.get((session, no))
        assert known is None or known == payload, f"{session}/{no} is {known!r}, was handed out as {payload!r}"
        if payload[0] == 6:
            self.lent = True

    # -- the end

    def final(self) -> None:
        """Everything is healed and quiet."""
        world = self.world
        for client in world.clients:
            for ticket in client.tickets:
                assert ticket.result is not None, f"{client.name}: {ticket.payload!r} never resolved"
        for task in self.acked:
            assert task in self.ended, f"{task} was acknowledged and has no result"
        for id, session in world.manager.reactor.core.sessions.items():
            assert session.state == 1, f"{id} is still open"
        alive = [name for agent in world.agents for name in agent.executors]
        assert not alive, f"executors {alive} outlive their sessions"
        assert not world.allocator.reactor.book.placements, "placements outlive their sessions"
        kept = list(world.manager.reactor.core.executors)
        assert not kept, f"the manager still knows executors {kept} that are gone"
