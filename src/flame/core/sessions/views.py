"""What others get to see of the state: infos, lists, explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.base.ids import shown
from flame.core.model import messages as m
from flame.core.model.access import lookup, reaches, split
from flame.core.model.payloads import Column, decode_failure
from flame.core.model.reactor import Peer
from flame.core.model.states import SessionState, TaskState
from flame.core.sessions.state import Core, Session
from flame.core.sessions.table import Outcome, TaskTable, pairs


def slots(spec: m.SessionSpec, sizes: Mapping[str, int]) -> int:
    """The Slots column: how many times the cluster's default size (`sizes`) one executor is."""
    return max((-(-need // sizes[name]) for name, need in spec.resources.items() if sizes.get(name)), default=1) or 1


def session_info(core: Core, session: Session, events: bool = False) -> m.SessionInfo:
    counts = session.counts
    found: tuple[m.EventInfo, ...] = ()
    if events:
        found = tuple(m.EventInfo(e.code, e.message, e.at, e.reason) for e in session.events)
    return m.SessionInfo(
        session.id, session.alias, session.spec, int(session.state), session.created, session.closed,
        counts[0], counts[1], counts[2], counts[3], counts[4], found,
        slots(session.spec, core.settings.default_resources), bool(session.mode),
    )  # fmt: skip


def watched_inputs(session: Session, runs: Sequence[int]) -> dict[int, bytes | None]:
    """Inputs of watched tasks that are about to end: their frame may drop its payloads then."""
    out: dict[int, bytes | None] = {}
    if session.watchers:
        for first, count in pairs(runs):
            for no in session.watchers:
                if first <= no < first + count:
                    out[no] = input_now(session.table, no)
    return out


def input_now(table: TaskTable, no: int) -> bytes | None:
    frame = table.frame_of(no)
    return frame.column()[no - frame.first] if frame.loaded else None


def task_now(session: Session, no: int, given: bytes | None = None) -> m.TaskInfo:
    """A task from memory alone; its payloads only while they are there."""
    table = session.table
    frame = table.frame_of(no)
    outcome = table.outcome_of(no)
    payload = given if given is not None else input_now(table, no)
    answer = None
    if outcome is not None and outcome.loaded:
        answer = Column(outcome.lengths, outcome.blob)[outcome.index(no)]
    return task_info(session.id, table, no, frame.at, payload, outcome, answer)


def task_info(
    session: str, table: TaskTable, no: int, created: float, payload: bytes | None, outcome: Outcome | None,
    answer: bytes | None,
) -> m.TaskInfo:  # fmt: skip
    """Events are told from the columns: created, started, ended."""
    state = TaskState(table.state(no))
    events = [m.EventInfo(0, "Task was created with state <Pending>", created)]
    began, ended = (outcome.began, outcome.ended) if outcome is not None else (created, None)
    if state in (TaskState.RUNNING, TaskState.SUCCEED, TaskState.FAILED):
        events.append(m.EventInfo(1, "Task state was updated to <Running>", began))
    output = None
    if state == TaskState.SUCCEED:
        events.append(m.EventInfo(2, "Task was completed with state <Succeed>", ended or began))
        output = answer
    elif state == TaskState.FAILED:
        said = decode_failure(answer).message if answer else "Task failed with state <Failed>"
        events.append(m.EventInfo(3, said, ended or began))
    return m.TaskInfo(session, no, int(state), table.attempt(no), created, ended, payload, output, tuple(events))


def sessions(core: Core, peer: Peer) -> m.SessionList:
    return m.SessionList(tuple(session_info(core, session, True) for session in seen(core, peer)))


def seen(core: Core, peer: Peer) -> list[Session]:
    """The sessions of the tenants that this peer sees."""
    who = core.who[peer]
    return [session for session in core.sessions.values() if reaches(who, session.spec.tenant)]


def status(core: Core, peer: Peer) -> m.Status:
    """Of the whole engine, but for sessions and tasks: those the peer sees."""
    sessions = seen(core, peer)
    is_open = [s for s in sessions if s.state == SessionState.OPEN]
    nodes = core.cluster.nodes
    return m.Status(
        core.release, core.epoch, core.history, core.durability, core.started_at, len(is_open),
        len(sessions) - len(is_open), sum(s.counts[0] for s in is_open), sum(s.counts[1] for s in is_open),
        sum(1 for n in nodes if n.state == 1), len(nodes), len(core.executors), core.storage, core.allocator is not None,
    )  # fmt: skip


def executors(core: Core, peer: Peer) -> m.ExecutorList:
    """The allocator's list, with the states as the sessions know them: those of sessions the peer sees."""
    out = []
    who = core.who[peer]
    for info in core.cluster.executors:
        if not reaches(who, split(info.session or "")[0]):
            continue
        mine = core.executors.get(info.id)
        state = int(mine.state) if mine is not None and info.state not in (6, 7) else info.state
        out.append(m.ExecutorInfo(info.id, info.node, state, info.session, info.resources, info.shim, info.pid))
    # Those the allocator has not told of yet (it pauses between two lists), and those it never will.
    listed = {info.id for info in core.cluster.executors}
    for executor in core.executors.values():
        session = core.sessions.get(executor.session)
        if session is not None and executor.id not in listed and reaches(who, session.spec.tenant):
            resources, state = session.spec.resources, int(executor.state)
            out.append(m.ExecutorInfo(executor.id, executor.node, state, executor.session, resources))
    return m.ExecutorList(tuple(out))


def explain(core: Core, peer: Peer, object: str) -> m.Explanation:
    """Why a session, or one task of it (`session/no`), is where it is. A key `tenant/session` is tried first."""
    name, number = object, ""
    if "/" in object and lookup(core.who[peer], object, core.sessions) is None:
        name, _, number = object.rpartition("/")
    session = core.session(peer, name)
    at = core.now
    if number:
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise InvalidArgument(f"{shown(object)} names no task", hint="SESSION, or SESSION/NUMBER")
        return m.Explanation(object, _explain_task(session, int(number), at))
    counts = session.counts
    reasons: list[m.EventInfo] = []
    if session.state == SessionState.CLOSED:
        reasons.append(m.EventInfo(0, f"session {session.id} is closed", session.closed or at, "Closed"))
    elif not counts[0] and not counts[1]:
        reasons.append(m.EventInfo(0, "no task waits or runs: submit some, or close the session", at, "NothingToDo"))
    else:
        bound = sum(1 for e in session.executors.values() if e.usable or e.outstanding)
        text = f"{counts[0]:,} tasks pending, {counts[1]:,} running, {bound} executors at work"
        reasons.append(m.EventInfo(0, text, at, "Progress"))
    if session.adopt_until:
        reasons.append(
            m.EventInfo(0, "the session manager restarted and waits for executors to come back", at, "Adopting")
        )
    if core.allocator is None:
        reasons.append(m.EventInfo(0, "the allocator is not connected: no executor can be placed", at, "NoAllocator"))
    if core.storage != "ok":
        reasons.append(m.EventInfo(0, core.storage, at, "StorageFull"))
    reasons += session.reasons
    reasons += [m.EventInfo(e.code, e.message, e.at, e.reason) for e in list(session.events)[-5:]]
    return m.Explanation(object, tuple(reasons))


def _explain_task(session: Session, no: int, at: float) -> tuple[m.EventInfo, ...]:
    if session.archive or not session.table.has(no):
        if session.archive:
            return (
                m.EventInfo(
                    0,
                    f"session {session.id} is closed; `flmctl view -s {session.id} -t {no}` shows the task",
                    at,
                    "Closed",
                ),
            )
        raise NotFound(f"task {no} of session {session.id} not found")
    state = TaskState(session.table.state(no))
    holder = next((e for e in session.executors.values() for h in e.handouts.values() if h.next <= no < h.end), None)
    if state == TaskState.RUNNING:
        text, reason = f"runs on executor {session.running.get(no, '?')}", "Running"
    elif state != TaskState.PENDING:
        text, reason = f"ended: {state.name.capitalize()}", "Ended"
    elif holder is not None:
        text, reason = (
            f"handed to executor {holder.id}, {holder.outstanding} tasks there, not reported started",
            "HandedOut",
        )
    elif no in session.delayed:
        text, reason = (
            f"attempt {session.table.attempt(no)} begins in {max(0.0, session.delayed[no] - at):.1f} s",
            "Backoff",
        )
    else:
        text, reason = f"one of {session.queued:,} tasks in the queue of {session.id}", "Queued"
    return (m.EventInfo(0, f"task {no}: {text}", at, reason), *(session.reasons if reason == "Queued" else ()))
