"""Reading tasks whose payloads or columns have left memory: fetch the rows, then answer."""

from __future__ import annotations

from collections.abc import Callable

from flame.core.base.errors import NotFound
from flame.core.model import messages as m
from flame.core.model.payloads import Column
from flame.core.model.reactor import Peer
from flame.core.sessions import records as r
from flame.core.sessions.apply import restore_table
from flame.core.sessions.results import outcome_from
from flame.core.sessions.state import Core, Session
from flame.core.sessions.table import TaskTable
from flame.core.sessions.views import task_info


def with_table(core: Core, session: Session, then: Callable[[Session], None]) -> None:
    """Call `then` with the session, or with a stand-in that has the columns of an archived one."""
    if not session.archive:
        then(session)
        return

    def loaded(rows: list[r.Record]) -> None:
        assert isinstance(rows[0], r.SessionArchived), "not an archive row"
        saved = rows[0].saved
        stand_in = Session(saved.id, saved.alias, saved.spec, saved.at, saved.owner)
        stand_in.table = restore_table(saved)
        then(stand_in)

    core.fetch((session.archive,), loaded)


class Reader:
    """Payloads of some tasks, from memory or from fetched rows."""

    def __init__(self, table: TaskTable, rows: dict[int, r.Record]) -> None:
        self.table, self.rows = table, rows
        self._columns: dict[int, Column] = {}

    def input(self, no: int) -> bytes | None:
        frame = self.table.frame_of(no)
        if frame.loaded:
            return frame.column()[no - frame.first]
        return self._column(frame.position)[no - frame.first]

    def output(self, no: int) -> bytes | None:
        outcome = self.table.outcome_of(no)
        if outcome is None:
            return None
        index = outcome.index(no)
        if outcome.loaded:
            return Column(outcome.lengths, outcome.blob)[index]
        return self._column(outcome.position)[index]

    def _column(self, position: int) -> Column:
        if position not in self._columns:
            row = self.rows[position]
            if isinstance(row, r.TasksSubmitted):
                lengths, blob = row.lengths, row.blob
            else:
                found = outcome_from(row, position)
                lengths, blob = found.lengths, found.blob
            self._columns[position] = Column(lengths, blob)
        return self._columns[position]


def needed(table: TaskTable, first: int, end: int) -> tuple[int, ...]:
    """Rows that hold the payloads of [first, end) and are not in memory."""
    positions: dict[int, None] = {}
    for frame, _, _ in table.spans(first, end):
        if not frame.loaded:
            positions[frame.position] = None
    for index in dict.fromkeys(table.outcome[first - 1 : end - 1]):
        if index and not table.ends[index - 1].loaded:
            positions[table.ends[index - 1].position] = None
    return tuple(positions)


def read_tasks(
    core: Core, session: Session, first: int, end: int, payloads: bool, then: Callable[[list[m.TaskInfo]], None]
) -> None:
    """TaskInfos of [first, end), all of which exist; `session` has its table."""
    table = session.table
    have: dict[int, r.Record] = {}

    def fetch(positions: tuple[int, ...]) -> None:
        core.fetch(positions, lambda rows: arrived(dict(zip(positions, rows, strict=True))))

    def arrived(rows: dict[int, r.Record]) -> None:
        have.update(rows)
        # Meanwhile more may have ended and left memory.
        if missing := tuple(p for p in needed(table, first, end) if p not in have):
            fetch(missing)
        else:
            build()

    def build() -> None:
        reader = Reader(table, have)
        out = []
        for no in range(first, end):
            answer = reader.output(no) if payloads or table.state(no) == 3 else None
            given = reader.input(no) if payloads else None
            out.append(task_info(session.id, table, no, table.frame_of(no).at, given, table.outcome_of(no), answer))
        then(out)

    arrived({})


def send_task(
    core: Core, session: Session, no: int, then: Callable[[m.TaskInfo], None], peer: Peer, request: int
) -> None:
    """One task, wherever it is. A number it does not have is answered NotFound."""

    def go(found: Session) -> None:
        if not found.table.has(no):
            text = f"task {no} of session {found.id} not found; it has {len(found.table)}"
            core.send(peer, m.Failure("not_found", text), request)
        else:
            read_tasks(core, found, no, no + 1, True, lambda infos: then(infos[0]))

    with_table(core, session, go)


def get_task(core: Core, peer: Peer, request: int, msg: m.GetTask) -> m.Message | None:
    session = core.session(peer, msg.session)
    if not session.archive and not session.table.has(msg.no):
        raise NotFound(f"task {msg.no} of session {session.id} not found; it has {len(session.table)}")
    send_task(core, session, msg.no, lambda info: core.send(peer, info, request), peer, request)
    return None


def list_tasks(core: Core, peer: Peer, request: int, msg: m.ListTasks) -> m.Message | None:
    def go(found: Session) -> None:
        table = found.table
        first = max(1, msg.start)
        end = min(first + max(1, min(msg.limit, 10_000)), len(table) + 1)
        if msg.payloads and first < end:
            end = _cut_page(table, first, end)
        if first >= end:
            core.send(peer, m.TaskList((), 0), request)
            return
        more = end if end <= len(table) else 0
        read_tasks(
            core,
            found,
            first,
            end,
            msg.payloads,
            lambda infos: core.send(peer, m.TaskList(tuple(infos), more), request),
        )

    with_table(core, core.session(peer, msg.session), go)
    return None


def _cut_page(table: TaskTable, first: int, end: int) -> int:
    """Few frames a page: each is a row to read."""
    stop = first
    for frames, (_, _, b) in enumerate(table.spans(first, end)):
        stop = b
        if frames >= 8:
            break
    return stop
