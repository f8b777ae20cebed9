"""Planted bugs: each takes one promise away from the code, and the simulator must notice.

A mutant is a context manager that patches the running program and takes the patch back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

import msgspec

from flame.core.allocator import cycle as allocator_cycle
from flame.core.allocator import managers as allocator_managers
from flame.core.allocator import nodes as allocator_nodes
from flame.core.allocator import placements as allocator_placements
from flame.core.allocator import reactor as allocator_reactor
from flame.core.allocator import workloads as allocator_workloads
from flame.core.allocator.state import Book
from flame.core.model import messages as m
from flame.core.model.reactor import NOW, Send
from flame.core.model.states import SessionState
from flame.core.objects.records import ObjectKept
from flame.core.peers.client import ClientPeer, SessionWindow
from flame.core.peers.executor import ExecutorPeer
from flame.core.scheduler.proposal import DemandState, Proposal
from flame.core.sessions import adoption, dispatch, intake, losses, reactor, results, running
from flame.core.sessions import apply as journal
from flame.core.sessions import records as r
from flame.core.sessions.queue import RunQueue
from flame.core.sessions.state import Core, Handout
from flame.core.sessions.table import TaskTable

Mutant = Callable[[], AbstractContextManager[object]]
MUTANTS: dict[str, Mutant] = {}


def mutant(make: Callable[[], Iterator[None]]) -> Mutant:
    context = contextmanager(make)
    MUTANTS[make.__name__] = context
    return context


def replaced(owner: object, name: str, value: object) -> AbstractContextManager[object]:
    return patch.object(owner, name, value)


# -- journal and acknowledgements


@mutant
def skip_a_commit():
    """Results are told, and never written."""
    persist = Core.persist

    def forgetful(self, record):
        if isinstance(record, r.TasksEnded):
            self.apply(self, record, self.position)
            return self.position
        return persist(self, record)

    with replaced(Core, "persist", forgetful):
        yield


@mutant
def acknowledge_before_the_commit():
    def eager(self, peer, message, request=0, when=NOW):
        if peer is not None and peer in self.peers:
            self.out.append(Send(peer, message, request, NOW))

    with replaced(Core, "send", eager):
        yield


@mutant
def double_acknowledge():
    """A frame that is sent again becomes new tasks."""
    real = intake.submitter

    def amnesic(session, client):
        by = real(session, client)
        by.last = 0
        return by

    with replaced(intake, "submitter", amnesic):
        yield


@mutant
def forget_submit_keys_in_a_snapshot():
    with replaced(journal, "_remember_key", lambda session, frame: None):
        yield


@mutant
def forget_cancellations_at_recovery():
    real = reactor.Sessions._recorded

    def deaf(self, event):
        if not isinstance(event.record, r.TasksCancelled):
            real(self, event)

    with replaced(reactor.Sessions, "_recorded", deaf):
        yield


@mutant
def lose_attempts_in_a_snapshot():
    real = reactor.save

    def shallow(session, columns):
        return msgspec.structs.replace(real(session, columns), attempts={})

    with replaced(reactor, "save", shallow):
        yield


@mutant
def keep_the_epoch():
    real = reactor.Sessions.begin

    def begin(self, epoch, history, now):
        return real(self, 1, history, now)

    with replaced(reactor.Sessions, "begin", begin):
        yield


@mutant
def hide_lost_history():
    real = reactor.Sessions._joined

    def joined(self, peer, hello):
        real(self, peer, msgspec.structs.replace(hello, history=""))

    with replaced(reactor.Sessions, "_joined", joined):
        yield


# -- leases, attempts, queues


@mutant
def ignore_the_fence():
    """Every result is recorded, whoever has the task now."""

    def gullible(session, executor, message):
        kept, place = [], 0
        it = iter(message.runs)
        for first, count, *_ in zip(it, it, it, it, it, strict=True):
            kept += [(a, b, place + a - first) for a, b in session.table.live_in(first, first + count)]
            place += count
        executor.handouts.clear()
        executor.outstanding = executor.started = 0
        for no in [n for n in session.running if any(a <= n < b for a, b, _ in kept)]:
            del session.running[no]
        return kept

    with replaced(results, "_settle_handouts", gullible):
        yield


@mutant
def reuse_an_attempt():
    with replaced(TaskTable, "attempt", lambda self, no: self.attempts.get(no, 1) - (no in self.attempts)):
        yield


@mutant
def adopt_without_the_highest_lease():
    def naive(core, session, executor, first, end, key, attempt):
        if not session.adopt_until or not session.table.has(end - 1):
            return first
        executor.handouts[key] = Handout(first, end, *key)
        executor.outstanding += end - first
        return end

    with replaced(adoption, "_take_over", naive):
        yield


@mutant
def adopt_what_was_never_committed():
    """Hand-outs leave before their tasks are committed; a task the journal does not have is adopted all the same."""
    real = adoption._take_over

    def trusting(core, session, executor, first, end, key, attempt):
        session.recovered = len(session.table)
        return real(core, session, executor, first, end, key, attempt)

    with replaced(adoption, "_take_over", trusting):
        yield


@mutant
def adopt_over_attempts():
    """A returned task is adopted with the attempt that was lost."""
    real = adoption._take_over

    def careless(core, session, executor, first, end, key, attempt):
        with replaced(TaskTable, "attempt", lambda self, no: attempt):
            return real(core, session, executor, first, end, key, attempt)

    with replaced(adoption, "_take_over", careless):
        yield


@mutant
def lose_a_recall():
    """The executor drops what it is asked to give back, and says nothing."""

    def silent(self, message):
        self.batches.clear()

    with replaced(ExecutorPeer, "_recall", silent):
        yield


@mutant
def requeue_nothing():
    def nothing(session, first, end):
        """What came back waits nowhere."""

    with (
        replaced(running, "requeue", nothing),
        replaced(losses, "requeue", nothing),
        replaced(adoption, "requeue", nothing),
    ):
        yield


@mutant
def requeue_out_of_order():
    def pop(self, most):
        self._heap.sort()
        first, end = self._heap.pop()
        if end - first > most:
            self._heap.append((first, end - most))
            first = end - most
        return first, end

    with replaced(RunQueue, "pop", pop):
        yield


@mutant
def forget_counters():
    real = TaskTable.set_state

    def set_state(self, no, state):
        counts = list(self.counts)
        real(self, no, state)
        self.counts = counts

    with replaced(TaskTable, "set_state", set_state):
        yield


@mutant
def never_give_a_killer_up():
    real = losses.lose

    def patient(core, session, no, report, blame):
        real(core, session, no, report, False)

    with replaced(losses, "lose", patient):
        yield


@mutant
def forget_a_lost_executor():
    """Its connection ended and nobody looks after its tasks."""
    with replaced(losses, "settle", lambda core, executor, report: executor.handouts.clear()):
        yield


@mutant
def cancel_what_has_ended():
    real = TaskTable.pending_in

    def all_of_it(self, first, end):
        return [(first, end)] if end - first == 1 else real(self, first, end)

    with replaced(TaskTable, "pending_in", all_of_it):
        yield


# -- peers


@mutant
def drop_a_resend():
    """An executor that reconnects does not send its unrecorded results again."""

    def joined(self):
        self.connected = True

    with replaced(ExecutorPeer, "joined", joined):
        yield


@mutant
def submit_again_under_a_new_key():
    real = ClientPeer.joined

    def joined(self, welcome):
        for window in self.windows.values():
            for at, (frame, tickets) in enumerate(list(window.unacked)):
                self._seq += 1
                window.unacked[at] = msgspec.structs.replace(frame, seq=self._seq), tickets
        real(self, welcome)

    with replaced(ClientPeer, "joined", joined):
        yield


@mutant
def do_not_resume():
    real = ClientPeer.joined

    def joined(self, welcome):
        real(self, welcome)
        self.out = [message for message in self.out if not isinstance(message, m.Resume)]

    with replaced(ClientPeer, "joined", joined):
        yield


@mutant
def ignore_early_results():
    """A result that overtakes the acknowledgement of its frame is dropped."""
    with replaced(SessionWindow, "_resolve_early", lambda self, entry: None):
        yield


@mutant
def skip_a_delivery():
    real = results.deliver

    def deliver(core, session, by):
        if by.cursor == 2 and len(session.table.ends) > 3 and not by.fetching:
            by.cursor += 1
        real(core, session, by)

    with replaced(results, "deliver", deliver):
        yield


@mutant
def bind_one_process_to_two_sessions():
    """An executor whose session is closed gets another one instead of leaving."""
    real = dispatch.leave

    def recycle(core, executor):
        other = next(
            (s for s in core.sessions.values() if s.state == SessionState.OPEN and s.id != executor.session), None
        )
        if executor.peer is None or other is None or executor.leaving or executor.handouts:
            real(core, executor)
            return
        old = core.sessions.get(executor.session)
        if old is not None:
            old.executors.pop(executor.id, None)
        executor.session = other.id
        other.executors[executor.id] = executor
        app = core.apps[other.spec.application]
        core.send(executor.peer, m.Enter(other.id, app.name, app.spec, None, other.spec.resources), when=NOW)

    with replaced(intake, "leave", recycle):
        yield


# -- allocator


@mutant
def oversubscribe():
    with (
        replaced(Proposal, "has_room", lambda self, node, resources: {}),
        replaced(allocator_cycle, "may_begin", lambda book, demand, node: True),
    ):
        yield


@mutant
def exceed_the_maximum():
    with (
        replaced(DemandState, "target", property(lambda self: max(self.view.want, self.view.min))),
        replaced(Proposal, "room", lambda self, demand: True),
        replaced(allocator_cycle, "may_begin", lambda book, demand, node: True),
    ):
        yield


@mutant
def skip_a_drain():
    """Executors that should leave are marked, and never told."""

    def drain(book, placement, reason):
        if placement.state != 3:
            placement.step("drain")

    with replaced(allocator_cycle, "drain", drain):
        yield


@mutant
def keep_executors_of_closed_sessions():
    with (
        replaced(intake, "leave", lambda core, executor: None),
        replaced(reactor, "leave", lambda core, executor: None),
        replaced(allocator_managers, "stop", lambda book, placement, grace, reason: None),
    ):
        yield


@mutant
def believe_in_lost_agents():
    """What ran on an agent that is gone is not given up."""
    with (
        replaced(allocator_nodes, "agent_lost", lambda book, peer: None),
        replaced(allocator_nodes, "end", lambda book, placement, reason: None),
    ):
        yield


@mutant
def bring_back_the_dead():
    """Placements that were given up are adopted when their agent returns."""
    real = allocator_nodes.adopt

    def adopt(book, placed, node):
        gone = book.gone.pop(placed.id, None)
        real(book, placed, node)
        if gone is not None:
            book.gone[placed.id] = gone

    with replaced(allocator_nodes, "adopt", adopt):
        yield


@mutant
def forget_who_runs_at_registration():
    """A returning agent's processes are not counted."""
    with replaced(allocator_nodes, "adopt", lambda book, placed, node: None):
        yield


