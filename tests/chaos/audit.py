"""At the end of a round: read what the engine holds of every session that clients wrote about, check it, and delete it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.check import Row, Story, Violation, check, check_listings, given_up
from chaos.history import NAME, Event, read

import flame
from flame.core.base.errors import NotFound
from flame.core.model import messages as m
from flame.sdk.session import Session

ANSWER = re.compile(rb"[0-9a-f]{16}:\d+")
FINISH = 60.0
"""Seconds in which what killed clients left behind must be finished."""


@dataclass
class Findings:
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    #: seconds from submitting a batch of short tasks to its last result, at most
    longest: float = 0.0
    #: when that batch was submitted, and whose it was
    longest_at: float = 0.0
    longest_of: str = ""
    longest_why: str = ""

    def add(self, other: Findings) -> None:
        self.violations += other.violations
        self.counts += other.counts
        self.pause(other.longest, other.longest_at, other.longest_of, other.longest_why)

    def pause(self, seconds: float, at: float, session: str, why: str) -> None:
        if seconds > self.longest:
            self.longest, self.longest_at, self.longest_of, self.longest_why = seconds, at, session, why


def stories(files: dict[Path, bool]) -> tuple[dict[str, Story], list[list[Event]]]:
    """By session, and by client. files: history -> was its client killed?"""
    found: dict[str, Story] = {}
    by_client = []
    for path, killed in files.items():
        events = list(read(path))
        by_client.append(events)
        whole = not killed
        for event in events:
            if event.session:
                story = found.setdefault(event.session, Story(event.session, whole=whole))
                story.events.append(event)
                story.orphan |= killed and not (event.detached or _detached(story))
    for story in found.values():
        story.orphan = story.orphan and not _detached(story)
    return found, by_client


def _detached(story: Story) -> bool:
    return any(event.detached for event in story.events if event.kind == "open")


def settle(client: flame.Client, story: Story) -> None:
    """Close what is open (as its kind promises), and read counters and tasks into the story."""
    try:
        info = client.get_session(story.id)
        if not info.state:
            Session(client.link, info, owned=False).close("cancel" if story.orphan else "finish", FINISH)
            info = client.get_session(story.id)
    except NotFound:
        return
    rows = [row(task) for task in Session(client.link, info, owned=False).list_tasks()]
    story.rows = rows
    story.counts = [info.pending, info.running, info.succeed, info.failed, info.cancelled]


def row(task: m.TaskInfo) -> Row:
    name = NAME.search(task.input or b"")
    text = ""
    if task.state == 2:
        said = ANSWER.search(task.output or b"")
        text = said[0].decode() if said else repr(task.output)[:80]
    elif task.state == 3 and task.events:
        text = task.events[-1].message
    known = name[0].decode() if name else f"?{(task.input or b'nothing')[:60]!r}"
    return Row(task.no, known, task.state, task.attempt, text)


def audit(client: flame.Client, files: dict[Path, bool], calm: Callable[[float, float], bool]) -> Findings:
    """Everything that is wrong in a round whose clients have gone."""
    found = Findings()
    all_stories, by_client = stories(files)
    for story in all_stories.values():
        settle(client, story)
        found.violations += check(story, calm)
        found.counts["tasks listed"] += len(story.rows or ())
        found.counts["tasks given up after three killed executors"] += given_up(story)
        if story.rows is not None:
            client.delete_session(story.id)
    remaining = {info.id for info in client.list_sessions()}
    for story in all_stories.values():
        if story.id in remaining:
            found.violations.append(Violation(story.id, "deleted_is_gone", "it was deleted and is still listed"))
    end = time.monotonic()
    for events in by_client:
        found.violations += check_listings(events, dict.fromkeys(all_stories, end))
        _count(events, found)
    return found


def _count(events: list[Event], found: Findings) -> None:
    began: dict[Any, Event] = {}
    for event in events:
        if event.kind == "run":
            began[event.session, event.batch] = event
            found.counts["tasks submitted"] += event.count
        elif event.kind == "acked":
            found.counts["tasks acknowledged"] += event.count
        elif event.kind == "done":
            found.counts["results"] += sum(text != "waits" for text in event.texts)
            run = began.get((event.session, event.batch))
            if run is not None and run.what in ("echo", "big"):
                reasons = [
                    f"{e.at - run.at:.1f} s: {e.text}"
                    for e in events
                    if e.kind == "why" and (e.session, e.batch) == (event.session, event.batch)
                ]
                found.pause(event.at - run.at, run.at, event.session, "; ".join(reasons))
        elif event.kind == "seen":
            found.counts["looks at a task"] += 1
        elif event.kind == "changed":
            found.counts["changes watched"] += 1
        elif event.kind == "opened":
            found.counts["sessions"] += 1
        elif event.kind == "called":
            found.counts["calls"] += 1
            if event.text:
                found.counts[f"refused: {event.text.partition(':')[0]}"] += 1
            if event.what == "thread":
                found.violations.append(Violation(event.session, "client_failed", event.text))
