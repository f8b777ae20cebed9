"""The only place where durable state changes: one function a record, used live and at recovery alike."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import chain
from typing import Any

from flame.core.model.messages import ABSENT, AppInfo
from flame.core.model.states import ResultCode, SessionState
from flame.core.sessions import records as r
from flame.core.sessions.state import Core, Session, Submitter
from flame.core.sessions.table import (
    CANCELLED,
    FAILED,
    PENDING,
    RUNNING,
    SUCCEED,
    Frame,
    Load,
    Outcome,
    TaskTable,
    pairs,
)

STATE_OF = {ResultCode.SUCCEED: SUCCEED, ResultCode.FAILED: FAILED, ResultCode.CANCELLED: CANCELLED}
_ABSENT = ABSENT.to_bytes(4, "little")


def apply(core: Core, record: r.Record, position: int) -> None:
    """Apply one record. Records of sessions that are gone have no effect (their rows outlive them until compaction)."""
    _APPLY[type(record)](core, record, position)


def _epoch(core: Core, record: r.EpochStarted, position: int) -> None:
    core.epoch, core.history = record.epoch, record.history
    core.last_alias = max(core.last_alias, record.last_alias)


def _app(core: Core, record: r.AppRegistered, position: int) -> None:
    core.apps[record.name] = AppInfo(record.name, record.spec, 0, record.at)


def _no_app(core: Core, record: r.AppUnregistered, position: int) -> None:
    core.apps.pop(record.name, None)


def _opened(core: Core, record: r.SessionOpened, position: int) -> None:
    session = Session(record.id, record.alias, record.spec, record.at, record.owner)
    session.table = TaskTable(core.load(record.spec.tenant))
    session.table.load.sessions += 1
    core.sessions[record.id] = session
    core.aliases[record.alias] = record.id
    core.last_alias = max(core.last_alias, record.alias)


def _closing(core: Core, record: r.SessionClosing, position: int) -> None:
    if session := core.sessions.get(record.id):
        session.mode = record.mode


def _closed(core: Core, record: r.SessionClosed, position: int) -> None:
    session = core.sessions.get(record.id)
    if session is not None and session.state == SessionState.OPEN:
        session.state, session.closed = SessionState.CLOSED, record.at
        session.table.load.sessions -= 1


def _deleted(core: Core, record: r.SessionDeleted, position: int) -> None:
    if session := core.sessions.pop(record.id, None):
        core.aliases.pop(session.alias, None)


def submitter(session: Session, client: str, wants: bool = True) -> Submitter:
    found = session.submitters.get(client)
    if found is None:
        found = session.submitters[client] = Submitter(client, wants)
    return found


def _submitted(core: Core, record: r.TasksSubmitted, position: int) -> None:
    session = core.sessions.get(record.session)
    if session is None:
        return
    frame = Frame(
        record.first, record.lengths, record.blob, client=record.client, seq=record.seq, at=record.at, position=position,
        retries=record.retries, timeout=record.timeout, wait_timeout=record.wait_timeout,
    )  # fmt: skip
    session.table.append(frame)
    _remember_key(session, frame)


def _remember_key(session: Session, frame: Frame) -> None:
    by = submitter(session, frame.client)
    by.last = max(by.last, frame.seq)
    by.frames.append((frame.seq, frame.first, frame.count))


def _ended(core: Core, record: r.TasksEnded, position: int) -> None:
    session = core.sessions.get(record.session)
    if session is None:
        return
    table = session.table
    table.ends.append(
        Outcome(record.runs, record.codes, record.lengths, record.blob, record.began, record.ended, position)
    )
    mark(table, record.runs, record.codes, len(table.ends))


def mark(table: TaskTable, runs: tuple[int, ...], codes: bytes, outcome: int) -> None:
    """Give the tasks of `runs` the terminal states their codes say."""
    at = 0
    for first, count in pairs(runs):
        end = first + count
        if not codes:
            table.end_range(first, end, SUCCEED, outcome)
            continue
        while first < end:
            code = codes[at]
            stop = first + 1
            while stop < end and codes[at + stop - first] == code:
                stop += 1
            table.end_range(first, stop, STATE_OF[ResultCode(code)], outcome)
            at += stop - first
            first = stop


def cancelled_outcome(runs: tuple[int, ...], at: float, position: int) -> Outcome:
    count = sum(n for _, n in pairs(runs))
    return Outcome(runs, bytes((ResultCode.CANCELLED,)) * count, _ABSENT * count, b"", at, at, position)


def _cancelled(core: Core, record: r.TasksCancelled, position: int) -> None:
    session = core.sessions.get(record.session)
    if session is None:
        return
    table = session.table
    table.ends.append(cancelled_outcome(record.runs, record.at, position))
    for first, count in pairs(record.runs):
        table.end_range(first, first + count, CANCELLED, len(table.ends))


def _returned(core: Core, record: r.TaskReturned, position: int) -> None:
    session = core.sessions.get(record.session)
    if session is None:
        return
    table = session.table
    table.set_state(record.no, PENDING)
    table.attempts[record.no] = record.attempt
    if record.losses:
        table.losses[record.no] = record.losses
    if record.not_before > record.at:
        session.delayed[record.no] = record.not_before


def _event(core: Core, record: r.EventHappened, position: int) -> None:
    if session := core.sessions.get(record.session):
        session.events.append(record)


def _shared(core: Core, record: r.BlobShared, position: int) -> None:
    if session := core.sessions.get(record.session):
        session.blobs[record.digest] = record.blob


def _archived(core: Core, record: r.SessionArchived, position: int) -> None:
    if session := core.sessions.get(record.saved.id):
        session.totals = record.saved.counts
        session.archive = position
        session.table = TaskTable()
        session.submitters = {}
        session.blobs = {}
        session.delayed.clear()  # replay keeps pauses of tasks that have ended since


def save(session: Session, columns: bool) -> r.SessionSaved:
    """The session as one record; without `columns` only what a list shows (an archived session has no more in memory)."""
    table = session.table
    return r.SessionSaved(
        session.id, session.alias, session.spec, session.created, session.owner, session.mode, session.closed,
        session.counts, session.archive,
        bytes(table.states) if columns else b"",
        table.outcome.tobytes() if columns else b"",
        tuple(
            r.FrameIndex(f.first, f.count, f.position, f.client, f.seq, f.at, f.retries, f.timeout, f.wait_timeout)
            for f in table.frames
        ) if columns else (),
        tuple(r.OutcomeIndex(o.runs, o.position, o.began, o.ended, o.codes) for o in table.ends) if columns else (),
        dict(table.attempts) if columns else {},
        dict(table.losses) if columns else {},
        tuple(session.events),
        dict(session.blobs) if columns else {},
    )  # fmt: skip


def restore_table(saved: r.SessionSaved, load: Load | None = None) -> TaskTable:
    """The columns, with every payload still on disk."""
    table = TaskTable(load)
    # Running is not durable: who runs what, executors say when they come back.
    table.states = bytearray(saved.states).replace(bytes((RUNNING,)), bytes((PENDING,)))
    table.outcome = array("I", saved.outcomes)
    table.counts = list(saved.counts)
    table.counts[PENDING] += table.counts[RUNNING]
    table.counts[RUNNING] = 0
    table.load.queued += table.live
    table.attempts, table.losses = dict(saved.attempts), dict(saved.losses)
    for f in saved.frames:
        frame = Frame(
            f.first, b"", b"", client=f.client, seq=f.seq, at=f.at, position=f.position, retries=f.retries,
            timeout=f.timeout, wait_timeout=f.wait_timeout, count=f.count,
        )  # fmt: skip
        window = table.states[f.first - 1 : f.first - 1 + f.count]
        frame.open = window.count(0) + window.count(1)
        table.frames.append(frame)
        table.starts.append(f.first)
    table.ends = [Outcome(o.runs, o.codes, b"", b"", o.began, o.ended, o.position) for o in saved.ends]
    return table


def _saved(core: Core, record: r.SessionSaved, position: int) -> None:
    session = Session(record.id, record.alias, record.spec, record.at, record.owner)
    session.mode, session.closed, session.archive = record.mode, record.closed, record.archive
    session.state = SessionState.OPEN if record.closed is None else SessionState.CLOSED
    session.events.extend(record.events)
    session.blobs = dict(record.blobs)
    if record.archive:
        session.totals = record.counts
    else:
        session.table = restore_table(record, core.load(record.spec.tenant))
        if session.state == SessionState.OPEN:
            session.table.load.sessions += 1
        for frame in session.table.frames:
            _remember_key(session, frame)
    core.sessions[record.id] = session
    core.aliases[record.alias] = record.id
    core.last_alias = max(core.last_alias, record.alias)


def missing(core: Core) -> list[int]:
    """Positions of the input frames that open tasks need and that a snapshot left on disk."""
    frames = chain.from_iterable(s.table.frames for s in core.sessions.values())
    return sorted(f.position for f in frames if f.open and not f.loaded)


def reload(core: Core, position: int, record: r.Record) -> None:
    """Give a frame of `missing` its payloads back."""
    assert isinstance(record, r.TasksSubmitted), f"row {position} is no frame of tasks"
    table = core.sessions[record.session].table
    frame = table.frame_of(record.first)
    frame.lengths, frame.blob = record.lengths, record.blob
    table.load.bytes += len(record.blob)


_APPLY: dict[type[r.Record], Callable[[Core, Any, int], None]] = {
    r.EpochStarted: _epoch,
    r.AppRegistered: _app,
    r.AppUnregistered: _no_app,
    r.SessionOpened: _opened,
    r.SessionClosing: _closing,
    r.SessionClosed: _closed,
    r.SessionDeleted: _deleted,
    r.TasksSubmitted: _submitted,
    r.TasksEnded: _ended,
    r.TasksCancelled: _cancelled,
    r.TaskReturned: _returned,
    r.EventHappened: _event,
    r.BlobShared: _shared,
    r.SessionArchived: _archived,
    r.SessionSaved: _saved,
}
