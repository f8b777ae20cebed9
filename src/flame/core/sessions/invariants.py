"""What is always true between two events. Tests and the simulator look after every one."""

from __future__ import annotations

from flame.core.model.states import ExecutorState, SessionState
from flame.core.sessions.state import Core, Session
from flame.core.sessions.table import PENDING, RUNNING


def check(core: Core) -> None:
    """Raises AssertionError with what is broken."""
    for session in core.sessions.values():
        session.table.check()
        _check_places(session)
        if session.state == SessionState.CLOSED:
            assert not session.counts[PENDING] and not session.counts[RUNNING], (
                f"{session.id} is closed with live tasks"
            )
        for no, holder in session.running.items():
            assert session.table.state(no) == RUNNING, f"{session.id}/{no} is in running but {session.table.state(no)}"
            assert holder in core.executors, f"{session.id}/{no} runs on {holder}, which is gone"
        assert len(session.running) == session.counts[RUNNING], (
            f"{session.id}: running {session.running}, counts {session.counts}"
        )
    for executor in core.executors.values():
        session_ = core.sessions.get(executor.session)
        have = sum(h.end - h.next for h in executor.handouts.values())
        assert executor.outstanding == have, f"{executor.id}: outstanding {executor.outstanding}, hand-outs {have}"
        for h in executor.handouts.values():
            assert h.next < h.end, f"{executor.id}: an empty hand-out"
        if session_ is not None:
            assert executor.id in session_.executors, f"{executor.id} is not in {executor.session}"
        if executor.peer is not None:
            assert core.serving.get(executor.peer) is executor, f"{executor.id} has another connection"
            assert executor.state != ExecutorState.VOID


def _check_places(session: Session) -> None:
    """Every live task is in exactly one place: the queue, a pause, or one executor."""
    if session.archive or session.adopt_until:
        return
    places: dict[int, int] = {}
    queued = 0
    for first, end in session.queue.ranges():
        for no in range(first, end):
            if session.table.state(no) == PENDING:
                places[no] = places.get(no, 0) + 1
                queued += 1
    assert queued == session.queued, f"{session.id}: queued {session.queued}, in the queue {queued}"
    for no in session.delayed:
        assert session.table.state(no) == PENDING, f"{session.id}/{no} pauses but is {session.table.state(no)}"
        places[no] = places.get(no, 0) + 1
    for executor in session.executors.values():
        for h in executor.handouts.values():
            for no in range(h.next, h.end):
                if session.table.state(no) in (PENDING, RUNNING):
                    places[no] = places.get(no, 0) + 1
    for no in range(1, len(session.table) + 1):
        live = session.table.state(no) in (PENDING, RUNNING)
        assert places.get(no, 0) == live, f"{session.id}/{no}: {places.get(no, 0)} places, live {live}"
