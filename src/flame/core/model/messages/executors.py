"""Executor and session manager."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.model.messages.base import Message
from flame.core.model.messages.nouns import AppSpec


class Enter(Message):
    session: str
    app: str
    spec: AppSpec
    common_data: bytes | None
    resources: Mapping[str, int] = {}


class Entered(Message):
    """`code`: 0, or 10 install failed, 11 shim creation failed, 12 session enter failed, 19 unknown."""

    code: int
    message: str = ""


class Assign(Message):
    """Tasks handed to an executor; not journaled. They stay Pending until started."""

    session: str
    runs: tuple[int, ...]  # RUN integers each
    lengths: bytes
    blob: bytes
    timeout: float = -1.0


class Completed(Message):
    """Results of handed-out tasks. `seq` counts this executor's frames; it keeps the frame until Recorded. `began`, `ended`: when the
    first task of the frame began and the last ended."""

    session: str
    seq: int
    runs: tuple[int, ...]  # RUN integers each
    codes: bytes
    lengths: bytes
    blob: bytes
    began: float
    ended: float


class Recorded(Message):
    """Everything up to `seq` is committed (or fenced); the executor may forget it."""

    seq: int


class Started(Message):
    """A task has been running for 20 ms."""

    session: str
    no: int
    epoch: int
    lease: int
    at: float


class Recall(Message):
    """Give back what has not started. Answered by Recalled."""

    session: str
    runs: tuple[int, ...]


class Recalled(Message):
    """These tasks will not be started here."""

    session: str
    runs: tuple[int, ...]


class CancelRunning(Message):
    session: str
    no: int
    epoch: int
    lease: int


class Blocked(Message):
    """The service waits for tasks of its own session (`waiting`), or does no longer."""

    session: str
    waiting: bool


class Leave(Message):
    """Finish what is running, leave the session, exit."""


class Left(Message):
    pass
