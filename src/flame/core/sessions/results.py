"""What comes back: completed frames, failures, retries; and delivering results to who submitted."""

from __future__ import annotations

from collections.abc import Sequence

from flame.core.model.messages import Completed, Recorded, Results, TaskChanged
from flame.core.model.payloads import Column, failure
from flame.core.model.reactor import LAZY
from flame.core.model.states import ResultCode
from flame.core.sessions import records as r
from flame.core.sessions import views
from flame.core.sessions.apply import cancelled_outcome
from flame.core.sessions.dispatch import forget, requeue
from flame.core.sessions.state import Core, Executor, Session, Submitter
from flame.core.sessions.table import Outcome, TaskTable, pairs

_RETRY = ResultCode.RETRY.value

SHORTEST = 1e-7
"""Seconds that a task takes at least: what divides by it stays finite, whatever the executor's clock says."""


def completed(core: Core, executor: Executor, message: Completed) -> None:
    """Record what may be recorded: tasks that are not terminal and whose hand-out is current. The rest is fenced, silently. The executor
    may forget the frame once that is committed, so it hears so behind the record."""
    session = core.sessions.get(executor.session)
    if message.seq > executor.seq:  # else it was sent again after a reconnect
        executor.seq = message.seq
        if session is not None:
            _take_in(core, session, executor, message)
    core.send(executor.peer, Recorded(message.seq), when=LAZY)


def _take_in(core: Core, session: Session, executor: Executor, message: Completed) -> None:
    kept = _settle_handouts(session, executor, message)
    count = len(message.lengths) >> 2
    if count and message.ended > message.began:
        took = max(SHORTEST, (message.ended - message.began) / count)
        executor.mean = took if not executor.mean else 0.5 * took + 0.5 * executor.mean
    whole = not message.codes.count(_RETRY) and sum(b - a for a, b, _ in kept) == count
    if whole:
        runs: list[int] = []
        for a, b, _ in kept:
            runs += (a, b - a)
        _end(core, session, runs, message.codes, message.lengths, message.blob, message.began, message.ended)
    elif kept:
        _record_parts(core, session, kept, message)
    if not executor.outstanding:
        executor.idle_since = core.now
    core.touch(session)


def _settle_handouts(session: Session, executor: Executor, message: Completed) -> list[tuple[int, int, int]]:
    """Take the runs out of the hand-outs. Returns what may be recorded: (first, end, place among the payloads)."""
    kept: list[tuple[int, int, int]] = []
    place = 0
    table = session.table
    it = iter(message.runs)
    for first, count, epoch, lease, _attempt in zip(it, it, it, it, it, strict=True):
        handout = executor.handouts.get((epoch, lease))
        end = first + count
        # After an adoption a hand-out may be smaller than what the executor has of it; what is outside is fenced.
        low, high = (max(first, handout.next), min(end, handout.end)) if handout is not None else (end, first)
        if handout is not None and low < high:
            if low > handout.next:  # it skipped some: it does not have them any more
                requeue(session, handout.next, low)
            executor.outstanding -= high - handout.next
            handout.next = high
            if handout.next == handout.end:
                forget(executor, handout)
            kept += [(a, b, place + a - first) for a, b in table.live_in(low, high)]
            if session.running:
                for a, b in table.live_in(low, high):
                    for no in [n for n in session.running if a <= n < b]:
                        del session.running[no]
        if first <= executor.started < end:
            executor.started = 0
        place += count
    return kept


def _record_parts(core: Core, session: Session, kept: Sequence[tuple[int, int, int]], message: Completed) -> None:
    """The slow path: some results are fenced or ask for another attempt."""
    column = Column(message.lengths, message.blob)
    codes = message.codes or bytes(len(column.lengths))
    runs: list[int] = []
    out_codes, lengths, blobs = bytearray(), [], []
    for a, b, place in kept:
        for no in range(a, b):
            at = place + no - a
            code = codes[at]
            if code == _RETRY:
                if retry(core, session, no):
                    continue
                code = ResultCode.FAILED
            length, blob = column.cut(at, at + 1)
            if runs and runs[-2] + runs[-1] == no:
                runs[-1] += 1
            else:
                runs += (no, 1)
            out_codes.append(code)
            lengths.append(length)
            blobs.append(blob)
    if runs:
        final = bytes(out_codes) if any(out_codes) else b""
        _end(core, session, runs, final, b"".join(lengths), b"".join(blobs), message.began, message.ended)


