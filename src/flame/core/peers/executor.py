"""An executor's half of the conversation, without any I/O: what it holds, what it owes.

It keeps every Completed frame until it is Recorded and sends it again after a reconnect; it states what it holds in its Hello. The shell
(and the simulator) call `receive` for what comes in, `take` for the next task, `done` for its result, `flush` to get a frame to send.
"""

from __future__ import annotations

from array import array
from collections import deque

from flame.core.model import messages as m
from flame.core.model.messages import ABSENT, Message
from flame.core.model.payloads import unpack_payloads
from flame.core.model.states import ResultCode

FLUSH_BYTES = 256 * 1024
LONG_TASK = 0.02
"""Seconds after which a running task is reported started."""


class Batch:
    """One run of tasks not yet taken: numbers `next` .. `end - 1`."""

    __slots__ = ("base", "end", "epoch", "lease", "attempt", "next", "payloads", "timeout")  # noqa: RUF023

    def __init__(
        self,
        first: int,
        count: int,
        epoch: int,
        lease: int,
        attempt: int,
        payloads: list[bytes | None],
        base: int,
        timeout: float,
    ) -> None:
        self.next, self.end = first, first + count
        self.epoch, self.lease, self.attempt = epoch, lease, attempt
        #: payload of task n is payloads[n - base]
        self.payloads, self.base, self.timeout = payloads, base, timeout


