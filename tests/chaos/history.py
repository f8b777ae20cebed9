"""What clients did and saw, one JSON line an event, written before the next step: the history of a killed client is whole up to its end.

A task's name says everything about it: `~<session>|<batch>.<place>|<what>~`. It is the payload (or an argument of the function), so that a
result that belongs to another task is seen.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

NAME = re.compile(rb"~[\w.-]+\|\d+\.\d+\|[a-z0-9:.]+~")
"""Finds a task's name in its payload, whatever is around it."""
FINAL = 2
"""Task states from here on are terminal."""


class Event(msgspec.Struct, omit_defaults=True):
    """Which fields count depends on `kind`:

    open, opened: session           run: session, batch, count, what        acked: session, first, tasks (names), seq
    again: session, tasks (settled a second time)                           done: session, batch, texts (one outcome a task)
    cancel: session, tasks          asked: session, no                      seen: session, no, state, attempt, text, begin
    watch, unwatch: session, no, watch, text (why it ended)                 changed: session, no, watch, state, attempt
    listed: begin, tasks (session ids)   closed: session, counts            called: what, text (error), begin
    started: text (client)          left: nothing: an orderly end           why: session, batch, text (the reason of a wait)
    """

    at: float
    kind: str
    session: str = ""
    batch: int = 0
    count: int = 0
    what: str = ""
    first: int = 0
    seq: int = 0
    no: int = 0
    state: int = 0
    attempt: int = 0
    watch: int = 0
    begin: float = 0.0
    text: str = ""
    tasks: list[str] = []
    texts: list[str] = []
    counts: list[int] = []
    detached: bool = False


class Recorder:
    """Appends to a file; threads share it. Every line is with the system before `write` returns."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: object) -> float:
        """Returns when it was: seconds of the machine's monotonic clock, the same in every process."""
        with self._lock:
            at = time.monotonic()
            os.write(self._fd, msgspec.json.encode(Event(at, kind, **fields)) + b"\n")  # type: ignore[arg-type]
        return at


def read(path: Path) -> Iterator[Event]:
    """Every whole line; a killed writer may leave half a one at the end."""
    decoder = msgspec.json.Decoder(Event)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def named(session: str, batch: int, place: int, what: str) -> str:
    return f"~{session}|{batch}.{place}|{what}~"


def parts(name: str) -> tuple[str, int, int, str]:
    """(session, batch, place, what)"""
    session, at, what = name.strip("~").split("|")
    batch, _, place = at.partition(".")
    return session, int(batch), int(place), what


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def answer(name: str, attempt: int) -> str:
    """What the service says to a task when it succeeds in this attempt."""
    return f"{digest(name)}:{attempt}"