def _end(
    core: Core, session: Session, runs: Sequence[int], codes: bytes, lengths: bytes, blob: bytes, began: float, ended: float
) -> None:  # fmt: skip
    inputs = views.watched_inputs(session, runs)
    core.persist(r.TasksEnded(session.id, tuple(runs), codes, lengths, blob, began, ended))
    told(core, session, runs, inputs)


def told(core: Core, session: Session, runs: Sequence[int], inputs: dict[int, bytes | None]) -> None:
    """Terminal now: tell watchers and submitters."""
    if session.watchers:
        for first, count in pairs(runs):
            for no in [n for n in session.watchers if first <= n < first + count]:
                info = views.task_now(session, no, inputs.get(no))
                for peer, watch in session.watchers.pop(no):
                    core.watches.pop((peer, watch), None)
                    core.send(peer, TaskChanged(watch, info))
    deliver_all(core, session)
    core.touch(session)


def fail(core: Core, session: Session, no: int, code: str, text: str, *, log: str = "") -> None:
    """End one task Failed with a failure of ours."""
    payload = failure(code, text, traceback=log)
    length = len(payload).to_bytes(4, "little")
    began = session.table.frame_of(no).at
    session.queued -= _queued_in(session, no, no + 1)
    session.running.pop(no, None)
    session.delayed.pop(no, None)
    _end(core, session, (no, 1), bytes((ResultCode.FAILED,)), length, payload, began, core.now)


def cancel(core: Core, session: Session, ranges: Sequence[tuple[int, int]]) -> None:
    """End these not terminal tasks Cancelled. Those in the queue stop counting as queued; hand-outs run out by themselves."""
    runs: list[int] = []
    for a, b in ranges:
        runs += (a, b - a)
    if not runs:
        return
    inputs = views.watched_inputs(session, runs)
    queued = sum(_queued_in(session, a, b) for a, b in ranges)
    core.persist(r.TasksCancelled(session.id, tuple(runs), core.now))
    session.queued -= queued
    for a, b in ranges:
        for kept in (session.running, session.delayed):
            for no in [n for n in kept if a <= n < b]:
                del kept[no]
    told(core, session, runs, inputs)


def _queued_in(session: Session, first: int, end: int) -> int:
    """How many of the live tasks [first, end) are in the queue."""
    held = 0
    for executor in session.executors.values():
        for h in executor.handouts.values():
            lo, hi = max(first, h.next), min(end, h.end)
            if lo < hi:
                held += sum(b - a for a, b in session.table.live_in(lo, hi))
    waiting = sum(1 for no in session.delayed if first <= no < end)
    return end - first - held - waiting


def retry(core: Core, session: Session, no: int) -> bool:
    """Queue a failed task again after a pause, if it has attempts left."""
    frame = session.table.frame_of(no)
    attempt = session.table.attempt(no)
    if attempt > frame.retries or session.mode in ("cancel", "drain"):
        return False
    delay = min(session.spec.backoff * 2 ** (attempt - 1), core.settings.max_backoff)
    returned(core, session, no, session.table.losses.get(no, 0), delay)
    return True


def returned(core: Core, session: Session, no: int, losses: int, delay: float) -> None:
    """One started task goes back to the queue, now or after `delay` seconds."""
    due = core.now + delay
    core.persist(r.TaskReturned(session.id, no, session.table.attempt(no) + 1, losses, due, core.now))
    session.running.pop(no, None)
    if delay > 0:
        core.timer(due, wake, session.id, no)
    else:
        requeue(session, no, no + 1)
    core.touch(session)


def wake(core: Core, id: str, no: int) -> None:
    """The pause before a retry is over."""
    session = core.sessions.get(id)
    if session is not None and session.delayed.pop(no, None) is not None:
        requeue(session, no, no + 1)
        core.touch(session)


# -- delivery ------------------------------------------------------------------------------------------------------------


