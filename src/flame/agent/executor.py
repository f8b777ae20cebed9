"""The executor process: one connection, one session, one task at a time.

The main thread reads the socket between tasks and runs the tasks. A helper thread takes over the socket only while one task runs long
(20 ms): it reports the task as started, answers recalls, passes on cancellations. The lock is held by the main thread whenever user code
is not running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flame.agent.outcome import bad_output, describe, describe_failure, load_service
from flame.agent.page import Page
from flame.agent.prints import TaskStream
from flame.core.base.errors import BY_CODE, FlameError, Unavailable
from flame.core.model import messages as m
from flame.core.model.payloads import MAX_PAYLOAD, encode_failure, failure
from flame.core.model.states import ResultCode
from flame.core.peers.executor import LONG_TASK, ExecutorPeer
from flame.sdk import current
from flame.sdk.service import FlameService, SessionContext, TaskContext
from flame.shell.address import connect, parse_all
from flame.wire.codec import Deframer, decode, frame

log = logging.getLogger("flame.executor")

FLUSH_SECONDS, FLUSH_AWAY = 0.002, 0.006
"""Results of short tasks leave together after this long, or when there is nothing left to run; to another machine more rarely."""
STANDBY_PAUSE = 0.05
RECONNECT_SECONDS = 30.0
"""How long an executor looks for its manager before it gives up."""
_READ = 1 << 18


@dataclass
class Launch:
    """What an executor process is told when it leaves the warm pool."""

    id: str
    token: str
    session: str
    address: str
    python: str = ""


class Terminated(BaseException):
    """SIGTERM came: leave the session, then end."""


def _terminate(*_: object) -> None:
    raise Terminated


class Executor:
    """Runs until it is told to leave, or its manager stays away."""

    def __init__(self, launch: Launch, page: Page, load: Callable[[m.Enter], FlameService]) -> None:
        self.peer = ExecutorPeer(launch.id, launch.token, launch.session, launch.python)
        self.addresses = parse_all(launch.address)
        # Only a relay leads to another machine; its name says so (`agent.relay`).
        away = any("/relay-" in address.path for address in self.addresses)
        self.flush_after = FLUSH_AWAY if away else FLUSH_SECONDS
        if away:
            self.peer.features = (m.AWAY,)
        self._next = 0
        #: since when it has no manager, 0: it has one
        self._lost_at = 0.0
        self.page, self._load = page, load
        self.service: FlameService | None = None
        self.context: SessionContext | None = None
        self.sock: socket.socket | None = None
        self.deframer = Deframer()
        self._buffer = bytearray(_READ)
        self._view = memoryview(self._buffer)
        self.lock = threading.RLock()
        self.running_since = 0.0
        self.serial = 0  # counts tasks: the helper compares it
        self.work = threading.Event()
        self.entered_told: m.Entered | None = None
        self.prints: tuple[TaskStream, ...] = ()
        self.retryable: Callable[[BaseException], bool] = lambda error: True
        self._answers: dict[int, m.Message] = {}
        self._asked = 0
        self._lending = 0

    # -- socket ----------------------------------------------------------------------------------------------------------

    def connect(self) -> bool:
        """Say hello on a new connection. False when nobody was there for RECONNECT_SECONDS."""
        self._lost_at = self._lost_at or time.monotonic()
        deadline, pause = self._lost_at + RECONNECT_SECONDS, 0.005
        while not self._reconnect_once():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        return True

    def _dropped(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
            self._next += 1
            self._lost_at = self._lost_at or time.monotonic()
            self.peer.lost()

    def send(self) -> None:
        """Everything that is due. A lost connection is noticed by the next read."""
        out = self.peer.drain()
        if not out or self.sock is None:
            return
        try:
            self.sock.sendall(b"".join([frame(message) for message in out]))
        except OSError:
            self._dropped()

    def read(self, wait: float | None) -> bool:
        """Take in what has arrived, waiting at most `wait` seconds (None: until something comes). False when the connection is gone."""
        if self.sock is None:
            return False
        if wait is not None and not select.select((self.sock,), (), (), wait)[0]:
            return True
        try:
            size = self.sock.recv_into(self._buffer)
        except (OSError, ValueError):
            size = 0
        if not size:
            self._dropped()
            return False
        for envelope in self.deframer.feed(bytes(self._view[:size])):
            request, message = decode(envelope)
            if request:
                self._answers[request] = message
                continue
            if type(message) is m.Failure and BY_CODE.get(message.code, FlameError).retryable:
                self._dropped()  # it stands by, or cannot tell yet: the next address, or later
                time.sleep(STANDBY_PAUSE)
                return False
            if type(message) is m.Failure:
                log.error("the session manager refused this executor: %s", message.message)
                self.peer.leaving = True
                continue
            self.peer.receive(message)
            if type(message) is m.Welcome:
                self._lost_at = 0.0
            if type(message) is m.Welcome and self.entered_told is not None and not self.peer.entered:
                self.peer.out.append(self.entered_told)
        return True

    # -- life ------------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """The whole life of the process; returns its exit code."""
        threading.Thread(target=self._help, name="flame-helper", daemon=True).start()
        with self.lock:
            try:
                signal.signal(signal.SIGTERM, _terminate)
                while self._connected() and self._turn():
                    pass
            except Terminated:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self._leave()

    def _connected(self) -> bool:
        if self.sock is None and not self.connect():
            log.error("the session manager at %s is gone", ", ".join(map(str, self.addresses)))
            return False
        return True

    def _turn(self) -> bool:
        """Read, run what there is, send. False at the end."""
        peer = self.peer
        if self.service is None and peer.enter is not None and not self._enter(peer.enter):
            self._say_goodbye()
            return False
        if peer.batches and self.service is not None:
            self._run_tasks()
        peer.flush()
        self.send()
        if peer.leaving and not peer.batches:
            return self._wait_recorded()
        self.read(None)
        return True

    def _wait_recorded(self) -> bool:
        """Leaving with unrecorded results: they stay until the manager has them. False when there are none."""
        if not self.peer.unrecorded or self.sock is None:
            return bool(self.peer.unrecorded)
        self.read(1.0)
        return True

    def _enter(self, enter: m.Enter) -> bool:
        self.context = SessionContext(enter.session, enter.app, enter.common_data, enter.spec, enter.resources)
        current.session = self.context
        code, text = 0, ""
        try:
            self.service = self._load(enter)
        except BaseException as error:
            code, text = 11, f"shim creation failed: {describe(error)}"
            traceback.print_exc()
        else:
            try:
                self.service.on_session_enter(self.context)
                self.retryable = getattr(self.service, "retryable", self.retryable)
            except BaseException as error:
                code, text = 12, f"on_session_enter failed: {describe(error)}"
                traceback.print_exc()
        self.entered_told = m.Entered(code, text)
        self.peer.out.append(self.entered_told)
        self.peer.entered = not code
        self._capture_prints()
        return not code

    def _say_goodbye(self) -> None:
        """The bind failed: the manager must know before this process ends."""
        self.send()
        deadline = time.monotonic() + 2
        while not self.peer.leaving and self.sock is not None and time.monotonic() < deadline:
            self.read(0.1)

    def _capture_prints(self) -> None:
        def emit(stream: str, text: str) -> None:
            run = self.peer.current
            if run is not None:
                with self.lock:
                    self.peer.out.append(m.LogLine(self.peer.session, run[0], stream, text, time.time()))

        out, err = TaskStream("out", sys.stdout, emit), TaskStream("err", sys.stderr, emit)
        self.prints = (out, err)
        sys.stdout, sys.stderr = out, err

    def _run_tasks(self) -> None:
        """Until nothing is left, sending results along the way. User code runs without the lock."""
        peer, lock, page, clock, context = self.peer, self.lock, self.page, time.time, self.context
        service = self.service
        assert service is not None and context is not None
        invoke = service.on_task_invoke
        last = now = clock()
        if not self.work.is_set():
            self.work.set()
        while (task := peer.take(now)) is not None:
            no, payload, attempt = task
            run = peer.current
            assert run is not None
            page.begin(no, run[1], run[2], attempt, now)
            ctx = TaskContext(no, attempt, payload, context, self._is_cancelled)
            current.task = ctx
            self.serial += 1
            self.running_since = now
            lock.release()
            try:
                output = invoke(ctx)
                code = 0
                if output is not None and (type(output) is not bytes or len(output) > MAX_PAYLOAD):
                    code, output = bad_output(output)
            except Terminated:
                raise
            except BaseException as error:
                code, output = self._failed(error)
            finally:
                lock.acquire()
            now = clock()
            self.running_since = 0.0
            if peer.cancelled:
                code, output = ResultCode.CANCELLED, None
            for stream in self.prints:
                if stream._rest:
                    stream.end_task()
            peer.done(code, output, now)
            if now - last > self.flush_after or peer.full():
                last = now
                peer.flush()
                self.send()
                if not self.read(0):
                    break
        current.task = None
        page.clear()

    def _is_cancelled(self) -> bool:
        return self.peer.cancelled

    def _failed(self, error: BaseException) -> tuple[int, bytes]:
        if isinstance(error, SystemExit | KeyboardInterrupt) and not isinstance(error, Exception):
            text = f"the service called {type(error).__name__}"
            return ResultCode.FAILED, failure("task_failed", text, kind=type(error).__name__)
        code = ResultCode.RETRY if self.retryable(error) else ResultCode.FAILED
        return code, encode_failure(describe_failure(error))

    def _leave(self) -> int:
        if self.service is not None and self.peer.entered:
            try:
                self.service.on_session_leave()
            except BaseException:
                traceback.print_exc()
        self.peer.out.append(m.Left())
        self.send()
        self.page.clear()
        with contextlib.suppress(OSError):
            for stream in self.prints:
                stream.flush()
        return 0

    # -- the helper --------------------------------------------------------------------------------------------------------

    def _help(self) -> None:
        """Look every 20 ms while there is work; sleep for good when there has been none for a while."""
        seen, quiet = -1, 0
        while True:
            self.work.wait()
            time.sleep(LONG_TASK)
            serial = self.serial
            if serial != seen:
                seen, quiet = serial, 0
            elif self.running_since:
                if time.time() - self.running_since >= LONG_TASK:
                    self._take_over(serial)
            else:
                quiet += 1
                if quiet > 5:
                    self.work.clear()
                    quiet = 0
                    if self.running_since or self.serial != seen:  # work came in between
                        self.work.set()

    def _take_over(self, serial: int) -> None:
        """One task runs long: speak for it until it ends."""
        while True:
            with self.lock:
                if self.serial != serial or not self.running_since:
                    return
                if self.sock is None and not self._reconnect_once():
                    self.lock.release()
                    try:
                        time.sleep(0.02)
                    finally:
                        self.lock.acquire()
                    continue
                self.peer.report_started(self.running_since)
                self.send()
                sock = self.sock
            if sock is None:
                continue
            try:
                ready = select.select((sock,), (), (), LONG_TASK)[0]
            except (OSError, ValueError):
                ready = []
            with self.lock:
                if self.serial != serial or not self.running_since:
                    return
                if ready and sock is self.sock:
                    self.read(0)

    def _reconnect_once(self) -> bool:
        """The next of the addresses; True once our hello is on its way."""
        address = self.addresses[self._next % len(self.addresses)]
        try:
            self.sock = connect(address, timeout=5)
            self.deframer = Deframer()
            self.sock.sendall(frame(self.peer.hello()))
            return True
        except OSError:
            self.sock = None
            self._next += 1
            return False

    def say(self, message: m.Message) -> None:
        """From user code (streaming, blocking): send now."""
        with self.lock:
            self.peer.out.append(message)
            self.send()

    def ask(self, message: m.Message, timeout: float = 60.0) -> m.Message:
        """From user code: a question to the session manager. Raises the FlameError answered, or Unavailable."""
        with self.lock:
            self._asked += 1
            number = self._asked
            if self.sock is not None:
                self.sock.sendall(frame(message, number))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self.lock:
                if self.sock is None and not self._reconnect_once():
                    continue
                if number not in self._answers:
                    self.read(0.05)
                answer = self._answers.pop(number, None)
            if isinstance(answer, m.Failure):
                raise BY_CODE.get(answer.code, FlameError)(answer.message, hint=answer.hint)
            if answer is not None:
                return answer
        raise Unavailable(f"no answer to {type(message).__name__} within {timeout:g} s")

    @contextlib.contextmanager
    def lending(self) -> Iterator[None]:
        """While user code waits for other tasks its slot is free for them."""
        with self.lock:
            self._lending += 1
            self.peer.block(True)
            self.send()
        try:
            yield
        finally:
            with self.lock:
                self._lending -= 1
                self.peer.block(self._lending > 0)
                self.send()


def main(launch: Launch, page_path: Path) -> int:
    """Entry of an executor process."""
    executor = Executor(launch, Page(page_path), load_service)
    current.executor = executor
    os.environ["FLAME_EXECUTOR_ID"] = launch.id
    return executor.run()
