"""The task table of one session: columns, never an object a task.

A task costs 5 bytes here (state, outcome) beside its payload and 4 bytes of length. Tasks are numbered from 1, dense. Input payloads
stay in the frame they came in until every task of it is terminal; outputs stay in the frame they came in until delivered.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from flame.core.model.payloads import Column, count_of
from flame.core.model.states import TaskState

PENDING, RUNNING = TaskState.PENDING.value, TaskState.RUNNING.value
SUCCEED, FAILED, CANCELLED = TaskState.SUCCEED.value, TaskState.FAILED.value, TaskState.CANCELLED.value
TERMINAL = (SUCCEED, FAILED, CANCELLED)


class Frame:
    """Tasks that came in together: `first` .. `first + count - 1`."""

    __slots__ = (
        "_column", "at", "blob", "client", "count", "first", "lengths", "open", "position", "retries", "seq", "timeout",
        "wait_timeout",
    )  # fmt: skip

    def __init__(
        self, first: int, lengths: bytes, blob: bytes, *, client: str, seq: int, at: float, position: int,
        retries: int = 0, timeout: float = -1.0, wait_timeout: float = -1.0, count: int = -1,
    ) -> None:  # fmt: skip
        self.first, self.count = first, count if count >= 0 else count_of(lengths)
        #: empty once every task is terminal; the journal row at `position` has them
        self.lengths, self.blob = lengths, blob
        self.client, self.seq, self.at, self.position = client, seq, at, position
        self.retries, self.timeout, self.wait_timeout = retries, timeout, wait_timeout
        #: tasks that are not terminal
        self.open = self.count
        self._column: Column | None = None

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def loaded(self) -> bool:
        return bool(self.lengths) or not self.count

    def column(self) -> Column:
        if self._column is None:
            self._column = Column(self.lengths, self.blob)
        return self._column

    def cut(self, first: int, end: int) -> tuple[bytes, bytes]:
        """(lengths, blob) of the tasks [first, end), all of this frame."""
        if first == self.first and end == self.end:
            return self.lengths, self.blob
        return self.column().cut(first - self.first, end - self.first)

    def unload(self) -> None:
        self.lengths, self.blob, self._column = b"", b"", None


class Outcome:
    """Tasks that ended together: `runs` are pairs first, count; payloads in that order."""

    __slots__ = ("began", "blob", "codes", "ended", "lengths", "position", "runs")

    def __init__(
        self, runs: Sequence[int], codes: bytes, lengths: bytes, blob: bytes, began: float, ended: float, position: int
    ) -> None:
        self.runs, self.codes = tuple(runs), codes
        self.lengths, self.blob = lengths, blob  # empty once delivered
        self.began, self.ended, self.position = began, ended, position

    @property
    def loaded(self) -> bool:
        return bool(self.lengths)

    def index(self, no: int) -> int:
        """Place of a task among the payloads; -1 when it is not here."""
        at = 0
        for first, count in pairs(self.runs):
            if first <= no < first + count:
                return at + no - first
            at += count
        return -1

    def unload(self) -> None:
        self.lengths = self.blob = b""


def pairs(runs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of a flat sequence of pairs."""
    it = iter(runs)
    return zip(it, it, strict=True)


class Load:
    """What the sessions of one tenant hold now: open sessions, tasks that have not ended, bytes of their payloads."""

    __slots__ = ("bytes", "queued", "sessions")

    def __init__(self) -> None:
        self.sessions = self.queued = self.bytes = 0