@mutant
def lose_an_exit():
    """The agent's report of an ended process is dropped."""
    handlers = {**allocator_reactor.AGENT, m.PlacementExited: lambda book, peer, message: None}
    with replaced(allocator_reactor, "AGENT", handlers):
        yield


@mutant
def drop_the_report():
    """The manager is not told that a process ended."""
    real = allocator_placements.end

    def end(book, placement, reason, exit=None):
        placement.zombie = True
        demand = book.demands.get(placement.session)
        if demand is not None:
            demand.placements.pop(placement.id, None)
        real(book, placement, reason, exit)

    with replaced(allocator_placements, "end", end):
        yield


@mutant
def forget_a_blocked_slot():
    """A connection that comes back does not say that its service waits, or no longer waits."""
    with replaced(ExecutorPeer, "block", lambda self, waiting: self.out.append(m.Blocked(self.session, True))):
        yield


# -- workloads


@mutant
def lose_objects():
    """What clients write is acknowledged, and not journalled."""
    real = Book.persist

    def persist(self, record):
        if isinstance(record, ObjectKept):
            self.apply(record)
        else:
            real(self, record)

    with replaced(Book, "persist", persist):
        yield


@mutant
def forget_what_was_to_end():
    """An agent that comes back is not told again which processes to end."""
    with replaced(allocator_nodes, "stop", lambda book, placement, grace, reason: None):
        yield


@mutant
def start_replicas_anew():
    """What a returning agent runs of a workload is not counted: its ranks are started elsewhere."""
    with replaced(allocator_placements, "_adopt_replica", lambda book, placed, node: None):
        yield


@mutant
def take_a_lost_replica_for_done():
    """A rank whose process is gone counts as one that ended well."""
    real = allocator_workloads.ended

    def ended(job, id, outcome, *rest):
        return real(job, id, "succeeded" if outcome == "lost" else outcome, *rest)

    with replaced(allocator_workloads, "ended", ended):
        yield


@mutant
def forget_which_ranks_are_done():
    """After a restart of the allocator a training that has succeeded begins again."""
    real = allocator_workloads.restore

    def restore(job, status):
        real(job, {**status, "phase": "Pending", "completedRanks": []})

    with replaced(allocator_workloads, "restore", restore):
        yield
