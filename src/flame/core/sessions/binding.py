"""Executors entering their session, or failing to: limits, events, and when a session gets no more of them."""

from __future__ import annotations

from flame.core.model import messages as m
from flame.core.model.reactor import NOW
from flame.core.model.states import ExecutorState
from flame.core.sessions.results import fail
from flame.core.sessions.state import Core, Executor, Session

BIND_FAILED, RETRY_LIMIT = 1001, 1002


def entered(core: Core, executor: Executor, message: m.Entered) -> None:
    """The service is in the session, or could not enter it."""
    session = core.sessions.get(executor.session)
    if session is None:
        return
    if message.code == 0:
        if executor.state == ExecutorState.BINDING:
            executor.state = ExecutorState.UNBINDING if executor.leaving else ExecutorState.BOUND
        session.failures = 0
        executor.idle_since = core.now
        core.tell(m.ExecutorChanged(executor.id, session.id, executor.state))
        core.touch(session)
    else:
        core.send(executor.peer, m.Leave(), when=NOW)
        not_bound(core, session, executor, message.code, message.message)


def not_bound(core: Core, session: Session, executor: Executor, code: int, detail: str) -> None:
    """It could not enter, and goes."""
    executor.state, executor.leaving = ExecutorState.UNBINDING, True
    core.tell(m.ExecutorChanged(executor.id, session.id, executor.state))
    bind_failed(core, session, executor, code, detail)
    core.touch(session)


def enter_limit(core: Core, spec: m.AppSpec) -> float:
    """Seconds. A gRPC service is also started in this time, and its shim, which knows more, is to speak first."""
    limits = core.settings
    return (
        limits.enter_limit if m.NATIVE in spec.labels else limits.start_limit + limits.enter_limit + limits.shim_slack
    )


def start_hangs(core: Core, id: str) -> None:
    """The executor may have had its time to connect."""
    executor = core.executors.get(id)
    if executor is not None and executor.state == ExecutorState.VOID and executor.peer is None:
        _give_up(core, executor, 11, f"its executor did not connect within {core.settings.start_limit:g} s")


def enter_hangs(core: Core, id: str) -> None:
    """The service may have had its time to enter."""
    executor = core.executors.get(id)
    if executor is not None and executor.state == ExecutorState.BINDING:
        limit = enter_limit(core, core.apps[core.sessions[executor.session].spec.application].spec)
        _give_up(core, executor, 12, f"the service hung: it did not enter within {limit:g} s")


def _give_up(core: Core, executor: Executor, code: int, detail: str) -> None:
    session = core.sessions.get(executor.session)
    if session is None or executor.leaving:
        return
    executor.killed = True
    core.tell(m.KillExecutor(executor.id, detail))
    not_bound(core, session, executor, code, detail)


def bind_failed(core: Core, session: Session, executor: Executor, code: int, detail: str) -> None:
    text = f"Executor {executor.id} on node {executor.node} failed to bind session with return_code {code}: {detail}"
    core.event(session, BIND_FAILED, "BindFailed", text)
    session.failures += 1
    limit = core.settings.retry_limit
    if session.failures < limit or session.held:
        return
    session.held = True
    core.event(
        session, RETRY_LIMIT, "RetryLimitReached",
        f"Session retry limit reached after {session.failures}/{limit} failed attempts; no new executors are started",
    )  # fmt: skip
    # A native client waits for futures: they end with the reason. A gRPC session stays open with its tasks pending (contract).
    table = session.table
    for frame in table.frames:
        by = session.submitters.get(frame.client)
        if frame.open and by is not None and by.wants and not _others_work(session):
            for a, b in table.pending_in(frame.first, frame.end):
                for no in range(a, b):
                    fail(
                        core,
                        session,
                        no,
                        "service_failed",
                        f"the service could not enter session {session.id}: {detail}",
                    )


def _others_work(session: Session) -> bool:
    return any(e.state == ExecutorState.BOUND and e.peer is not None for e in session.executors.values())
