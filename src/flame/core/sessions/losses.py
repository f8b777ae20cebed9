"""Executors that are gone: whose task was running, who is to blame, what waits again."""

from __future__ import annotations

import signal

from flame.core.model import messages as m
from flame.core.model.messages import BY_HAND
from flame.core.model.reactor import Close
from flame.core.model.states import ExecutorState, SessionState
from flame.core.sessions.adoption import end_adoption
from flame.core.sessions.binding import bind_failed
from flame.core.sessions.dispatch import requeue
from flame.core.sessions.results import cancel, fail, returned
from flame.core.sessions.state import Core, Executor, Session
from flame.core.sessions.table import PENDING, RUNNING

EXECUTOR_EXITED = 1004


def lost(core: Core, executor: Executor) -> None:
    """Its connection ended. The agent's report says which task was running; until then its tasks stay with it."""
    executor.peer, executor.lost_at = None, core.now
    core.timer(core.now + core.settings.settle, unreported, executor.id, core.now)


def unreported(core: Core, id: str, since: float) -> None:
    """Neither the executor nor a report of its end came: its tasks wait again, and a late result of theirs is fenced."""
    executor = core.executors.get(id)
    if executor is not None and executor.peer is None and executor.lost_at == since:
        settle(core, executor, None)
        if executor.node == BY_HAND:
            gone(core, m.PlacementGone(executor.id, executor.session, "its connection ended"))


def gone(core: Core, message: m.PlacementGone) -> None:
    """The process is gone for good."""
    executor = core.executors.pop(message.placement, None)
    core.strangers.pop(message.placement, None)
    if executor is None:
        return
    session = core.sessions.get(executor.session)
    if executor.peer is not None:
        # If it lives after all (its agent was cut off), it must notice that it is given up.
        core.serving.pop(executor.peer, None)
        core.out.append(Close(executor.peer, f"placement {executor.id} was given up: {message.reason}"))
        executor.peer = None
    if session is None:
        return
    session.executors.pop(executor.id, None)
    settle(core, executor, message)
    # Only a process that ended by itself says something about the service; agents and nodes come and go.
    ended = message.exit_code is not None or message.signal is not None
    if executor.state in (ExecutorState.VOID, ExecutorState.BINDING) and not executor.leaving and ended:
        bind_failed(core, session, executor, 11, f"shim creation failed: {describe(message)}")
    elif message.log and not ended and not executor.leaving:
        text = f"executor {executor.id} on node {executor.node} did not start, which is no fault of the service: {message.reason}"
        core.event(session, EXECUTOR_EXITED, "StartFailed", text)
    elif _broke(message) and not executor.leaving and not executor.killed and session.state == SessionState.OPEN:
        text = f"executor {executor.id} on node {executor.node}: {describe(message)}"
        core.event(session, EXECUTOR_EXITED, "ExecutorExited", text)
    end_adoption(core, session)
    core.touch(session)


def _broke(message: m.PlacementGone) -> bool:
    return bool(message.signal or message.exit_code)


def settle(core: Core, executor: Executor, report: m.PlacementGone | None) -> None:
    """Take all tasks from an executor that is not there. Only the task it was executing was started and lost."""
    session = core.sessions.get(executor.session)
    handouts = list(executor.handouts.values())
    executor.handouts.clear()
    executor.outstanding, executor.recalling, executor.blocked = 0, False, False
    running, executor.started = executor.started, 0
    if session is None:
        return
    victim = running
    if report is not None and report.current:
        victim = report.current[0]
    elif not victim and not executor.leaving and handouts:
        victim = min(handouts, key=lambda h: (h.epoch, h.lease)).next
    for h in handouts:
        for no in [n for n in session.running if h.next <= n < h.end and n != victim]:
            del session.running[no]
            session.table.set_state(no, PENDING)
        if h.next <= victim < h.end:
            requeue(session, h.next, victim)
            requeue(session, victim + 1, h.end)
            blame = report is not None and bool(report.current) and not executor.killed
            lose(core, session, victim, report, blame)
        else:
            requeue(session, h.next, h.end)
    core.touch(session)


def lose(core: Core, session: Session, no: int, report: m.PlacementGone | None, blame: bool) -> None:
    """One started task was lost with its executor; the third time it is the task's fault."""
    if session.table.state(no) not in (PENDING, RUNNING):
        return
    losses = session.table.losses.get(no, 0) + blame
    if losses >= core.settings.max_losses and report is not None:
        text = f"task {no} of session {session.id} ended {losses} executors: {describe(report)}"
        session.queued += 1  # it is nowhere now; ending counts it out of the queue
        session.running.pop(no, None)
        fail(core, session, no, "executor_lost", text, log=report.log)
    elif session.mode == "cancel":
        session.queued += 1  # as above
        cancel(core, session, [(no, no + 1)])
    else:
        returned(core, session, no, losses, 0.0)


def describe(report: m.PlacementGone) -> str:
    if report.signal is not None:
        try:
            name = signal.Signals(report.signal).name
        except ValueError:
            name = "?"
        said = f"killed by signal {report.signal} ({name})"
    elif report.exit_code is not None:
        said = f"exited with code {report.exit_code}"
    else:
        said = report.reason or "it is gone"
    tail = report.log.strip().splitlines()
    return f"{said}: {tail[-1]}" if tail else said