class ExecutorPeer:
    """State of one executor. `id` is its placement, `token` what it was launched with."""

    def __init__(self, id: str, token: str, session: str = "", python: str = "") -> None:
        self.id, self.token, self.session, self.python = id, token, session, python
        #: said in every hello, such as that it was started by hand
        self.features: tuple[str, ...] = ()
        self.connected = False
        self.entered = False
        self.leaving = False
        #: the Enter message, once it came
        self.enter: m.Enter | None = None
        self.batches: deque[Batch] = deque()
        #: run of the task that executes now, or None
        self.current: tuple[int, int, int, int] | None = None  # no, epoch, lease, attempt
        self.timeout = -1.0
        self.started_told = False
        #: task numbers cancelled before they were taken, and whether the current one was
        self.skip: set[int] = set()
        self.cancelled = False
        #: the service waits for tasks of its own session
        self.blocked = False
        self.out: list[Message] = []
        self._seq = 0
        self._unrecorded: deque[m.Completed] = deque()
        self._runs: list[int] = []
        self._codes = bytearray()
        self._lengths = array("I")
        self._blobs: list[bytes] = []
        self._bytes = 0
        self._began = 0.0
        self._ended = 0.0

    # -- connection ------------------------------------------------------------------------------------------------------

    def hello(self) -> m.Hello:
        """What to say on a new connection: after the first time with everything that is not Recorded."""
        features = (*self.features, "entered") if self.entered else self.features
        return m.Hello(
            "executor", token=self.token, client_id=self.id, session=self.session, held=self.held(), features=features,
            python=self.python,
        )  # fmt: skip

    def held(self) -> tuple[int, ...]:
        """Runs it has and has not got recorded: results on their way, the current task, what waits."""
        out: list[int] = []
        for frame in self._unrecorded:
            out += frame.runs
        out += self._runs
        if self.current is not None:
            no, epoch, lease, attempt = self.current
            out += (no, 1, epoch, lease, attempt)
        for b in self.batches:
            out += (b.next, b.end - b.next, b.epoch, b.lease, b.attempt)
        return tuple(out)

    def joined(self) -> None:
        """The manager welcomed us: send again what it has not recorded."""
        self.connected = True
        self.out.extend(self._unrecorded)
        if self.blocked:
            self.out.append(m.Blocked(self.session, True))
        self.started_told = False

    def lost(self) -> None:
        self.connected = False
        self.leaving = False  # a manager that still wants it says it again; a new one may not
        self.out.clear()

    # -- messages ----------------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take one message in; answers are appended to `out`."""
        kind = type(message)
        if kind is m.Assign:
            self._assign(message)  # type: ignore[arg-type]
        elif kind is m.Recorded:
            while self._unrecorded and self._unrecorded[0].seq <= message.seq:  # type: ignore[attr-defined]
                self._unrecorded.popleft()
        elif kind is m.Recall:
            self._recall(message)  # type: ignore[arg-type]
        elif kind is m.CancelRunning:
            self._cancel(message)  # type: ignore[arg-type]
        elif kind is m.Leave:
            self.leaving = True
        elif kind is m.Enter:
            self.enter = message  # type: ignore[assignment]
            self.session = message.session  # type: ignore[attr-defined]
        elif kind is m.Welcome:
            self.joined()

    def _assign(self, message: m.Assign) -> None:
        payloads = unpack_payloads(message.lengths, message.blob)
        base = 0
        it = iter(message.runs)
        for first, count, epoch, lease, attempt in zip(it, it, it, it, it, strict=True):
            self.batches.append(Batch(first, count, epoch, lease, attempt, payloads, first - base, message.timeout))
            base += count

    def _recall(self, message: m.Recall) -> None:
        """Give back what has not started. A run that is (partly) gone is given back as far as it is still here."""
        back: list[int] = []
        it = iter(message.runs)
        for first, count, epoch, lease, attempt in zip(it, it, it, it, it, strict=True):
            for batch in self.batches:
                if (
                    (batch.epoch, batch.lease) == (epoch, lease)
                    and batch.end == first + count
                    and batch.next < batch.end
                ):
                    low = max(batch.next, first)
                    back += (low, batch.end - low, epoch, lease, attempt)
                    batch.end = low
        self.batches = deque(b for b in self.batches if b.next < b.end)
        self.out.append(m.Recalled(self.session, tuple(back)))

    def _cancel(self, message: m.CancelRunning) -> None:
        if self.current is not None and self.current[0] == message.no and self.current[2] == message.lease:
            self.cancelled = True
        elif any(b.lease == message.lease and b.next <= message.no < b.end for b in self.batches):
            self.skip.add(message.no)

    # -- tasks -------------------------------------------------------------------------------------------------------------

    def take(self, now: float) -> tuple[int, bytes | None, int] | None:
        """The next task as (number, payload, attempt), or None. Cancelled ones are answered without being run."""
        while self.batches:
            batch = self.batches[0]
            no = batch.next
            batch.next = no + 1
            payload = batch.payloads[no - batch.base]
            if batch.next >= batch.end:
                self.batches.popleft()
            self.current = (no, batch.epoch, batch.lease, batch.attempt)
            self.timeout = batch.timeout
            self.cancelled = self.started_told = False
            if not self._codes and not self._runs:
                self._began = now
            if self.skip and no in self.skip:
                self.skip.discard(no)
                self.done(ResultCode.CANCELLED, None, now)
                continue
            return no, payload, batch.attempt
        return None

    def done(self, code: int, payload: bytes | None, now: float) -> None:
        """The current task ended."""
        assert self.current is not None, "no task is running"
        no, epoch, lease, attempt = self.current
        self.current = None
        runs = self._runs
        if runs and runs[-2] == lease and runs[-3] == epoch and runs[-5] + runs[-4] == no:
            runs[-4] += 1
        else:
            runs += (no, 1, epoch, lease, attempt)
        if payload is None:
            self._lengths.append(ABSENT)
        else:
            self._lengths.append(len(payload))
            self._blobs.append(payload)
            self._bytes += len(payload)
        if code or self._codes:
            if not self._codes:
                self._codes = bytearray(len(self._lengths) - 1)
            self._codes.append(code)
        self._ended = now

    @property
    def idle(self) -> bool:
        return not self.batches and self.current is None

    def full(self) -> bool:
        """Are so many bytes buffered that they should leave now?"""
        return self._bytes >= FLUSH_BYTES

    def flush(self) -> None:
        """Put the buffered results into `out` as one frame."""
        if not self._runs:
            return
        self._seq += 1
        frame = m.Completed(
            self.session, self._seq, tuple(self._runs), bytes(self._codes), self._lengths.tobytes(),
            b"".join(self._blobs), self._began, self._ended,
        )  # fmt: skip
        self._unrecorded.append(frame)
        self._runs, self._codes, self._lengths, self._blobs, self._bytes = [], bytearray(), array("I"), [], 0
        self._began = self._ended
        if self.connected:
            self.out.append(frame)

    @property
    def unrecorded(self) -> int:
        return len(self._unrecorded)

    def report_started(self, at: float) -> None:
        """The current task has run for LONG_TASK since `at`: say so, once per connection."""
        if self.current is None or self.started_told or not self.connected:
            return
        self.flush()  # what is done should not wait behind a long task
        no, epoch, lease, _ = self.current
        self.started_told = True
        self.out.append(m.Started(self.session, no, epoch, lease, at))

    def block(self, waiting: bool) -> None:
        """The service waits for tasks of its own session, or does no longer; said again on every connection."""
        if waiting != self.blocked:
            self.blocked = waiting
            if self.connected:
                self.out.append(m.Blocked(self.session, waiting))

    def drain(self) -> list[Message]:
        """What to send now."""
        out, self.out = self.out, []
        return out
