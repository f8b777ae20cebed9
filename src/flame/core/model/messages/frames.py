"""Tasks, many at a time: in frames from a client, in runs to an executor, and back."""

from __future__ import annotations

from flame.core.model.messages.base import Message
from flame.core.model.messages.nouns import TaskInfo


class Submit(Message):
    """Tasks of one session, in order. `seq` counts this client's frames from 1: a frame sent twice is the same tasks."""

    session: str
    seq: int
    lengths: bytes
    blob: bytes
    retries: int = -1  # -1: as the session says
    timeout: float = -1.0
    wait_timeout: float = -1.0


class Submitted(Message):
    session: str
    seq: int
    first: int
    count: int


class Results(Message):
    """Terminal tasks. `codes` is empty when all succeeded, else one ResultCode byte each. A payload is the output, or an encoded
    TaskFailure (core.model.payloads) when the code is not 0."""

    session: str
    runs: tuple[int, ...]  # pairs: first, count
    codes: bytes
    lengths: bytes
    blob: bytes


class Resume(Message):
    """After a reconnect: the task ranges (pairs first, count) of this client whose results it has. Answer: Done."""

    session: str
    has: tuple[int, ...]
    owned: bool = False


class GetTask(Message):
    session: str
    no: int


class ListTasks(Message):
    """One page, ascending. Answer: TaskList; ask again from `next` until it is 0."""

    session: str
    start: int = 1
    limit: int = 1000
    payloads: bool = True


class TaskList(Message):
    tasks: tuple[TaskInfo, ...]
    next: int


class WatchTask(Message):
    """Pushes TaskChanged for every later change of state of one task, the terminal one last. Answer: Done. When the task is
    terminal already that one TaskChanged is pushed. `watch` is chosen by the caller and unique on the connection."""

    session: str
    no: int
    watch: int


class Unwatch(Message):
    watch: int


class TaskChanged(Message):
    watch: int
    task: TaskInfo | None  # None: the session is gone


class CancelTasks(Message):
    """Pending tasks end Cancelled at once; running ones get the cooperative signal, and with `kill` their executor dies after the grace.
    Answer: Cancelled."""

    session: str
    runs: tuple[int, ...]  # pairs: first, count
    kill: bool = False


class Cancelled(Message):
    session: str
    runs: tuple[int, ...]  # pairs of tasks that are Cancelled now


class ShareBlob(Message):
    """Keep bytes with the session under their digest (a pickled function). Answer: Done, once committed. The same digest twice is one."""

    session: str
    digest: str
    blob: bytes


class FetchBlob(Message):
    """Answer: Blob."""

    session: str
    digest: str


class Blob(Message):
    blob: bytes


class LogLine(Message):
    """A line a task printed."""

    session: str
    no: int
    stream: str  # out, err
    text: str
    at: float = 0.0


class Streamed(Message):
    """One item a generator task yielded, live and unrecorded: the recorded result holds them all."""

    session: str
    no: int
    attempt: int
    index: int
    payload: bytes
