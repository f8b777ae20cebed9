"""The journal of the session manager: what is durable, as records.

State changes only by applying a record (`apply.py`), live and at recovery alike. A record is a msgpack array `[tag, fields...]`: fields are
only ever appended, with defaults; a change of meaning needs a new tag and a new `VERSION`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flame.core.model.messages import AppSpec, Message, SessionSpec

VERSION = 1
"""Written beside every row; a store refuses rows of a version it does not know."""


class Record(Message, frozen=True, gc=False, array_like=True):
    """Base of the records."""


class EpochStarted(Record, frozen=True, tag=1):
    epoch: int
    history: str
    at: float
    last_alias: int = 0  # snapshots: aliases of deleted sessions are not used again


class AppRegistered(Record, frozen=True, tag=2):
    """Also an update: the later record wins, `at` keeps the first time."""

    name: str
    spec: AppSpec
    at: float


class AppUnregistered(Record, frozen=True, tag=3):
    name: str


class SessionOpened(Record, frozen=True, tag=4):
    id: str
    alias: int
    spec: SessionSpec
    at: float
    owner: str = ""


class SessionClosing(Record, frozen=True, tag=5):
    """Intake has stopped; the session closes by itself when it has drained."""

    id: str
    mode: str
    at: float


class SessionClosed(Record, frozen=True, tag=6):
    id: str
    at: float


class SessionDeleted(Record, frozen=True, tag=7):
    id: str


class TasksSubmitted(Record, frozen=True, tag=8):
    """One frame of new tasks; `client`, `seq` make a resent frame the same tasks."""

    session: str
    client: str
    seq: int
    first: int
    lengths: bytes
    blob: bytes
    at: float
    retries: int = 0
    timeout: float = -1.0
    wait_timeout: float = -1.0


class TasksEnded(Record, frozen=True, tag=9):
    """One frame of terminal tasks: `runs` are pairs first, count; `codes` is empty when all succeeded."""

    session: str
    runs: tuple[int, ...]
    codes: bytes
    lengths: bytes
    blob: bytes
    began: float
    ended: float


class TasksCancelled(Record, frozen=True, tag=10):
    session: str
    runs: tuple[int, ...]  # pairs
    at: float


class TaskReturned(Record, frozen=True, tag=11):
    """A started task goes back to the queue: it failed and may retry, or its executor was lost."""

    session: str
    no: int
    attempt: int
    losses: int
    not_before: float
    at: float
    message: str = ""


class EventHappened(Record, frozen=True, tag=12):
    session: str
    code: int
    reason: str
    message: str
    at: float


class FrameIndex(msgspec.Struct, frozen=True, array_like=True, gc=False):
    first: int
    count: int
    position: int
    client: str
    seq: int
    at: float
    retries: int
    timeout: float
    wait_timeout: float


class OutcomeIndex(msgspec.Struct, frozen=True, array_like=True, gc=False):
    runs: tuple[int, ...]
    position: int
    began: float
    ended: float
    codes: bytes


class SessionSaved(Record, frozen=True, tag=13):
    """The whole session but its payloads, which stay in their rows. `archive`: where the columns of a closed session are (then the columns
    here are empty), or 0."""

    id: str
    alias: int
    spec: SessionSpec
    at: float
    owner: str
    mode: str
    closed: float | None
    counts: tuple[int, ...]  # by TaskState
    archive: int
    states: bytes
    outcomes: bytes  # u32 per task
    frames: tuple[FrameIndex, ...]
    ends: tuple[OutcomeIndex, ...]
    attempts: dict[int, int]
    losses: dict[int, int]
    events: tuple[EventHappened, ...]
    blobs: dict[str, bytes] = {}


class SessionArchived(Record, frozen=True, tag=14):
    """The columns of a closed session, written once; memory keeps only where."""

    saved: SessionSaved


class BlobShared(Record, frozen=True, tag=15):
    """Bytes that every executor of the session may need, under their digest."""

    session: str
    digest: str
    blob: bytes


AnyRecord: TypeAlias = (
    EpochStarted
    | AppRegistered
    | AppUnregistered
    | SessionOpened
    | SessionClosing
    | SessionClosed
    | SessionDeleted
    | TasksSubmitted
    | TasksEnded
    | TasksCancelled
    | TaskReturned
    | EventHappened
    | SessionSaved
    | SessionArchived
    | BlobShared
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(AnyRecord)


def encode_record(record: Record) -> bytes:
    return _ENCODER.encode(record)


def decode_record(data: bytes) -> Record:
    """Raises msgspec.DecodeError."""
    try:
        return _DECODER.decode(data)
    except UnicodeDecodeError as error:  # a text that is none is no DecodeError to msgspec
        raise msgspec.DecodeError(str(error)) from None


def session_of(record: Record) -> str:
    """The session whose payloads or columns this row holds and that must stay as long as the session does; "" for rows that a snapshot
    replaces."""
    if isinstance(record, TasksSubmitted | TasksEnded | TasksCancelled):
        return record.session
    return record.saved.id if isinstance(record, SessionArchived) else ""
