"""One executor of an agent that speaks `flame.v1`: its calls on one side, plane messages on the other.

The agent walks RegisterExecutor, BindExecutor, LaunchTask/CompleteTask ..., UnbindExecutor, UnregisterExecutor. To the sessions reactor
the same thing is an executor that enters one session, is handed runs of tasks, completes them one by one and leaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from flame.core.base.errors import FlameError, InvalidState
from flame.core.model import messages as m
from flame.core.model.lifecycle import EXECUTOR
from flame.core.model.payloads import failure, pack_payloads, unpack_payloads
from flame.core.model.states import ExecutorState, ResultCode
from flame.manager.desk import Desk, Line

LINGER = 0.25
"""Seconds added to delay_release, so that a delay of 0 still sees the task that is on its way."""
RECONNECT = 0.1
SERVING = (ExecutorState.BOUND, ExecutorState.UNBINDING)


class Held(NamedTuple):
    no: int
    epoch: int
    lease: int
    attempt: int
    payload: bytes | None

    def run(self) -> tuple[int, ...]:
        return (self.no, 1, self.epoch, self.lease, self.attempt)


class Slot:
    """State of one executor. Everything happens on the event loop; every wait ends by `_pulse`."""

    def __init__(self, placement: m.StartPlacement, desk: Desk, changed: Callable[[Slot], None]) -> None:
        self.placement = placement
        self.state = ExecutorState.VOID
        self.session: str | None = None
        self.enter: m.Enter | None = None
        self._desk = desk
        self._changed_state = changed
        self._line: Line | None = None
        self._queue: deque[Held] = deque()
        self._current: Held | None = None
        self._began = 0.0
        self._leaving = False
        self._seq = 0
        self._recorded = 0
        self._unrecorded: deque[m.Completed] = deque()
        self._pulsed = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None

    def info(self) -> m.ExecutorInfo:
        p = self.placement
        return m.ExecutorInfo(p.id, p.node, self.state, self.session, p.resources, p.spec.shim)

    # -- what the agent calls -------------------------------------------------------------------------------------

    def register(self) -> None:
        self._step("register")
        self._connect()

    def unregister(self) -> None:
        self._step("unregister")
        self.close()

    async def bind(self) -> m.Enter | None:
        """Waits for a session; None means: unregister."""
        if self.state is ExecutorState.IDLE:
            await self._until(lambda: self._leaving or self.enter is not None)
            if self.state is ExecutorState.IDLE:  # nobody else was told meanwhile
                self._step("release" if self._leaving or self.enter is None else "bind")
        if self.state is ExecutorState.RELEASING:
            return None
        if self.state is not ExecutorState.BINDING or self.enter is None:
            raise InvalidState(f"Executor is {self.state.name.lower()}: cannot bind")
        self.session = self.enter.session
        return self.enter

    def bound(self, code: int, message: str) -> None:
        self._step("bind_failed" if code else "bound")
        if code:
            self.session = None
        self._say(m.Entered(code, message))

    async def launch(self) -> Held | None:
        """Waits for a task of the session; None means: unbind. A task not completed yet is given again."""
        self._step("launch")
        if self.state is ExecutorState.UNBINDING:
            return None
        if self._current is None:
            patience = self.placement.spec.delay_release + LINGER
            await self._until(lambda: bool(self._queue or self._leaving or self._current), patience)
            if self._current is None and self._queue and self.state is ExecutorState.BOUND:
                self._start(self._queue.popleft())
        return self._current

    async def complete(self, code: int, output: bytes | None, message: str | None) -> None:
        """Returns once the result is committed."""
        self._step("complete")
        held, session = self._current, self.session
        if held is None or session is None:
            raise InvalidState(f"Executor is {self.state.name.lower()}, but has no task to complete")
        self._current = None
        if code:
            output = failure("task_failed", message or "Task failed with state <Failed>", return_code=code)
        self._seq += 1
        result = ResultCode.FAILED if code else ResultCode.SUCCEED
        lengths, blob = pack_payloads([output])
        frame = m.Completed(
            session, self._seq, held.run(), bytes([result]), lengths, blob, self._began, time.time()
        )  # fmt: skip
        self._unrecorded.append(frame)
        self._say(frame)
        await self._until(lambda: self._recorded >= frame.seq)

    def unbind(self) -> None:
        self._step("unbind")

    def unbound(self) -> None:
        """The service process is gone: leave the session. A placement serves one session, so only release follows."""
        self._step("unbound")
        self.session = None
        self._leaving = True
        self.enter = None
        self._say(m.Left())
        self._pulse()

    # -- what the engine does -------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Finish what is running and go."""
        self._leaving = True
        self._pulse()

    def close(self) -> None:
        self._leaving = True
        self._recorded = 1 << 62
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._line is not None:
            self._line.close()
            self._line = None
        self._pulse()

    def _pushed(self, message: m.Message) -> None:
        match message:
            case m.Enter():
                self.enter = message
            case m.Assign():
                self._take(message)
            case m.Recall():
                self._give_back(message)
            case m.Recorded():
                self._recorded = max(self._recorded, message.seq)
                while self._unrecorded and self._unrecorded[0].seq <= self._recorded:
                    self._unrecorded.popleft()
            case m.Leave():
                self._leaving = True
            case _:  # a running task cannot be interrupted through this interface
                return
        self._pulse()

    def _take(self, assigned: m.Assign) -> None:
        payloads = iter(unpack_payloads(assigned.lengths, assigned.blob))
        for at in range(0, len(assigned.runs), m.RUN):
            first, count, epoch, lease, attempt = assigned.runs[at : at + m.RUN]
            self._queue.extend(Held(first + i, epoch, lease, attempt, next(payloads)) for i in range(count))

    def _give_back(self, recall: m.Recall) -> None:
        runs = recall.runs
        wanted = [
            (runs[at], runs[at] + runs[at + 1], runs[at + 2], runs[at + 3]) for at in range(0, len(runs), m.RUN)
        ]  # fmt: skip
        given: list[int] = []
        kept: deque[Held] = deque()
        for held in self._queue:
            if any(a <= held.no < b and (held.epoch, held.lease) == (e, n) for a, b, e, n in wanted):
                if given and given[-5] + given[-4] == held.no and tuple(given[-3:]) == held.run()[2:]:
                    given[-4] += 1
                else:
                    given.extend(held.run())
            else:
                kept.append(held)
        self._queue = kept
        self._say(m.Recalled(recall.session, tuple(given)))

    def _start(self, held: Held) -> None:
        self._current, self._began = held, time.time()
        if self.session is not None:
            self._say(m.Started(self.session, held.no, held.epoch, held.lease, self._began))

    # -- the line -------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        p = self.placement
        held = [number for frame in self._unrecorded for number in frame.runs]
        for one in (*([self._current] if self._current else ()), *self._queue):
            held.extend(one.run())
        hello = m.Hello(
            role="executor",
            client_id=p.id,
            token=p.token,
            session=p.session,
            held=tuple(held),
            features=("entered",) if self.state in SERVING else (),  # a reconnection keeps its session
        )
        self._line = self._desk.line(hello, self._pushed, self._lost)
        for frame in self._unrecorded:
            self._line.say(frame)

    def _lost(self) -> None:
        self._line = None
        if not self._leaving or self._unrecorded:
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        await asyncio.sleep(RECONNECT)
        try:
            self._connect()
        except FlameError:  # we are not wanted any more
            self.close()

    def _say(self, message: m.Message) -> None:
        if self._line is not None:
            self._line.say(message)

    # -- steps and waits ------------------------------------------------------------------------------------------

    def _step(self, command: str) -> None:
        after = EXECUTOR.step(self.state, command)
        if after is not self.state:
            self.state = after
            self._changed_state(self)

    def _pulse(self) -> None:
        self._pulsed.set()
        self._pulsed = asyncio.Event()

    async def _until(self, met: Callable[[], bool], patience: float | None = None) -> None:
        """Returns when `met()` or after `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                while not met():
                    await self._pulsed.wait()
        except TimeoutError:
            return
