"""A client's connection: one I/O thread, one callback thread, and the window of `core.peers.client`.

The caller's thread sends by itself when nothing is in flight (a lone task leaves at once, without a thread switch) and when it has
filled a good frame; otherwise the I/O thread sends what has gathered whenever it comes by.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from flame.core.base.errors import (
    ClientForked,
    Exhausted,
    FlameError,
    HistoryLost,
    InvalidArgument,
    PayloadTooLarge,
    ProtocolError,
    Unavailable,
)
from flame.core.model import messages as m
from flame.core.model.messages import Message
from flame.core.peers.client import ClientPeer
from flame.sdk.results import Results, error_of, print_line
from flame.sdk.target import Target
from flame.sdk.watches import Watches
from flame.sdk.way import Arrival, Way
from flame.wire.codec import MAX_FRAME, Deframer, decode, frame

log = logging.getLogger("flame.client")

PING = (1 << 40) - 1
SUBMIT = 1 << 40
"""Request numbers of Submit frames start here: a refusal names its frame."""
GOOD_FRAME = 1024
"""Waiting tasks at which the caller's thread sends a frame itself."""
RECONNECT = 30.0
"""Seconds a client looks for its cluster before futures fail with Unavailable."""
PROBE, SILENCE = 0.6, 0.9
"""Seconds of silence after which a client that waits, and knows other addresses, asks whether anybody is there; and how long it waits for
that answer before it goes to the next. A paused or cut-off leader keeps its connections."""
RETRY = 0.25
"""Seconds before a refused frame is sent again, at least."""
PATIENCE = 60.0
"""Seconds a full queue is waited for before futures fail with Exhausted."""
_READ = 1 << 18


class Slot(Protocol):
    """Where an answer goes: a queue, or whatever else can be put into."""

    def put(self, answer: Message | FlameError, /) -> object: ...


