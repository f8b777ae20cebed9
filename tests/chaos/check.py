"""From what clients saw, and what the engine says in the end, to broken promises. Pure: no cluster, no clock.

Every rule is a function of one session's Story; `check` runs them all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter

from chaos.history import FINAL, Event, digest, named, parts

PENDING, RUNNING, SUCCEED, FAILED, CANCELLED = range(5)
ANSWERED = {"ok": SUCCEED, "error": FAILED, "cancelled": CANCELLED}
MAX_LOSSES = 3
"""Executors that a task may end before it fails with WorkerDied."""


@dataclass(frozen=True)
class Violation:
    session: str
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.session}: {self.text}"


@dataclass(frozen=True)
class Row:
    """A task in the final list. text: its output, or what it failed with."""

    no: int
    name: str
    state: int
    attempt: int
    text: str = ""


@dataclass
class Story:
    """One session: what its clients wrote down, in order, and what the engine holds of it. rows None: it knows no such session."""

    id: str
    events: list[Event] = field(default_factory=list)
    rows: list[Row] | None = None
    counts: list[int] = field(default_factory=list)
    #: its client ended in order: everything it began must have come to its end
    whole: bool = True
    #: it belonged to a client that was killed: the engine cancels what is left
    orphan: bool = False

    def of(self, *kinds: str) -> Iterator[Event]:
        return (event for event in self.events if event.kind in kinds)

    @property
    def acked(self) -> dict[str, int]:
        return {name: ack.first + at for ack in self.of("acked") for at, name in enumerate(ack.tasks)}

    @property
    def ran(self) -> dict[str, None]:
        """Names of all tasks that were submitted, acknowledged or not."""
        runs = self.of("run")
        return dict.fromkeys(named(self.id, r.batch, at, r.what) for r in runs for at in range(r.count))

    @property
    def outcomes(self) -> dict[str, str]:
        what = {run.batch: run.what for run in self.of("run")}
        return {named(self.id, done.batch, at, what.get(done.batch, "")): text
                for done in self.of("done") for at, text in enumerate(done.texts)}  # fmt: skip


Calm = Callable[[float, float], bool]
"""Was nothing broken between these times, nor shortly before?"""
Rule = Callable[[Story], Iterator[str]]


def nothing_lost(story: Story) -> Iterator[str]:
    """Every acknowledged task is there under its number, with one result."""
    if story.rows is None:
        if story.acked or any(story.of("opened")):
            yield f"the session is gone with {len(story.acked)} acknowledged tasks"
        return
    rows = {row.no: row for row in story.rows}
    for name, no in story.acked.items():
        row = rows.get(no)
        if row is None:
            yield f"task {no} ({name}) was acknowledged and is gone"
        elif row.name != name:
            yield f"task {no} was acknowledged as {name} and is {row.name}"
        elif row.state < FINAL:
            yield f"task {no} ({name}) was acknowledged and never ended: state {row.state}, attempt {row.attempt}"


def nothing_twice(story: Story) -> Iterator[str]:
    """No frame became tasks twice, no number was given twice, no future was resolved twice."""
    listed = Counter(row.name for row in story.rows or ())
    yield from (f"{name} is {count} tasks" for name, count in listed.items() if count > 1)
    given: dict[str, int] = {}
    owner: dict[int, str] = {}
    for ack in story.of("acked"):
        for no, name in enumerate(ack.tasks, ack.first):
            if given.setdefault(name, no) != no:
                yield f"{name} was acknowledged as task {given[name]} and as task {no}"
            if owner.setdefault(no, name) != name:
                yield f"number {no} was given to {owner[no]} and to {name}"
    for again in story.of("again"):
        yield f"results came a second time to futures of {again.tasks}"
    batches = Counter(done.batch for done in story.of("done"))
    yield from (f"batch {batch} was settled {count} times" for batch, count in batches.items() if count > 1)


def numbers_dense(story: Story) -> Iterator[str]:
    """1..N without holes; within a frame in the order of submission."""
    numbers = [row.no for row in story.rows or ()]
    if numbers != list(range(1, len(numbers) + 1)):
        holes = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        yield f"numbers are not 1..{len(numbers)} in order: missing {holes[:10]}"
    known = story.ran
    for row in story.rows or ():
        if row.name not in known:
            yield f"task {row.no} is {row.name}, which nobody submitted"
    for ack in story.of("acked"):
        places = [parts(name)[1:3] for name in ack.tasks if name in known]
        if places != sorted(places):
            yield f"frame {ack.seq} has its tasks out of order: {ack.tasks[:5]}"
        if len(ack.tasks) != ack.count:
            yield f"frame {ack.seq} of {len(ack.tasks)} tasks was acknowledged as {ack.count}"


def expected(name: str, attempt: int) -> int:
    """The state a task that nobody cancels ends in. attempt: its last one."""
    what, _, argument = parts(name)[3].partition(":")
    if what in ("broken", "exit"):
        return FAILED
    return SUCCEED if what != "fail" or attempt >= int(argument) else FAILED


def _cancelled(story: Story) -> set[str]:
    asked = {name for event in story.of("cancel") for name in event.tasks}
    return set(story.ran) if "*" in asked or story.orphan else asked


def answers_right(story: Story) -> Iterator[str]:
    """The result recorded is that of the task, of its current attempt, and what such a task must come to."""
    may, known = _cancelled(story), story.ran
    for row in story.rows or ():
        if row.state < FINAL or row.name not in known:  # another rule names what nobody submitted
            continue
        if row.state == CANCELLED:
            if row.name not in may:
                yield f"task {row.no} ({row.name}) is Cancelled; nobody asked for that"
        elif row.state == SUCCEED and row.text != f"{digest(row.name)}:{row.attempt}":
            yield f"task {row.no} ({row.name}), attempt {row.attempt}, has the output {row.text!r}"
        elif row.state != expected(row.name, row.attempt) and not _given_up(row):
            yield f"task {row.no} ({row.name}), attempt {row.attempt}, ended in state {row.state}: {row.text!r}"


def _given_up(row: Row) -> bool:
    """Lost with its executor too often: allowed, and counted."""
    return row.state == FAILED and row.attempt >= MAX_LOSSES and "executors" in row.text


def clients_told(story: Story) -> Iterator[str]:
    """What futures got is what is recorded; in the end every future got something."""
    rows = {row.name: row for row in story.rows or ()}
    acked, what_for = story.acked, story.outcomes
    for name, text in what_for.items():
        word = text.partition(" ")[0]
        row = rows.get(name)
        if word == "waits":
            yield f"{name} never resolved; the engine says state {row.state if row else None}"
        elif row is None:
            if name in acked or word != "error":
                yield f"{name} resolved ({text}), and the engine does not know it"
        elif ANSWERED[word] != row.state:
            yield f"{name} resolved ({text}); recorded is state {row.state}: {row.text!r}"
        elif word == "ok" and text[3:] != row.text:
            yield f"{name} resolved to {text[3:]!r}; recorded is {row.text!r}"
        elif word == "error" and not text.startswith(("error TaskFailed", "error WorkerDied")):
            yield f"{name} resolved to {text}"
    done = {event.batch for event in story.of("done")}
    if story.whole:
        left = [run.batch for run in story.of("run") if run.batch not in done and not _left_behind(story)]
        yield from (f"batch {batch} was never settled" for batch in left)


def _left_behind(story: Story) -> bool:
    """A detached session, whose first client goes without waiting."""
    return any(event.detached for event in story.of("opened"))


def counters_agree(story: Story) -> Iterator[str]:
    """pending, running, succeed, failed, cancelled: as many as there are tasks in these states, and as clients were told at the close."""
    if story.rows is None:
        return
    states = Counter(row.state for row in story.rows)
    listed = [states[state] for state in range(5)]
    if story.counts != listed:
        yield f"counters {story.counts}, listed {listed}"
    for closed in story.of("closed"):
        if closed.counts != [*listed, 1]:
            yield f"told {closed.counts} at the close, listed {listed}"


def _progress(event: Event) -> tuple[int, int]:
    """Attempts count up; within one a task is Pending, Running, ended."""
    return event.attempt, min(event.state, FINAL)


def states_monotone(story: Story, calm: Calm) -> Iterator[str]:
    """Whoever looks after somebody has seen does not see less; what has ended stays as it is.

    One exception, which the lifecycle names: who forgets that a task runs (a session manager that starts again, an executor that is lost)
    shows it as Pending until it knows better. So that is allowed while things break, and only then.
    """
    tasks: dict[int, list[Event]] = defaultdict(list)
    for event in story.of("seen"):
        tasks[event.no].append(event)
    for event in story.of("changed"):
        tasks[event.no].append(event)
    for no, events in tasks.items():
        yield from _ordered(no, events, calm)
    numbers = {no: name for name, no in story.acked.items()}
    ends: dict[str, float] = {}
    what = {run.batch: run.what for run in story.of("run")}
    for done in story.of("done"):
        for at, text in enumerate(done.texts):
            if text != "waits":
                ends[named(story.id, done.batch, at, what.get(done.batch, ""))] = done.at
    for event in story.of("seen"):
        if event.state < FINAL and event.begin > ends.get(numbers.get(event.no, ""), float("inf")):
            yield f"task {event.no} was resolved, and then seen in state {event.state}"


def _ordered(no: int, events: list[Event], calm: Calm) -> Iterator[str]:
    final = {(e.state, e.attempt) for e in events if e.state >= FINAL}
    if len(final) > 1:
        yield f"task {no} was seen to end as {sorted(final)} (state, attempt)"
    best: Event | None = None
    waiting = sorted(events, key=attrgetter("at"))
    at = 0
    for event in sorted((e for e in events if e.kind == "seen"), key=attrgetter("begin")):
        while at < len(waiting) and waiting[at].at < event.begin:
            if best is None or _progress(waiting[at]) > _progress(best):
                best = waiting[at]
            at += 1
        if best is not None and _progress(event) < _progress(best):
            was, now = (best.state, best.attempt), (event.state, event.attempt)
            if was == (RUNNING, event.attempt) and event.state == PENDING and not calm(best.at, event.at):
                best = event
                continue
            yield f"task {no} was seen as {was} (state, attempt) at {best.at:.3f} and later as {now}, asked at {event.begin:.3f}"


def watches_whole(story: Story) -> Iterator[str]:
    """A stream goes forward, ends with the terminal change, and misses no start of a task that it was there for."""
    begun = {(e.no, e.watch): e.at for e in story.of("watch")}
    streams: dict[tuple[int, int], list[Event]] = {key: [] for key in begun}
    for event in story.of("changed"):
        streams[event.no, event.watch].append(event)
    rows = {row.no: row for row in story.rows or ()}
    ended = {(e.no, e.watch): e for e in story.of("unwatch")}
    for (no, watch), events in streams.items():
        for earlier, later in pairwise(events):
            if _progress(later) < _progress(earlier):
                yield f"watch of task {no}: {_states(events)} goes back"
        if any(e.state >= FINAL for e in events[:-1]):
            yield f"watch of task {no}: {_states(events)} goes on behind the end"
        end = ended.get((no, watch))
        if end is None:
            if story.whole:
                yield f"watch of task {no} never ended: {_states(events)}"
        elif end.text != "terminal":
            yield f"watch of task {no} ended by {end.text!r} after {_states(events)}"
        elif no in rows and (events[-1].state, events[-1].attempt) != (rows[no].state, rows[no].attempt):
            yield f"watch of task {no} ended with {_states(events)[-1]}, recorded {rows[no].state, rows[no].attempt}"


def starts_told(story: Story, calm: Calm) -> Iterator[str]:
    """A watched task that ran for long is seen Running."""
    begun = {(e.no, e.watch): e.at for e in story.of("watch")}
    names = {no: name for name, no in story.acked.items()}
    for end in story.of("unwatch"):
        what = parts(names[end.no])[3] if end.no in names else ""
        if end.text != "terminal" or not what.startswith("sleep") or float(what[6:]) < 0.1:
            continue
        events = [e for e in story.of("changed") if (e.no, e.watch) == (end.no, end.watch)]
        sure = end.at - begun[end.no, end.watch] > float(what[6:]) + 0.1  # it was not running when the watch began
        if (
            events
            and events[-1].state == SUCCEED
            and sure
            and calm(begun[end.no, end.watch], end.at)
            and len(events) < 2
        ):
            yield f"watch of task {end.no} ({what}) was told {_states(events)}: the start is missing"


def _states(events: Iterable[Event]) -> list[tuple[int, int]]:
    return [(e.state, e.attempt) for e in events]


TIMED = (states_monotone, starts_told)
RULES: tuple[Rule, ...] = (
    nothing_lost, nothing_twice, numbers_dense, answers_right, clients_told, counters_agree, watches_whole,
)  # fmt: skip


def check(story: Story, calm: Calm) -> list[Violation]:
    found = [Violation(story.id, rule.__name__, text) for rule in RULES for text in rule(story)]
    return found + [Violation(story.id, rule.__name__, text) for rule in TIMED for text in rule(story, calm)]


def check_listings(events: Iterable[Event], deleted: dict[str, float]) -> list[Violation]:
    """A session that was acknowledged, or listed, is in every later listing until it is deleted. deleted: when that was asked for."""
    since: dict[str, float] = {}
    out = []
    for event in sorted(events, key=attrgetter("at")):
        if event.kind == "opened":
            since.setdefault(event.session, event.at)
        elif event.kind == "listed":
            here = set(event.tasks)
            for id, known in since.items():
                if known < event.begin and deleted.get(id, float("inf")) > event.at and id not in here:
                    out.append(
                        Violation(
                            id,
                            "listings_keep",
                            f"listed at {known:.3f}, missing from a list asked for at {event.begin:.3f}",
                        )
                    )
            for id in here:
                since.setdefault(id, event.at)
    return out


def given_up(story: Story) -> int:
    """Tasks that ended because their executors were killed under them too often, though the task itself is innocent."""
    known = story.ran
    return sum(
        row.name in known and _given_up(row) and expected(row.name, row.attempt) != FAILED for row in story.rows or ()
    )