class TaskTable:
    """States, frames and outcomes. `counts` always equals the states (an invariant)."""

    __slots__ = ("attempts", "counts", "ends", "frames", "load", "losses", "outcome", "starts", "states")

    def __init__(self, load: Load | None = None) -> None:
        #: what counts the tasks and bytes here, with those of other tables
        self.load = load or Load()
        self.states = bytearray()
        #: by task: 1 + index into `ends`, 0 while there is none
        self.outcome = array("I")
        self.frames: list[Frame] = []
        #: first task number of each frame, for bisection
        self.starts: list[int] = []
        self.ends: list[Outcome] = []
        self.counts = [0, 0, 0, 0, 0]
        #: only tasks that were started more than once
        self.attempts: dict[int, int] = {}
        #: only tasks whose executor died under them
        self.losses: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.states)

    @property
    def live(self) -> int:
        """Tasks that are not terminal."""
        return self.counts[PENDING] + self.counts[RUNNING]

    def append(self, frame: Frame) -> None:
        self.states.extend(bytes(frame.count))
        self.outcome.frombytes(bytes(4 * frame.count))
        self.frames.append(frame)
        self.starts.append(frame.first)
        self.counts[PENDING] += frame.count
        self.load.queued += frame.count
        self.load.bytes += len(frame.blob)

    def state(self, no: int) -> int:
        return self.states[no - 1]

    def has(self, no: int) -> bool:
        return 1 <= no <= len(self.states)

    def attempt(self, no: int) -> int:
        return self.attempts.get(no, 1)

    def frame_of(self, no: int) -> Frame:
        return self.frames[bisect_right(self.starts, no) - 1]

    def outcome_of(self, no: int) -> Outcome | None:
        index = self.outcome[no - 1]
        return self.ends[index - 1] if index else None

    def set_state(self, no: int, state: int) -> None:
        """One task between states that are not terminal."""
        self.counts[self.states[no - 1]] -= 1
        self.counts[state] += 1
        self.states[no - 1] = state

    def all_in(self, first: int, end: int, state: int) -> bool:
        return self.states.count(state, first - 1, end - 1) == end - first

    def live_in(self, first: int, end: int) -> list[tuple[int, int]]:
        """The maximal ranges [a, b) of not terminal tasks in [first, end)."""
        return self._ranges(first, end, (PENDING, RUNNING))

    def pending_in(self, first: int, end: int) -> list[tuple[int, int]]:
        return self._ranges(first, end, (PENDING,))

    def _ranges(self, first: int, end: int, wanted: tuple[int, ...]) -> list[tuple[int, int]]:
        if self.all_in(first, end, PENDING):
            return [(first, end)]
        out: list[tuple[int, int]] = []
        start = 0
        for no in range(first, end):
            if self.states[no - 1] in wanted:
                start = start or no
            elif start:
                out.append((start, no))
                start = 0
        if start:
            out.append((start, end))
        return out

    def end_range(self, first: int, end: int, state: int, outcome: int) -> None:
        """[first, end) becomes terminal, all with one state; none may be terminal yet. `outcome`: 1 + index into `ends`, or 0."""
        count = end - first
        states = self.states
        pending = states.count(PENDING, first - 1, end - 1)
        self.counts[PENDING] -= pending
        self.counts[RUNNING] -= count - pending
        self.counts[state] += count
        self.load.queued -= count
        states[first - 1 : end - 1] = bytes((state,)) * count
        if outcome:
            self.outcome[first - 1 : end - 1] = array("I", (outcome,)) * count
        self._release(first, end)

    def _release(self, first: int, end: int) -> None:
        """Count [first, end) out of their frames; a frame with no open task drops its payloads."""
        index = bisect_right(self.starts, first) - 1
        while first < end:
            frame = self.frames[index]
            stop = min(end, frame.end)
            frame.open -= stop - first
            if not frame.open:
                self.load.bytes -= len(frame.blob)
                frame.unload()
            first, index = stop, index + 1

    def spans(self, first: int, end: int) -> Iterator[tuple[Frame, int, int]]:
        """[first, end) cut at frame borders."""
        index = bisect_right(self.starts, first) - 1
        while first < end:
            frame = self.frames[index]
            stop = min(end, frame.end)
            yield frame, first, stop
            first, index = stop, index + 1

    def check(self) -> None:
        """Raises AssertionError when counters and states disagree."""
        for state, count in enumerate(self.counts):
            assert self.states.count(state) == count, (
                f"{TaskState(state).name}: counted {count}, {self.states.count(state)} are"
            )
        for frame in self.frames:
            live = sum(1 for no in range(frame.first, frame.end) if self.states[no - 1] not in TERMINAL)
            assert live == frame.open, f"frame {frame.first}: open {frame.open}, live {live}"
            assert frame.loaded or not live, f"frame {frame.first} lost its payloads with {live} live tasks"
