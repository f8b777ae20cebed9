"""Handing tasks out: credits, hand-outs, recalls; and telling the allocator what a session could use."""

from __future__ import annotations

from flame.core.model.messages import (
    BY_HAND,
    NATIVE,
    Assign,
    DemandChanged,
    DemandGone,
    ExecutorChanged,
    KillExecutor,
    Leave,
    Recall,
)
from flame.core.model.payloads import FRAME_BYTES, FRAME_TASKS
from flame.core.model.reactor import NOW
from flame.core.model.states import ExecutorState, SessionState
from flame.core.sessions.state import Core, Executor, Handout, Session
from flame.core.sessions.table import PENDING, Frame


def goal(core: Core, session: Session, executor: Executor, ready: int) -> int:
    """Tasks this executor should have: its credit in measured time, but never more than its share of what there is."""
    if not executor.mean:
        return 1  # nothing measured yet
    share = -(-(session.queued + sum(e.outstanding for e in session.executors.values())) // ready)
    # Two at least, while tasks are shorter than what is called long: the next one is there when the last one ends, and is recalled when it
    # would have to wait.
    least = 2 if executor.mean < core.settings.long_task else 1
    credit = core.settings.credit_away if executor.away else core.settings.credit
    return max(1, min(max(least, int(credit / executor.mean)), share, FRAME_TASKS))


def feed(core: Core, session: Session) -> None:
    """Hand out what may be handed out. Refills at half the goal, so that an executor never runs dry while results travel."""
    if not session.queue or core.now < session.adopt_until:
        return
    ready = [e for e in session.executors.values() if e.usable]
    for executor in sorted(ready, key=lambda e: e.outstanding) if len(ready) > 1 else ready:
        want = goal(core, session, executor, len(ready))
        if executor.outstanding * 2 <= want:
            hand_out(core, session, executor, want - executor.outstanding)
        if not session.queue:
            return


def hand_out(core: Core, session: Session, executor: Executor, most: int) -> None:
    """Give up to `most` waiting tasks to the executor, in as few messages as their options and size allow."""
    spans: list[tuple[Frame, int, int]] = []
    size = 0
    while most > 0 and session.queue:
        first, end = session.queue.pop(most)
        for a, b in session.table.pending_in(first, end):
            for frame, lo, stop in session.table.spans(a, b):
                if spans and spans[-1][0].timeout != frame.timeout:
                    _assign(core, session, executor, spans)
                    spans, size = [], 0
                hi = _fit(frame, lo, stop, size)
                if hi > lo:
                    spans.append((frame, lo, hi))
                    size += _bytes(frame, lo, hi)
                    most -= hi - lo
                if hi < stop:  # too large for this message: the rest waits for the next round
                    session.queue.push(hi, b)
                    session.queue.push(b, end)
                    _assign(core, session, executor, spans)
                    return
    if spans:
        _assign(core, session, executor, spans)


def _bytes(frame: Frame, lo: int, hi: int) -> int:
    return len(frame.blob) * (hi - lo) // frame.count


def _fit(frame: Frame, lo: int, hi: int, size: int) -> int:
    """How far of [lo, hi) a message that already has `size` bytes can take; at least one task when it has none."""
    room = FRAME_BYTES - size
    if _bytes(frame, lo, hi) <= room:
        return hi
    each = max(1, len(frame.blob) // frame.count)
    return min(hi, lo + max(0 if size else 1, room // each))


def _assign(core: Core, session: Session, executor: Executor, spans: list[tuple[Frame, int, int]]) -> None:
    runs: list[int] = []
    lengths: list[bytes] = []
    blobs: list[bytes] = []
    for frame, lo, hi in spans:
        length, blob = frame.cut(lo, hi)
        lengths.append(length)
        blobs.append(blob)
        for a, b, attempt in _by_attempt(session, lo, hi):
            last = executor.handouts.get((core.epoch, core.leases)) if runs else None
            if last is not None and last.end == a and runs[-1] == attempt:
                last.end = b
                runs[-4] += b - a
            else:
                core.leases += 1
                executor.handouts[core.epoch, core.leases] = Handout(a, b, core.epoch, core.leases)
                runs += (a, b - a, core.epoch, core.leases, attempt)
        executor.outstanding += hi - lo
        session.queued -= hi - lo
    message = Assign(session.id, tuple(runs), b"".join(lengths), b"".join(blobs), spans[0][0].timeout)
    core.send(executor.peer, message, when=NOW)
    if executor.idle_told:
        executor.idle_told = False
        core.tell(ExecutorChanged(executor.id, session.id, executor.state))


def _by_attempt(session: Session, lo: int, hi: int) -> list[tuple[int, int, int]]:
    attempts = session.table.attempts
    if not attempts:
        return [(lo, hi, 1)]
    out: list[tuple[int, int, int]] = []
    for no in range(lo, hi):
        attempt = attempts.get(no, 1)
        if out and out[-1][2] == attempt:
            out[-1] = (out[-1][0], no + 1, attempt)
        else:
            out.append((no, no + 1, attempt))
    return out


def requeue(session: Session, first: int, end: int) -> None:
    """Tasks that were with an executor wait again; only those still pending."""
    for a, b in session.table.pending_in(first, end):
        session.queue.push(a, b)
        session.queued += b - a


def forget(executor: Executor, handout: Handout) -> None:
    """The hand-out has no tasks left with the executor."""
    executor.handouts.pop((handout.epoch, handout.lease), None)


def recall(core: Core, executor: Executor) -> None:
    """Ask back everything that has not started."""
    runs: list[int] = []
    for h in executor.handouts.values():
        first = h.next + 1 if h.next == executor.started else h.next
        if first < h.end:
            runs += (first, h.end - first, h.epoch, h.lease, 1)
    if runs:
        executor.recalling = True
        core.send(executor.peer, Recall(executor.session, tuple(runs)), when=NOW)


def lend(core: Core, executor: Executor, waiting: bool) -> None:
    """The service waits for its own session's tasks (or no longer): it lends its slot and is fed none of them."""
    executor.blocked = waiting
    if waiting:
        recall(core, executor)
    core.tell(ExecutorChanged(executor.id, executor.session, executor.state, lent=waiting))


# -- demand ----------------------------------------------------------------------------------------------------------------


def wanted(session: Session) -> int:
    """Executors the session could use: its outstanding tasks, rounded up to a power of two above 16, so that a long queue is told
    in few messages."""
    want = session.table.live
    return want if want <= 16 else min(1 << (want - 1).bit_length(), 4096)


def demand_of(core: Core, session: Session, want: int) -> DemandChanged:
    spec, app = session.spec, core.apps[session.spec.application]
    idle = sum(1 for e in session.executors.values() if e.usable and not e.outstanding)
    return DemandChanged(
        session.id, spec.application, app.spec, spec.resources, want, idle, spec.min_instances, spec.max_instances,
        spec.priority, session.created, hold=session.held, tenant=spec.tenant, namespace=spec.namespace,
    )  # fmt: skip


def measure(core: Core, session: Session) -> None:
    """Tell the allocator when the demand grew; when it shrank, a moment later (a lone client goes up and down all the time)."""
    if core.allocator is None:
        return
    if session.state == SessionState.CLOSED:
        if session.demand is not None:
            session.demand = None
            core.tell(DemandGone(session.id))
        return
    want, told = wanted(session), session.demand
    session.peak = max(session.peak, want)
    # `idle` keeps the allocator from adding executors: it must not be left standing while tasks wait.
    if told is None or want > told.want or told.hold != session.held or (told.idle and session.queued):
        _tell_demand(core, session, want)
    elif not session.demand_due and (want < told.want or not session.table.counts[PENDING]):
        session.demand_due = True
        core.timer(core.now + core.settings.idle_check, settle_demand, session.id)


def _tell_demand(core: Core, session: Session, want: int) -> None:
    if session.spec.application not in core.apps:
        return
    demand = demand_of(core, session, want)
    if demand != session.demand:
        session.demand = demand
        core.tell(demand)


def settle_demand(core: Core, id: str) -> None:
    """The pause is over: say the lower demand and who is idle."""
    session = core.sessions.get(id)
    if session is None:
        return
    session.demand_due = False
    if session.state == SessionState.CLOSED:
        return
    # The most it wanted during the pause: one task after another is a demand of one, not of one and none in turn.
    want, session.peak = max(session.peak, wanted(session)), wanted(session)
    if session.demand is not None and want != session.demand.want:
        _tell_demand(core, session, want)
    waiting = want > session.peak
    for executor in session.executors.values():
        if not executor.usable or executor.outstanding or executor.idle_told:
            continue
        if core.now - executor.idle_since < core.settings.idle_check * 0.9:
            waiting = True
            continue
        executor.idle_told = True
        core.tell(ExecutorChanged(executor.id, session.id, executor.state, idle=True))
        core.timer(executor.idle_since + _delay(core, session), release_idle, executor.id)
    if waiting:
        session.demand_due = True
        core.timer(core.now + core.settings.idle_check, settle_demand, session.id)


def _delay(core: Core, session: Session) -> float:
    app = core.apps.get(session.spec.application)
    return app.spec.delay_release if app else 0.0


def release_idle(core: Core, id: str) -> None:
    """The executor may have been idle for `delay_release`: let it go, but keep `min_instances`."""
    executor = core.executors.get(id)
    session = core.sessions.get(executor.session) if executor else None
    if executor is None or session is None or not executor.idle_told or not executor.usable:
        return
    due = executor.idle_since + _delay(core, session)
    bound = sum(1 for e in session.executors.values() if not e.leaving)
    if core.now < due:
        core.timer(due, release_idle, id)
    elif bound > session.spec.min_instances:
        leave(core, executor)


def leave(core: Core, executor: Executor) -> None:
    """Let the executor go at its next task boundary; what it has not started comes back."""
    if executor.leaving:
        return
    executor.leaving = True
    if executor.state == ExecutorState.BOUND:
        executor.state = ExecutorState.UNBINDING
    dismiss(core, executor)
    core.tell(ExecutorChanged(executor.id, executor.session, executor.state))


def dismiss(core: Core, executor: Executor) -> None:
    """Say it: give back what has not started, finish the rest, leave. Said again when its connection comes back."""
    recall(core, executor)
    core.send(executor.peer, Leave(), when=NOW)
    core.timer(core.now + _leave_limit(core, executor), leave_hangs, executor.id, core.now)


def _leave_limit(core: Core, executor: Executor) -> float:
    session = core.sessions.get(executor.session)
    app = core.apps.get(session.spec.application) if session is not None else None
    native = app is not None and NATIVE in app.spec.labels
    return core.settings.leave_limit + (0.0 if native else core.settings.shim_slack)


def leave_hangs(core: Core, id: str, asked: float) -> None:
    """The executor may have had its time to leave: it began when it was asked, or when its last task ended."""
    executor = core.executors.get(id)
    if executor is None or executor.node == BY_HAND:
        return
    limit = _leave_limit(core, executor)
    since = core.now if executor.outstanding else max(asked, executor.idle_since)
    if since + limit > core.now:
        core.timer(since + limit, leave_hangs, id, asked)
    else:
        executor.killed = True
        core.tell(KillExecutor(id, f"it did not leave within {limit:g} s"))
