"""Tasks while an executor runs them: started, timed out, stopped, given back."""

from __future__ import annotations

from flame.core.model import messages as m
from flame.core.model.reactor import NOW
from flame.core.sessions import views
from flame.core.sessions.dispatch import forget, lend, recall, requeue
from flame.core.sessions.results import fail, returned
from flame.core.sessions.state import Core, Executor, Session
from flame.core.sessions.table import PENDING, RUNNING


def started(core: Core, executor: Executor, message: m.Started) -> None:
    """A task runs longer than 20 ms: it is Running now; its neighbours go to somebody who can run them."""
    session = core.sessions.get(executor.session)
    handout = executor.handouts.get((message.epoch, message.lease))
    if session is None or handout is None or not handout.next <= message.no < handout.end:
        return
    executor.started = message.no
    began = message.at if 0 < message.at <= core.now else core.now  # its clock is not ours
    executor.mean = max(executor.mean, core.now - began)
    if session.table.state(message.no) == PENDING:
        session.table.set_state(message.no, RUNNING)
        session.running[message.no] = executor.id
        _watch_running(core, session, message.no)
        timeout = session.table.frame_of(message.no).timeout
        if timeout >= 0:
            core.timer(began + timeout, timed_out, session.id, message.no, executor.id, timeout)
    recall(core, executor)
    core.touch(session)


def _watch_running(core: Core, session: Session, no: int) -> None:
    for peer, watch in session.watchers.get(no, ()):
        core.send(peer, m.TaskChanged(watch, views.task_now(session, no)))


def timed_out(core: Core, id: str, no: int, executor_id: str, timeout: float) -> None:
    """The task still runs there: it ends (or retries), and the executor is told, then killed."""
    session = core.sessions.get(id)
    executor = core.executors.get(executor_id)
    if session is None or session.running.get(no) != executor_id or executor is None or executor.started != no:
        return
    stop_running(core, session, executor, no)
    frame = session.table.frame_of(no)
    attempt = session.table.attempt(no)
    if attempt <= frame.retries:
        session.running.pop(no, None)
        _drop_from_handouts(session, executor, no)
        returned(core, session, no, session.table.losses.get(no, 0), session.spec.backoff * 2 ** (attempt - 1))
    else:
        text = f"task {no} of session {id} ran longer than its timeout of {timeout:g} s"
        fail(core, session, no, "task_timeout", text)


def _drop_from_handouts(session: Session, executor: Executor, no: int) -> None:
    """The task is not the executor's any more: what it still says about it is fenced."""
    for handout in list(executor.handouts.values()):
        if handout.next <= no < handout.end:
            executor.outstanding -= no + 1 - handout.next
            requeue(session, handout.next, no)
            handout.next = no + 1
            if handout.next >= handout.end:
                forget(executor, handout)


def stop_running(core: Core, session: Session, executor: Executor, no: int) -> None:
    """The cooperative signal now; the end of the process if the task still runs after the grace."""
    lease = next(((h.epoch, h.lease) for h in executor.handouts.values() if h.next <= no < h.end), (0, 0))
    core.send(executor.peer, m.CancelRunning(session.id, no, *lease), when=NOW)
    core.timer(core.now + core.settings.cancel_grace, kill_if_running, executor.id, no)


def kill_if_running(core: Core, executor_id: str, no: int) -> None:
    executor = core.executors.get(executor_id)
    if executor is not None and executor.started == no:
        executor.killed = True
        core.tell(m.KillExecutor(executor_id, f"task {no} did not stop"))


def wait_over(core: Core, id: str, first: int, wait: float) -> None:
    """Tasks of a frame that were never started have waited long enough."""
    session = core.sessions.get(id)
    if session is None or session.archive:
        return
    frame = session.table.frame_of(first)
    for a, b in session.table.pending_in(frame.first, frame.end):
        for no in range(a, b):
            if session.table.attempt(no) == 1:
                fail(core, session, no, "task_timeout", f"task {no} of session {id} waited longer than {wait:g} s")


def recalled(core: Core, executor: Executor, message: m.Recalled) -> None:
    """The executor gave tasks back; they are always the end of a hand-out."""
    session = core.sessions.get(executor.session)
    executor.recalling = False
    if session is None:
        return
    it = iter(message.runs)
    for first, count, epoch, lease, _ in zip(it, it, it, it, it, strict=True):
        handout = executor.handouts.get((epoch, lease))
        if handout is None or not handout.next <= first < handout.end or first + count != handout.end:
            continue
        executor.outstanding -= handout.end - first
        requeue(session, first, handout.end)
        handout.end = first
        if handout.next >= handout.end:
            forget(executor, handout)
    core.touch(session)


def blocked(core: Core, executor: Executor, message: m.Blocked) -> None:
    lend(core, executor, message.waiting)
    if session := core.sessions.get(executor.session):
        core.touch(session)
