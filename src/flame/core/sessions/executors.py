"""Executors as the session manager sees them: they join, enter, start tasks, block, leave, and die."""

from __future__ import annotations

import signal

from flame.core.base.errors import InvalidState, PermissionDenied, ProtocolError
from flame.core.model import messages as m
from flame.core.model.messages import BY_HAND
from flame.core.model.reactor import NOW, Close, Peer
from flame.core.model.states import ExecutorState, SessionState
from flame.core.sessions import views
from flame.core.sessions.dispatch import dismiss, forget, lend, recall, requeue
from flame.core.sessions.results import cancel, fail, returned
from flame.core.sessions.state import Core, Executor, Handout, Session
from flame.core.sessions.table import PENDING, RUNNING
from flame.core.sessions.wellformed import check_runs

BIND_FAILED, RETRY_LIMIT = 1001, 1002


def granted(core: Core, message: m.Granted) -> None:
    """The allocator made a placement: its executor may come now, or is here already."""
    session = core.sessions.get(message.session)
    if session is None:
        return
    executor = core.executors.get(message.placement)
    if executor is None:
        executor = Executor(message.placement, message.session, message.token, message.node)
        core.executors[executor.id] = executor
        session.executors[executor.id] = executor
        core.timer(core.now + core.settings.start_limit, start_hangs, executor.id)
    executor.token, executor.node = message.token, message.node
    peer = core.strangers.pop(executor.id, None)
    if peer is not None and peer in core.peers:
        joined(core, peer, core.peers[peer])


def joined(core: Core, peer: Peer, hello: m.Hello) -> None:
    """An executor connected. One whose grant we have not heard of yet waits for it (the allocator repeats its grants)."""
    try:
        check_runs(hello.held)
    except ProtocolError as error:
        core.send(peer, m.Failure(error.code, error.message), when=NOW)
        core.out.append(Close(peer, error.message))
        return
    executor = core.executors.get(hello.client_id)
    if executor is None and BY_HAND in hello.features:
        executor = by_hand(core, peer, hello)
        if executor is None:
            return
    if executor is None:
        core.strangers[hello.client_id] = peer
        core.timer(core.now + core.settings.settle * 2, refuse_stranger, hello.client_id, peer)
        return
    session = core.sessions.get(executor.session)
    if executor.token != hello.token or session is None:
        core.send(peer, m.Failure("unauthenticated", f"executor {executor.id} has no valid token"), when=NOW)
        return
    if executor.peer is not None and executor.peer > peer:
        return  # an earlier connection of it, heard of late
    executor.peer, executor.lost_at = peer, 0.0
    executor.blocked = False  # it says so again when it is
    core.serving[peer] = executor
    if session.state == SessionState.CLOSED:
        executor.state, executor.leaving = ExecutorState.UNBINDING, True
        dismiss(core, executor)
        return
    if "entered" in hello.features:  # it reconnects: it keeps its session and says what it holds
        if executor.state in (ExecutorState.VOID, ExecutorState.BINDING):
            executor.state = ExecutorState.UNBINDING if executor.leaving else ExecutorState.BOUND
        core.tell(m.ExecutorChanged(executor.id, session.id, executor.state))
        adopt(core, session, executor, hello.held)
        if executor.leaving:  # it may not have heard
            dismiss(core, executor)
    elif executor.leaving:
        executor.state = ExecutorState.UNBINDING
        dismiss(core, executor)
    else:
        executor.state = ExecutorState.BINDING
        app = core.apps[session.spec.application]
        core.timer(core.now + enter_limit(core, app.spec), enter_hangs, executor.id)
        core.send(
            peer, m.Enter(session.id, app.name, app.spec, session.spec.common_data, session.spec.resources), when=NOW
        )
        core.tell(m.ExecutorChanged(executor.id, session.id, executor.state))
    end_adoption(core, session)
    core.touch(session)


def by_hand(core: Core, peer: Peer, hello: m.Hello) -> Executor | None:
    """An executor that nobody placed: it serves the session it names, beside those that were placed. None: it was refused."""
    session = core.sessions.get(hello.session)
    if session is None or session.state == SessionState.CLOSED:
        core.send(peer, m.Failure("not_found", f"there is no open session {hello.session[:128]!r}"), when=NOW)
        return None
    executor = Executor(hello.client_id, session.id, hello.token, BY_HAND)
    core.executors[executor.id] = session.executors[executor.id] = executor
    return executor


def refuse_stranger(core: Core, id: str, peer: Peer) -> None:
    if core.strangers.get(id) == peer:
        del core.strangers[id]
        core.send(peer, m.Failure("not_found", f"executor {id} is not known here"), when=NOW)


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
    end_adoption(core, session)
    core.touch(session)


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


def allow(core: Core, peer: Peer, message: m.Message) -> None:
    """An executor may ask for the shared bytes of its session and for nothing else. Raises PermissionDenied."""
    hello = core.peers.get(peer)
    if hello is None or hello.role != "executor":
        return
    executor = core.serving.get(peer)
    if not isinstance(message, m.FetchBlob) or executor is None or executor.session != message.session:
        raise PermissionDenied(f"an executor may not ask for {type(message).__name__}", hint="connect as a client")


def serving(core: Core, peer: Peer) -> Executor:
    """The executor on a connection. Raises InvalidState when there is none."""
    executor = core.serving.get(peer)
    if executor is None:
        raise InvalidState("this connection serves no session (yet)")
    return executor
