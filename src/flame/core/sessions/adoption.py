"""Executors that come back after a restart of the manager or of their connection: what they hold is compared with what we think."""

from __future__ import annotations

from flame.core.model import messages as m
from flame.core.model.reactor import NOW
from flame.core.sessions.dispatch import forget, requeue
from flame.core.sessions.state import Core, Executor, Handout, Session
from flame.core.sessions.table import PENDING


def adopt(core: Core, session: Session, executor: Executor, held: tuple[int, ...]) -> None:
    """Compare what the executor says it holds with what we think. Ours but not its: an Assign was lost, the tasks wait again. Its but
    not ours: after our restart they become hand-outs again; otherwise they were given to somebody else, and it must drop them."""
    # What it says of one hand-out comes in pieces (results on their way, the current task, the rest): together they are one run.
    theirs: dict[tuple[int, int], tuple[int, int, int]] = {}
    it = iter(held)
    for first, count, epoch, lease, attempt in zip(it, it, it, it, it, strict=True):
        low, high, _ = theirs.get((epoch, lease), (first, first + count, attempt))
        theirs[epoch, lease] = (min(low, first), max(high, first + count), attempt)
    drop: list[int] = []
    for (epoch, lease), (first, end, attempt) in sorted(theirs.items(), reverse=True):
        key = epoch, lease
        if key not in executor.handouts:
            taken = _take_over(core, session, executor, first, end, key, attempt)
            if taken < end:
                drop += (taken, end - taken, epoch, lease, attempt)
    for key, handout in list(executor.handouts.items()):
        low, high, _ = theirs.get(key, (handout.end, handout.end, 1))
        if low > handout.next:
            executor.outstanding -= low - handout.next
            requeue(session, handout.next, low)
            handout.next = low
        if high < handout.end:
            executor.outstanding -= handout.end - high
            requeue(session, high, handout.end)
            handout.end = high
        if handout.next >= handout.end:
            forget(executor, handout)
    executor.recalling = False
    if drop:
        core.send(executor.peer, m.Recall(session.id, tuple(drop)), when=NOW)


def _take_over(
    core: Core, session: Session, executor: Executor, first: int, end: int, key: tuple[int, int], attempt: int
) -> int:
    """During adoption: these tasks are this executor's again, from the first live one whose attempt is not over. The highest lease wins.

    Returns the end of what was taken; `first` when nothing was. Hand-outs leave before their tasks are committed: what the journal did
    not have when we started is not ours, its numbers may belong to other tasks now.
    """
    begin, end = first, min(end, session.recovered + 1)
    if not session.adopt_until:
        return begin
    if attempt > 1 or session.table.attempts:
        first = max((no + 1 for no in range(first, end) if session.table.attempt(no) != attempt), default=first)
    live = session.table.live_in(first, end) if first < end else []
    if not live:
        return begin
    first = live[0][0]
    overlapping = [
        (other, k)
        for other in session.executors.values()
        for k, h in other.handouts.items()
        if h.next < end and first < h.end
    ]
    if any(k >= key for _, k in overlapping):
        return begin
    for other, k in overlapping:
        _take_away(core, session, other, k)
    executor.handouts[key] = Handout(first, end, *key)
    executor.outstanding += end - first
    return end


def _take_away(core: Core, session: Session, executor: Executor, key: tuple[int, int]) -> None:
    """During adoption: a later lease of the same tasks has shown up. What else is in this one waits again when adoption ends."""
    handout = executor.handouts.pop(key)
    executor.outstanding -= handout.end - handout.next
    for no in [n for n, id in session.running.items() if id == executor.id and handout.next <= n < handout.end]:
        del session.running[no]
        session.table.set_state(no, PENDING)
    core.send(executor.peer, m.Recall(session.id, (handout.next, handout.end - handout.next, *key, 1)), when=NOW)


def end_adoption(core: Core, session: Session) -> None:
    """Everyone we wait for is here (or the grace is over): hand out the rest."""
    if not session.adopt_until:
        return
    known = {e.id for e in core.cluster.executors if e.session == session.id}
    missing = [i for i in known if i not in session.executors or session.executors[i].peer is None]
    if core.now < session.adopt_until and (missing or core.allocator is None or not core.cluster.nodes):
        return
    session.adopt_until = 0.0
    rebuild_queue(session)
    core.touch(session)


def adoption_over(core: Core, id: str) -> None:
    session = core.sessions.get(id)
    if session is not None and session.adopt_until:
        end_adoption(core, session)


def rebuild_queue(session: Session) -> None:
    """After recovery: what is pending and with no executor waits."""
    table = session.table
    session.queue.clear()
    session.queued = 0
    taken = sorted((h.next, h.end) for e in session.executors.values() for h in e.handouts.values())
    for frame in table.frames:
        if not frame.open:
            continue
        at = frame.first
        for first, end in [*taken, (frame.end, frame.end)]:
            if end <= at or first > frame.end:
                continue
            _requeue_free(session, at, min(first, frame.end))
            at = max(at, end)
            if at >= frame.end:
                break


def _requeue_free(session: Session, first: int, end: int) -> None:
    if first >= end:
        return
    for a, b in session.table.pending_in(first, end):
        at = a
        for no in sorted(n for n in session.delayed if a <= n < b):
            session.queue.push(at, no)
            session.queued += no - at
            at = no + 1
        session.queue.push(at, b)
        session.queued += b - at
