"""What a reactor is told and what it asks for: the events and effects that both reactors share.

A reactor is `handle(event, now) -> list[Effect]`: it never blocks, never reads a clock, never touches a file. `now` is seconds since the
epoch and never goes back.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flame.core.model.access import LOCAL
from flame.core.model.messages import Hello, Identity, LogLine, Message

Peer: TypeAlias = int
"""One connection, numbered by the shell in order: a later connection has a larger number, and no number is used twice in one process."""

NOW = 0
"""A send that leaves at once: hand-outs, recalls, heartbeats."""
COMMITTED = 1
"""A send that leaves once everything persisted so far is committed, and that asks for that commit now."""
LAZY = 2
"""Like COMMITTED, but nobody waits for it: it does not ask for a commit (there is one every millisecond or so)."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened outside."""


class Joined(Event):
    """A connection was made and said hello; the shell has checked the version. `identity`: whom the shell knows it to be (by
    socket, certificate, issuer); None: nobody vouches for it, and the token of its hello decides."""

    peer: Peer
    hello: Hello
    identity: Identity | None = LOCAL


class Received(Event):
    """A message came in. `request` is not 0 when the peer waits for an answer that carries the same number."""

    peer: Peer
    request: int
    message: Message


class Lost(Event):
    """A connection ended."""

    peer: Peer


class Choked(Event):
    """The peer reads slower than we send (`full`), or has caught up."""

    peer: Peer
    full: bool


class Ticked(Event):
    """`deadline()` has come."""


class Recorded(Event):
    """Recovery: a record from the store, in order. `position` is its place in the journal."""

    position: int
    record: Message


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Something the shell must do."""


class Send(Effect):
    """Say `message` to `peer`; `request` is the number of the request it answers, or 0."""

    peer: Peer
    message: Message
    request: int = 0
    when: int = COMMITTED


class Persist(Effect):
    """Append a record to the journal. Positions are given in order of appearance, dense."""

    record: Message


class Audit(Effect):
    """Write down who did what: `object` is what it was done to, `code` is "" or the error that was answered."""

    at: float
    who: Identity
    verb: str
    object: str
    code: str = ""


class Keep(Effect):
    """Keep a line that a task printed."""

    line: LogLine


class ReadLines(Effect):
    """Answer `request` of `peer` with the kept lines of a session, or of one task of it."""

    peer: Peer
    request: int
    session: str
    no: int


class Close(Effect):
    """Drop the connection (a peer that broke the rules)."""

    peer: Peer
    reason: str
