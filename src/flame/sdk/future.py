"""The future of one task: a `concurrent.futures.Future` that costs a fraction of a microsecond.

The standard one makes a condition per future (4-10 us). Here the condition is made only by who waits. The protocol with the resolving
thread, under the GIL: the waiter stores the condition, then looks at the stage; the resolver stores the stage, then looks for a condition.
One of them sees the other. The library looks twice, at the state and then for waiters, and relies on nothing changing while it holds the
condition: what it sees as `_state` changes under the condition only.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import TYPE_CHECKING, Any

from flame.sdk import current

if TYPE_CHECKING:
    from flame.sdk.session import Session

_MAKING = threading.Lock()
_DONE = (FINISHED, CANCELLED, CANCELLED_AND_NOTIFIED)


class Future(concurrent.futures.Future[Any]):
    """Result of `session.run(...)`. Works with `concurrent.futures.wait`, `as_completed` and `asyncio.wrap_future`.

    `_result` holds the input until the task's frame is cut. `_stage` is the state as it is; `_seen` (with a condition) as it was told.
    """

    __slots__ = ("_cond", "_exception", "_gates", "_hooks", "_result", "_seen", "_session", "_stage", "_watchers")

    def __init__(self, session: Session | None = None) -> None:
        self._stage = PENDING
        self._cond: threading.Condition | None = None
        self._exception: BaseException | None = None
        self._result: Any = None
        self._session = session

    # What concurrent.futures looks at.
    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]  # made on demand, never set
        cond = self._cond
        if cond is None:
            with _MAKING:
                cond = self._cond
                if cond is None:
                    self._hooks: list[Callable[[Any], object]] = []
                    self._watchers: list[Any] = []
                    self._gates: list[Any] = []
                    cond = threading.Condition()  # reentrant: the library asks `cancelled()` holding it
                    with cond:
                        self._cond = cond
                        self._seen = self._stage
        return cond

    @property
    def _state(self) -> str:  # type: ignore[override]
        return self._stage if self._cond is None else self._seen

    @property
    def _waiters(self) -> list[Any]:
        _ = self._condition  # makes the lists
        return self._watchers

    @_waiters.setter
    def _waiters(self, value: list[Any]) -> None:
        self._watchers = value

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        _ = self._condition  # makes the lists
        return self._hooks

    def done(self) -> bool:
        return self._stage in _DONE

    def cancelled(self) -> bool:
        return self._stage in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        return self._stage == RUNNING

    def result(self, timeout: float | None = None) -> Any:
        """The output. Raises what the task raised (TaskFailed and its siblings), CancelledError, or TimeoutError after `timeout` s."""
        if self._stage is not FINISHED:
            self._wait(timeout)
        if self._stage is not FINISHED:
            raise concurrent.futures.CancelledError()
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # no reference cycle through the traceback
        return self._value()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, or None. Raises CancelledError or TimeoutError."""
        if self._stage is not FINISHED:
            self._wait(timeout)
        if self._stage is not FINISHED:
            raise concurrent.futures.CancelledError()
        return self._exception

    def _value(self) -> Any:
        return self._result

    def _wait(self, timeout: float | None) -> None:
        executor = current.executor
        if executor is not None and not self.done():
            with executor.lending():
                self._wait_here(timeout)
        else:
            self._wait_here(timeout)

    def _wait_here(self, timeout: float | None) -> None:
        # A gate instead of `Condition.wait`: who waits wakes once, and not into a lock that the resolver still holds.
        gate = threading.Lock()
        gate.acquire()
        with self._condition:
            if self.done():
                return
            self._gates.append(gate)
        if not gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout)) and not self.done():
            raise TimeoutError("the task has not ended yet")

    def cancel(self, kill: bool = False) -> bool:
        """Ask the engine to cancel the task; waits up to a second. True only if it is cancelled now. A running task is cancelled only with
        `kill`: it gets the cooperative signal, and its executor is ended after a grace."""
        if self.done():
            return self._stage is not FINISHED
        if self._session is not None:
            self._session._cancel_future(self, kill)
        return self.cancelled()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stage.lower()}>"

    # What the link calls.
    def _settle(self) -> bool:
        """After the stage was stored: is there somebody to tell? Wakes waiters; True when callbacks are left to run."""
        cond = self._cond
        if cond is None:
            return False
        with cond:
            if self._seen in _DONE:
                return False  # whoever came saw that it was done
            self._seen = self._stage
            for watcher in self._watchers:
                if self._stage is FINISHED and self._exception is None:
                    watcher.add_result(self)
                elif self._stage is FINISHED:
                    watcher.add_exception(self)
                else:
                    watcher.add_cancelled(self)
            cond.notify_all()
            gates, self._gates = self._gates, []
            hooks = bool(self._hooks)
        for gate in gates:
            gate.release()
        return hooks

    def _call_hooks(self) -> None:
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def _finish(self, value: Any = None, error: BaseException | None = None) -> bool:
        """One result by hand. True when callbacks are left to run."""
        if self.done():
            return False
        if error is not None:
            self._exception = error
        else:
            self._result = value
        self._stage = FINISHED
        return self._settle()

    def _cancelled_now(self) -> bool:
        if self.done():
            return False
        self._stage = CANCELLED_AND_NOTIFIED
        return self._settle()

    def set_running_or_notify_cancel(self) -> bool:
        if self._stage in (CANCELLED, CANCELLED_AND_NOTIFIED):
            return False
        self._stage = RUNNING
        return True

    def set_result(self, result: Any) -> None:
        if self.done():
            raise concurrent.futures.InvalidStateError(f"{self._stage}: {self!r}")
        if self._finish(result):
            self._call_hooks()

    def set_exception(self, exception: BaseException | None) -> None:
        if self.done():
            raise concurrent.futures.InvalidStateError(f"{self._stage}: {self!r}")
        if self._finish(error=exception):
            self._call_hooks()
