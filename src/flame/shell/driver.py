"""Runs a reactor: apply -> journal -> tell.

Events are applied the moment they arrive. What they persist joins the open batch; sends that promise something wait for the batch to be
committed; hand-outs leave at once. While one batch is being committed the next one fills: group commit without a timer.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from flame.core.base.errors import Fenced, FlameError, StorageFull
from flame.core.model.reactor import COMMITTED, Close, Effect, Event, Peer, Persist, Send, Ticked
from flame.store.port import Row, Store

log = logging.getLogger("flame.driver")

INLINE_BYTES = 64 * 1024
"""A batch up to this size is committed in the loop where the store is quicker than a thread switch (SQLite under `process`)."""
LAZY_COMMIT = 0.001
"""Seconds after which a batch is committed that nobody waits for: the submit and the result of a lone short task share one commit."""
PROBE_EVERY = 0.25
"""Seconds between attempts to write again after the store was full."""


class Torn(FlameError):
    """An event was applied halfway; the memory must be read again from the store."""


class Reactor(Protocol):
    def handle(self, event: Event, now: float) -> list[Effect]: ...
    def deadline(self) -> float | None: ...


class Clock:
    """Seconds since the epoch that never go back: the wall at start plus the monotonic clock."""

    def __init__(self) -> None:
        self._base = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._base + time.monotonic()


class _Batch:
    __slots__ = ("bytes", "rows", "sends", "waiting")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.sends: list[Send] = []
        #: who wants to know that it is committed
        self.waiting: list[asyncio.Future[None]] = []
        self.bytes = 0


class Driver:
    """One reactor, one store, one loop.

    encode: record -> (owning session or "", version, body). send, close: to a peer. perform: every other effect.
    failed: called when the store cannot go on (StorageFull, Fenced, ...); the process then drops its memory and starts again.
    """

    def __init__(
        self,
        reactor: Reactor,
        store: Store,
        *,
        encode: Callable[[Any], tuple[str, int, bytes]],
        send: Callable[[Send], None],
        close: Callable[[Peer, str], None],
        perform: Callable[[Effect], None],
        failed: Callable[[FlameError], None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.reactor, self.store, self.loop = reactor, store, loop
        self.clock = clock or Clock()
        self.position = 0
        self.unsent: list[Send] = []
        """Once it failed or was stopped: what waited for a commit."""
        self._encode, self._send, self._close, self._perform, self._failed = encode, send, close, perform, failed
        self._open = _Batch()
        self._flying: _Batch | None = None
        self._busy = False
        self._urgent = False
        self._lazy: asyncio.TimerHandle | None = None
        self._guard = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._stopped = False
        self._work: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    # -- events --------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Apply an event now and do what it asks for."""
        if self._stopped:
            return
        try:
            effects = self.reactor.handle(event, self.clock())
        except Exception as error:
            # A bug. What the event did halfway is in memory and not in the journal: nothing of it may be told.
            log.exception("a %s broke the reactor", type(event).__name__)
            self._fail(Torn(f"internal error: {type(error).__name__}"), self._flying)
            return
        self.perform(effects)

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                # In this order: the writer moves rows from `_open` to `_flying`.
                if effect.when and (self._open.rows or self._flying is not None):  # type: ignore[attr-defined]
                    self._open.sends.append(effect)  # type: ignore[arg-type]
                    if effect.when == COMMITTED:  # type: ignore[attr-defined]
                        self._urge()
                else:
                    self._send(effect)  # type: ignore[arg-type]
            elif kind is Persist:
                self._persist(effect.record)  # type: ignore[attr-defined]
            elif kind is Close:
                self._close(effect.peer, effect.reason)  # type: ignore[attr-defined]
            else:
                self._perform(effect)
        self._arm()

    def _persist(self, record: Any) -> None:
        self.position += 1
        session, version, body = self._encode(record)
        row = Row(self.position, session, version, body)
        with self._guard:
            self._open.rows.append(row)
            self._open.bytes += len(body)
        if self._lazy is None and not self._busy:
            self._lazy = self.loop.call_later(LAZY_COMMIT, self._commit_lazily)

    def _commit_lazily(self) -> None:
        """Never cancelled and armed anew for every task: at most one timer a millisecond."""
        self._lazy = None
        if self._open.rows:
            self._urge()

    def _urge(self) -> None:
        """Somebody waits for the open batch: commit it now, or right behind the one in flight."""
        self._urgent = True
        if not self._busy:
            self._busy = True
            self.loop.call_soon(self._commit)

    def _arm(self) -> None:
        due = self.reactor.deadline()
        if due is None or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_later(max(0.0, due - self.clock()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.handle(Ticked())

    # -- commits -------------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Start a commit of the open batch: here, or in the writer's thread."""
        if self._stopped:
            return
        if not self._open.rows:
            self._busy = False
            return
        self._urgent = False
        if self.store.inline and self._open.bytes < INLINE_BYTES:
            batch = self._take()
            self._finish(batch, self._append(batch))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="flame-journal", daemon=True)
            self._thread.start()
        self._work.put(True)

    def _take(self) -> _Batch:
        with self._guard:
            batch, self._open = self._open, _Batch()
            self._flying = batch
        return batch

    def _append(self, batch: _Batch) -> FlameError | None:
        try:
            self.store.append(batch.rows)
        except FlameError as error:
            return error
        return None

    def _write(self) -> None:
        while self._work.get():
            batch = self._take()
            error = self._append(batch)
            try:
                self.loop.call_soon_threadsafe(self._finish, batch, error)
            except RuntimeError:  # the loop is closed: nobody waits
                return

    def _finish(self, batch: _Batch, error: FlameError | None) -> None:
        """Committed: say what waited for it. Not committed: nothing of it is true any more."""
        self._flying = None
        if self._stopped:
            return
        if error is not None:
            log.error("journal: %s", error)
            self._fail(error, batch)
            return
        for send in batch.sends:
            self._send(send)
        for future in batch.waiting:
            if not future.done():
                future.set_result(None)
        if self._open.rows and self._urgent:
            self._commit()
            return
        self._busy = False
        if self._open.rows:
            if self._lazy is None:
                self._lazy = self.loop.call_later(LAZY_COMMIT, self._commit_lazily)
            return
        waiting, self._open.sends = self._open.sends, []
        for send in waiting:
            self._send(send)

    async def settled(self) -> None:
        """Wait until everything persisted so far is committed."""
        with self._guard:  # the writer moves `_open` to `_flying`
            batch = self._open if self._open.rows else self._flying
            if batch is None:
                return
            future: asyncio.Future[None] = self.loop.create_future()
            batch.waiting.append(future)
        self._urge()
        await future

    async def compact(self, records: Sequence[Any], gone: Sequence[tuple[str, int]] = ()) -> int:
        """Save `records` as the snapshot of now. Call it in the step that took them from the reactor: it is written once everything up to
        here is committed, since a snapshot must not be ahead of its rows. Returns the position it covers; raises FlameError."""
        position = self.position
        rows = [Row(0, "", version, body) for _, version, body in map(self._encode, records)]
        await self.settled()
        await asyncio.to_thread(self.store.save_snapshot, position, rows, gone)
        return position

    def _fail(self, error: FlameError, flying: _Batch | None) -> None:
        """There is no going on. Who waits for a commit that nobody will tell of hears so, too."""
        self._stopped = True
        self.unsent = [*(flying.sends if flying else ()), *self._open.sends]
        for future in (*(flying.waiting if flying else ()), *self._open.waiting):
            if not future.done():
                future.set_exception(error)
        self._failed(error)

    @property
    def uncommitted(self) -> bool:
        return bool(self._open.rows) or self._flying is not None

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        """No more events; the writer thread ends after the batch it has."""
        if not self._stopped:
            with self._guard:  # the writer moves `_open` to `_flying`
                self.unsent = [*(self._flying.sends if self._flying else ()), *self._open.sends]
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._work.put(False)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)


def retryable(error: FlameError) -> bool:
    """May the process go on after dropping its memory? Not when somebody else has the store."""
    return isinstance(error, StorageFull | Torn) and not isinstance(error, Fenced)
