"""A session: submit tasks, get futures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures._base import PENDING
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from flame.core.base.errors import FlameError, InvalidArgument, PayloadTooLarge, SessionClosed, WouldBlock
from flame.core.model import messages as m
from flame.core.model.payloads import MAX_PAYLOAD
from flame.core.peers.client import DEFAULT, SessionWindow
from flame.sdk.future import Future
from flame.sdk.link import GOOD_FRAME, Link
from flame.sdk.windowed import windowed

if TYPE_CHECKING:
    from types import TracebackType

_new = object.__new__
M = TypeVar("M", bound=m.Message)

QUEUED_TASKS = 65_536
"""Tasks that may wait in this process for their first frame; then `run` blocks until the engine has taken some."""
QUEUED_BYTES = 64 * 1024 * 1024
BIG = 4096
"""Payloads from this size on are counted by bytes, too."""


class Session:
    """Made by `client.session` and `client.open_session`. As a context manager it finishes its tasks, then closes."""

    future: type[Future] = Future

    def __init__(self, link: Link, info: m.SessionInfo, owned: bool) -> None:
        self.link, self.info = link, info
        self.id = info.id
        self.owned = owned
        self._window: SessionWindow = link.peer.window(info.id, link.results.resolver(info.id), attrgetter("_result"))
        self._window.framed = _let_go
        self._window.owned = owned
        self._queue = self._window.queue
        self._closed = False
        self._bytes = 0
        #: tasks queued since this thread last sent a frame
        self._since = 0

    # -- submitting ------------------------------------------------------------------------------------------------------

    def run(self, input: bytes | None = None) -> Future:
        """Submit one task. Returns its future at once; blocks only while the window is full (64 MiB or 65,536 tasks).

        Raises InvalidArgument for an input that is no bytes, PayloadTooLarge beyond 64 MiB, SessionClosed, and WouldBlock when the window
        is full and this is a callback.
        """
        if input is not None and (type(input) is not bytes or len(input) >= BIG):
            input = self._big(input)
        if self._closed:
            raise SessionClosed(f"session {self.id} is not open", hint="open a new session")
        link = self.link
        if link.closed:
            link.check()
        # Future(self), written out: this is the hot path, a call costs as much as the rest.
        future = _new(Future)
        future._stage, future._cond, future._exception, future._result, future._session = (
            PENDING,
            None,
            None,
            input,
            self,
        )
        self._queue.append(future)
        self._since += 1
        if link.idle:
            link.kick()
        elif self._since >= GOOD_FRAME:
            self._push()
        return future

    def submit(
        self, input: bytes | None, *, retries: int = -1, timeout: float = -1.0, wait_timeout: float = -1.0
    ) -> Future:
        """`run` with options of this task: retries after the first attempt, seconds it may run, seconds it may wait; -1: the session's."""
        options = (retries, timeout, wait_timeout)
        if options == DEFAULT and not self._window.options:
            return self.run(input)
        if input is not None and (type(input) is not bytes or len(input) >= BIG):
            input = self._big(input)
        self._check_open()
        future = Future(self)
        self._append(input, future, options)
        return future

    def _append(self, input: bytes | None, future: Future, options: tuple[int, float, float]) -> None:
        """A task with options: the queue's runs of options must match it, so both change together."""
        with self.link.lock:
            runs = self._window.options
            waiting = sum(count for count, _ in runs)
            plain = len(self._queue) - waiting
            if plain > 0:
                runs.append((plain, DEFAULT))
            future._result = input
            self._queue.append(future)
            if runs and runs[-1][1] == options:
                runs[-1] = (runs[-1][0] + 1, options)
            else:
                runs.append((1, options))
        self._since += 1
        self.link.kick()
        if self._since >= GOOD_FRAME:
            self._push()

    def _enqueue(self, future: Future) -> None:
        """Any future whose `_result` is its input."""
        self._queue.append(future)
        self._since += 1
        if self.link.idle:
            self.link.kick()
        elif self._since >= GOOD_FRAME:
            self._push()

    def _push(self) -> None:
        self._since = 0
        if not self.link.peer.full:
            self.link.pump_here()
        if len(self._queue) >= QUEUED_TASKS:
            self._wait_for_room(lambda: len(self._queue) < QUEUED_TASKS // 2)

    def _wait_for_room(self, there_is: Callable[[], bool]) -> None:
        link = self.link
        if link.in_callback:
            raise WouldBlock(
                f"the submit window of session {self.id} is full", hint="submit from another thread than the callback's"
            )
        with link.room:
            while not there_is():
                link.check()
                link.wake()
                link.room.wait(0.1)

    def _big(self, input: object) -> bytes:
        if isinstance(input, bytearray | memoryview):
            input = bytes(input)
        if not isinstance(input, bytes):
            raise InvalidArgument(
                f"a task's input is bytes or None, not {type(input).__name__}", hint="pickle it, or use @flame.task"
            )
        if len(input) > MAX_PAYLOAD:
            raise PayloadTooLarge(
                f"an input of {len(input):,} bytes; at most {MAX_PAYLOAD:,}",
                hint="write it to a file and pass the path",
            )
        window = self._window

        def held() -> int:
            frames = sum(len(f.blob) for f, _ in (*window.unacked, *window.deferred))
            return frames + sum(len(f._result) for f in list(window.queue) if f._result is not None)

        self._bytes += len(input)
        if self._bytes > QUEUED_BYTES:  # count exactly only now and then
            self._bytes = held() + len(input)
            if self._bytes > QUEUED_BYTES and len(input) <= QUEUED_BYTES:
                self._wait_for_room(lambda: held() + len(input) <= QUEUED_BYTES or not held())
                self._bytes = held() + len(input)
        return input

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything submitted so far is acknowledged (committed). Raises TimeoutError."""
        link, window = self.link, self._window

        def settled() -> bool:
            if not (window.queue or window.unacked or window.deferred) or link.broken is not None:
                return True
            link.wake()
            return False

        with link.room:
            if not link.room.wait_for(settled, timeout):
                raise TimeoutError(f"session {self.id}: not everything was acknowledged within {timeout:g} s")
        link.check()

    def invoke(self, input: bytes | None = None, timeout: float | None = None) -> Any:
        """Run one task and wait for its output. Ctrl-C cancels it."""
        future = self.run(input)
        try:
            return future.result(timeout)
        except KeyboardInterrupt:
            future.cancel(kill=True)
            raise

    def map(
        self,
        inputs: Iterable[bytes | None],
        *,
        ordered: bool = True,
        window: int = 100_000,
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """Outputs of one task per input, in order or as they come. At most `window` tasks are out at once; the iterable is read as results
        are taken. Leaving the loop early, or Ctrl-C, cancels the rest. Raises what the first failed task raised."""
        if window < 1:
            raise InvalidArgument(f"window={window}; at least 1")
        cancel = functools.partial(self.cancel, kill=True)
        return windowed(self.run, iter(inputs), cancel, ordered=ordered, window=window, timeout=timeout)

    # -- tasks -----------------------------------------------------------------------------------------------------------

    def create_task(self, input: bytes | None = None) -> m.TaskInfo:
        """Submit one task and return it as a TaskInfo, once it is recorded. Its result is read by `get_task` or `watch`."""
        future = self.run(input)
        self.flush()
        return self.get_task(self.number(future))

    def number(self, future: Future) -> int:
        """The task number of a future of this session; waits for its acknowledgement. Raises InvalidArgument."""
        self.flush()
        with self.link.lock:
            for waiting in self._window.waiting:
                for i, ticket in enumerate(waiting.tickets):
                    if ticket is future:
                        return waiting.first + i
        raise InvalidArgument("this future has ended, or belongs to another session")

    def get_task(self, no: int) -> m.TaskInfo:
        return self._ask(m.GetTask(self.id, int(no)), m.TaskInfo)

    def list_tasks(self, payloads: bool = True) -> Iterator[m.TaskInfo]:
        """Every task, ascending, read in pages."""
        start = 1
        while start:
            page = self._ask(m.ListTasks(self.id, start, payloads=payloads), m.TaskList)
            yield from page.tasks
            start = page.next

    def watch(self, no: int, timeout: float | None = None) -> Iterator[m.TaskInfo]:
        """The task at every later change of its state; ends after the terminal one. Raises TimeoutError between two changes."""
        import queue

        changes: queue.SimpleQueue[m.TaskChanged] = queue.SimpleQueue()
        number = self.link.watch(self.id, int(no), changes.put)
        try:
            while True:
                try:
                    change = changes.get(timeout=timeout)
                except queue.Empty:
                    raise TimeoutError(f"task {no} did not change for {timeout:g} s") from None
                if change.task is None:
                    return
                yield change.task
                if change.task.state >= 2:
                    return
        finally:
            self.link.unwatch(number)

    def cancel(self, tasks: Sequence[Future | int] | None = None, *, kill: bool = False) -> int:
        """Cancel tasks (all that are not done when None). Pending ones end at once; running ones only with `kill`. Returns how many are
        cancelled now."""
        self.flush()
        runs: list[int] = []
        if tasks is None:
            runs += (1, max(1, self._count()))
        else:
            wanted = {id(t) for t in tasks if isinstance(t, Future)}
            numbers = [t for t in tasks if isinstance(t, int)]
            with self.link.lock:
                for waiting in self._window.waiting:
                    numbers += [
                        waiting.first + i for i, t in enumerate(waiting.tickets) if t is not None and id(t) in wanted
                    ]
            for no in sorted(numbers):
                if runs and runs[-2] + runs[-1] == no:
                    runs[-1] += 1
                else:
                    runs += (no, 1)
        if not runs or not self._count():
            return 0
        answer = self._ask(m.CancelTasks(self.id, tuple(runs), kill), m.Cancelled)
        return sum(answer.runs[1::2])

    def _count(self) -> int:
        info = self.status()
        return info.pending + info.running + info.succeed + info.failed + info.cancelled

    def _cancel_future(self, future: Future, kill: bool) -> None:
        try:
            if self.cancel([future], kill=kill):
                future._wait_here(1.0)
        except (TimeoutError, FlameError):
            return

    # -- life --------------------------------------------------------------------------------------------------------------

    def status(self) -> m.SessionInfo:
        """Counters and events as they are now."""
        return self._ask(m.GetSession(self.id), m.SessionInfo)

    def close(self, mode: str = "drain", timeout: float | None = None) -> m.SessionInfo:
        """Stop intake and wait until the session is Closed. `drain`: pending tasks are cancelled, running ones finish; `finish`: everything
        finishes; `cancel`: running ones are cancelled too. Closing twice is fine."""
        if not self.link.closed and self.link.broken is None:
            if mode == "finish":
                self.flush(timeout)
            self._closed = True
            self.info = self._ask(m.CloseSession(self.id, mode), m.SessionInfo, timeout)
        self._closed = True
        return self.info

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close("finish" if kind is None else "cancel")

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed(f"session {self.id} is not open", hint="open a new session")
        self.link.check()

    def _ask(self, message: m.Message, kind: type[M], timeout: float | None = None) -> M:
        answer = self.link.ask(message, timeout)
        if not isinstance(answer, kind):
            raise FlameError(f"{type(message).__name__} was answered by {type(answer).__name__}")
        return answer

    def __repr__(self) -> str:
        return f"<Session {self.id}{' closed' if self._closed else ''}>"


def _let_go(futures: list[Future]) -> None:
    """The inputs are in a frame now."""
    for future in futures:
        future._result = None