def deliver_all(core: Core, session: Session) -> None:
    """Move every submitter's cursor as far as its connection takes it, and drop payloads that nobody waits for."""
    for by in session.submitters.values():
        if by.wants and by.client in core.clients:
            deliver(core, session, by)
    # A client that is away or slow reads its results back from the store: memory does not grow with it.
    ends = session.table.ends
    for i in range(len(ends) - 1, -1, -1):
        if not ends[i].loaded:
            break
        ends[i].unload()


def deliver(core: Core, session: Session, by: Submitter) -> None:
    """Send outcomes from the cursor on. Stops where the client reads too slowly, or where payloads must come from the store."""
    peer = core.clients.get(by.client)
    ends = session.table.ends
    # Nobody would resume a stand-in for an archived session: it is sent at once, each outcome after a read from disk.
    choked = core.sessions.get(session.id) is session and core.choked.get(peer or 0)
    while peer is not None and by.cursor < len(ends) and not by.fetching and not choked:
        outcome = ends[by.cursor]
        mine = portion(session.table, outcome.runs, by)
        if mine and not outcome.loaded:
            by.fetching = True
            cursor = by.cursor
            core.fetch((outcome.position,), lambda rows, cursor=cursor: _fetched(core, session, by, cursor, rows[0]))
            return
        if mine:
            core.send(peer, select(session.id, outcome, mine))
        by.cursor += 1


def _fetched(core: Core, session: Session, by: Submitter, cursor: int, row: r.Record) -> None:
    by.fetching = False
    peer = core.clients.get(by.client)
    current = core.sessions.get(session.id)
    if current is None or peer is None or by.cursor != cursor or session.archive:
        return
    outcome = outcome_from(row, session.table.ends[cursor].position)
    mine = portion(session.table, outcome.runs, by)
    if mine:
        core.send(peer, select(session.id, outcome, mine))
    by.cursor += 1
    deliver(core, session, by)
    if current is session:  # not a stand-in for an archived one
        core.touch(session)


def outcome_from(row: r.Record, position: int) -> Outcome:
    if isinstance(row, r.TasksCancelled):
        return cancelled_outcome(row.runs, row.at, position)
    assert isinstance(row, r.TasksEnded), f"row {position} is no outcome"
    return Outcome(row.runs, row.codes, row.lengths, row.blob, row.began, row.ended, position)


def portion(table: TaskTable, runs: Sequence[int], by: Submitter) -> list[tuple[int, int]]:
    """The ranges [a, b) of `runs` that this client submitted and does not have."""
    out: list[tuple[int, int]] = []
    for first, count in pairs(runs):
        for frame, a, b in table.spans(first, first + count):
            if frame.client != by.client:
                continue
            if out and out[-1][1] == a:
                out[-1] = (out[-1][0], b)
            else:
                out.append((a, b))
    return _without(out, by.has) if by.has else out


def _without(ranges: list[tuple[int, int]], has: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for a, b in ranges:
        for first, count in has:
            lo, hi = max(a, first), min(b, first + count)
            if lo < hi:
                if a < lo:
                    out.append((a, lo))
                a = hi
        if a < b:
            out.append((a, b))
    return out


def select(session: str, outcome: Outcome, mine: list[tuple[int, int]]) -> Results:
    """The part of an outcome that covers `mine`; all of it without a copy when that is everything."""
    count = len(outcome.lengths) >> 2
    if sum(b - a for a, b in mine) == count:
        return Results(session, outcome.runs, outcome.codes, outcome.lengths, outcome.blob)
    column = Column(outcome.lengths, outcome.blob)
    runs: list[int] = []
    codes, lengths, blobs = [], [], []
    for a, b in mine:
        at = outcome.index(a)
        stop = a
        while stop < b:  # a range may span several runs of the outcome
            at = outcome.index(stop)
            end = stop
            while end < b and outcome.index(end) == at + end - stop:
                end += 1
            length, blob = column.cut(at, at + end - stop)
            runs += (stop, end - stop)
            codes.append(outcome.codes[at : at + end - stop])
            lengths.append(length)
            blobs.append(blob)
            stop = end
    return Results(session, tuple(runs), b"".join(codes), b"".join(lengths), b"".join(blobs))