class Link:
    """Connection `peer` to `target`. `alive`: for private clusters, does the supervisor still run?"""

    def __init__(
        self,
        target: Target,
        peer: ClientPeer,
        alive: Callable[[], bool] = lambda: True,
        reconnect: float = RECONNECT,
        patience: float = PATIENCE,
    ) -> None:
        self.patience = patience
        self.peer, self.alive, self.reconnect_for = peer, alive, reconnect
        self._way = Way(target, peer.hello)
        self.welcome: m.Welcome | None = None
        self.lock = threading.RLock()
        self.closed = False
        self.broken: FlameError | None = None
        #: when something came last, and when we asked for a sign of life (0: we did not)
        self._heard = self._probed = 0.0
        self.idle = False
        self.streams: dict[tuple[str, int], Callable[[m.Streamed], None]] = {}
        self.on_stream: Callable[[m.Streamed], None] = lambda item: None
        self._pid = os.getpid()
        self._sock: socket.socket | None = None
        self._out: deque[memoryview] = deque()
        self._deframer = Deframer()
        # One buffer for all reads: a fresh large one is mapped and unmapped by the system each time.
        self._buffer = bytearray(_READ)
        self._view = memoryview(self._buffer)
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Message, Slot, bool]] = {}
        self._resumes: dict[int, str] = {}
        #: when refused frames are tried again, 0: there are none; since when each session has been refused
        self._again_at = 0.0
        self._refused_since: dict[str, float] = {}
        self.results = Results()
        self._watches = Watches(self.results.call)
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self.room = threading.Condition(self.lock)
        self._arrived(self._way.first())
        self._thread = threading.Thread(target=self._run, name="flame-io", daemon=True)
        self._thread.start()

    # -- used by callers -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises what stands in the way of any call."""
        if self._pid != os.getpid():
            raise ClientForked("this client was made before a fork", hint="call flame.connect() in the child process")
        if self.broken is not None:
            raise self.broken
        if self.closed:
            raise Unavailable("this client is closed")

    def ask(self, message: Message, timeout: float | None = 60.0) -> Message:
        """One request, its answer. Raises the FlameError answered, or Unavailable."""
        slot: queue.SimpleQueue[Message | FlameError] = queue.SimpleQueue()
        forget = self.ask_soon(message, slot)
        try:
            answer = slot.get(timeout=timeout)
        except queue.Empty:
            forget()
            raise Unavailable(f"no answer to {type(message).__name__} within {timeout:g} s") from None
        except BaseException:
            forget()
            raise
        if isinstance(answer, FlameError):
            raise answer
        return answer

    def ask_soon(self, message: Message, slot: Slot) -> Callable[[], object]:
        """As `ask` without waiting: the answer is put into the slot, by the I/O thread. Returns a way to give up on it. Raises what stands
        in the way."""
        self.check()
        number = next(self._numbers)
        body = _framed(message, number)  # before it is remembered: what cannot be sent is never sent again
        with self.lock:
            self._pump()  # tasks submitted before go first: who asks for what it did finds it
            self._asked[number] = (message, slot, False)
            self._send(body)
        return lambda: self._asked.pop(number, None)

    def kick(self) -> None:
        """Tasks were queued: send now if that is cheap, else see that the I/O thread does."""
        if self.idle and self.lock.acquire(False):
            try:
                if not self.busy():
                    self._pump()
                    return
            finally:
                self.lock.release()
        if self.idle:
            self.idle = False
            self.wake()

    def pump_here(self) -> None:
        """From the caller's thread, when a good frame is waiting."""
        if self.lock.acquire(False):
            try:
                self._pump()
            finally:
                self.lock.release()

    def busy(self) -> bool:
        """Is anything of ours in flight?"""
        return any(w.unacked or w.waiting or w.deferred for w in list(self.peer.windows.values()))

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_w, b"\0")

    def watch(self, session: str, no: int, hook: Callable[[m.TaskChanged], None]) -> int:
        number = next(self._numbers)
        message = m.WatchTask(session, no, number)
        self._watches.add(message, hook)
        self.ask(message)
        return number

    def unwatch(self, number: int) -> None:
        if self._watches.drop(number) and not self.closed:
            with contextlib.suppress(FlameError):
                self.ask(m.Unwatch(number))

    @property
    def in_callback(self) -> bool:
        return threading.current_thread() in (self.results.caller, self._thread)

    def close(self) -> None:
        """Futures that have no result yet fail with Unavailable."""
        if self.closed:
            return
        self.closed = True
        self.wake()
        if self._pid == os.getpid() and threading.current_thread() is not self._thread:
            self._thread.join(2)
        self.results.stop()
        self._way.close()
        with self.lock:
            self._fail_all(Unavailable("this client is closed"))

    # -- sending (lock held) ---------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self.peer.pump()
        for message in self.peer.drain():
            request = 0
            if type(message) is m.Submit:
                request = SUBMIT + message.seq
            elif type(message) is m.Resume:
                request = next(self._numbers)
                self._resumes[request] = message.session
            self._out.append(memoryview(frame(message, request)))
        self._write()

    def _send(self, data: bytes) -> None:
        self._out.append(memoryview(data))
        self._write()

    def _write(self) -> None:
        """As much as the socket takes; the I/O thread sends the rest when it can."""
        sock = self._sock
        if sock is None:
            return
        while self._out:
            try:
                sent = sock.send(self._out[0])
            except BlockingIOError:
                self.wake()
                return
            except OSError:
                return  # the reader notices
            if sent == len(self._out[0]):
                self._out.popleft()
            else:
                self._out[0] = self._out[0][sent:]

    # -- the I/O thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self.closed:
                if self._sock is None and not self._reconnect():
                    break
                self._turn()
        except Exception as error:  # a bug here must not leave futures waiting for ever
            log.exception("the client's I/O thread failed")
            self._break(Unavailable(f"the client failed: {error}"))
        finally:
            if self._sock is not None:
                self._sock.close()
                self._sock = None

    def _turn(self) -> None:
        with self.lock:
            self._resend_due()
            self._pump()
            want_write = bool(self._out)
            full = self.peer.full
        self.idle = True
        if not full and not want_write and any(w.queue for w in list(self.peer.windows.values())):
            self.idle = False
            return
        sock = self._sock
        assert sock is not None
        readable: list[socket.socket | int]
        inputs: list[socket.socket | int] = [sock, self._wake_r]
        try:
            readable, _, _ = select.select(inputs, (sock,) if want_write else (), (), self._pause())
        except (OSError, ValueError):
            readable = [sock]
        self.idle = False
        if self._wake_r in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_r, 4096)
        if sock in readable:
            self._read(sock)
        elif self._way.alternatives:
            self._look_for_life()

    def _read(self, sock: socket.socket) -> None:
        try:
            size = sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._lost()
            return
        if self._way.alternatives:
            self._heard, self._probed = time.monotonic(), 0.0
        try:
            for envelope in self._deframer.feed(bytes(self._view[:size])):
                request, message = decode(envelope)
                self._take(request, message)
        except ProtocolError as error:
            log.warning("%s", error)
            self._lost()

    def _take(self, request: int, message: Message) -> None:
        kind = type(message)
        if kind is m.Results or kind is m.Submitted:
            with self.lock:
                self.peer.receive(message)
                if kind is m.Submitted:
                    if self._refused_since:
                        self._refused_since.pop(message.session, None)  # type: ignore[attr-defined]
                    self.room.notify_all()
        elif request >= SUBMIT and kind is m.Failure:
            self._refused(request - SUBMIT, message)  # type: ignore[arg-type]
        elif request in self._resumes:
            self._resumed(self._resumes.pop(request), message)
        elif request:
            asked = self._asked.pop(request, None)
            if asked is not None:
                asked[1].put(error_of(message) if kind is m.Failure else message)  # type: ignore[arg-type]
        elif kind is m.LogLine:
            self.results.call(lambda: print_line(message))  # type: ignore[arg-type]
        elif kind is m.Streamed:
            self.on_stream(message)  # type: ignore[arg-type]
        elif kind is m.TaskChanged:
            self._watches.changed(message)  # type: ignore[arg-type]
        elif kind is m.Failure:
            self._break(error_of(message))  # type: ignore[arg-type]

    def _resumed(self, session: str, message: Message) -> None:
        """The session may be gone by now: who waits for it hears so."""
        if isinstance(message, m.Failure):
            with self.lock:
                self.results.fail(self.peer.windows[session].abandon(), error_of(message))
                self.room.notify_all()

    def _refused(self, seq: int, failure: m.Failure) -> None:
        """A frame was not taken. What may be taken later is tried again, a full queue for as long as the patience lasts."""
        error = error_of(failure)
        now = time.monotonic()
        with self.lock:
            window = self.peer.defer(seq, failure.room)
            if window is None:
                return
            since = self._refused_since.setdefault(window.id, now)
            over = isinstance(error, Exhausted) and now - since > self.patience
            if error.retryable and not over:
                self._again_at = now + max(error.retry_after, RETRY)
            else:
                self._refused_since.pop(window.id, None)
                self.results.fail(self.peer.refuse(window.id), error)
                self.room.notify_all()

    def _pause(self) -> float | None:
        """Seconds the I/O thread may sleep."""
        pause = max(0.0, self._again_at - time.monotonic()) if self._again_at else None
        if self._way.alternatives and (self._asked or self.busy()):
            pause = PROBE if pause is None else min(pause, PROBE)
        return pause

    def _look_for_life(self) -> None:
        now = time.monotonic()
        with self.lock:
            if not (self._asked or self.busy()):
                self._heard, self._probed = now, 0.0
            elif self._probed and now - self._probed > SILENCE:
                log.warning("nothing is heard from %s: trying the next address", self._way.address)
                self._way.turn()
                self._lost()
            elif not self._probed and now - self._heard > PROBE:
                self._probed = now
                self._send(frame(m.WhoAmI(), PING))

    def _resend_due(self) -> None:
        if self._again_at and self._again_at <= time.monotonic():
            self._again_at = 0.0
            self.peer.again()
            if any(window.deferred for window in list(self.peer.windows.values())):
                self._again_at = time.monotonic() + RETRY

    # -- connections ---------------------------------------------------------------------------------------------------------

    def _arrived(self, arrival: Arrival) -> None:
        """Everything that waits for an answer is asked again."""
        with self.lock:
            self._sock, self._deframer, self.welcome, rest = arrival
            self._heard, self._probed = time.monotonic(), 0.0
            self._out.clear()
            self.peer.joined(arrival.welcome)
            for number, (message, _, _) in sorted(self._asked.items()):
                self._out.append(memoryview(frame(message, number)))
            for number, (message, slot, _) in self._asked.items():
                self._asked[number] = (message, slot, True)
            for message, watch in self._watches.again():
                number = next(self._numbers)
                self._asked[number] = (message, watch, False)
                self._out.append(memoryview(frame(message, number)))
            self._pump()
        for request, message in rest:
            self._take(request, message)

    def _lost(self) -> None:
        with self.lock:
            if self._sock is not None:
                self._sock.close()
                self._sock = None
            self.peer.lost()
            self._out.clear()
            if self._again_at:
                self._again_at = time.monotonic()  # not before a connection is there

    def _reconnect(self) -> bool:
        deadline = time.monotonic() + self.reconnect_for
        try:
            self._arrived(self._way.back(lambda: not self.closed and time.monotonic() <= deadline and self.alive()))
        except FlameError as error:
            if not self.closed:
                self._break(error)
            return False
        return True

    def _break(self, error: FlameError) -> None:
        """There is no going on: everything that waits gets the reason."""
        self.broken = error
        if not isinstance(error, HistoryLost | Unavailable):
            log.warning("connection refused: %s", error)
        with self.lock:
            self._fail_all(error)
            self.room.notify_all()
        self.closed = True

    def _fail_all(self, error: FlameError) -> None:
        for window in list(self.peer.windows.values()):
            self.results.fail(window.abandon(), error)
        asked, self._asked = self._asked, {}
        for _, slot, _ in asked.values():
            slot.put(error)


def _framed(message: Message, request: int) -> bytes:
    """Raises InvalidArgument for values that the wire has no form for, PayloadTooLarge for more than it carries."""
    try:
        made = frame(message, request)
    except (UnicodeError, ValueError, TypeError) as error:
        raise InvalidArgument(f"{type(message).__name__} cannot be sent: {error}") from None
    if len(made) > MAX_FRAME:
        raise PayloadTooLarge(f"a {type(message).__name__} of {len(made):,} bytes; at most {MAX_FRAME:,}")
    return made
