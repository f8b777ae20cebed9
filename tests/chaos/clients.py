"""One client process: several threads that open sessions, submit, cancel, watch, look, close, reconnect, and write down all of it.

    python -m chaos.clients '{"name": ..., "seed": ..., "history": ..., "endpoint": ..., "token": ..., "ca_file": ..., "threads": 3}'

SIGTERM: finish what was begun, then go. What is not finished PATIENCE seconds later is left as it is, and the check says so.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from chaos.history import Recorder, named
from chaos.service import BIG, function
from chaos.tap import listen

import flame
from flame.core.base.errors import AlreadyExists, FlameError, TaskError
from flame.sdk.future import Future
from flame.sdk.session import Session

T = TypeVar("T")
APP = "chaos-echo"
PATIENCE = 60.0
"""Seconds after SIGTERM in which everything must have come to its end."""


SLOW = 4.0
"""Seconds after which a client asks why a batch takes so long, and again after each that follow."""


class Order(msgspec.Struct):
    name: str
    seed: int
    history: str
    endpoint: str
    token: str | None = None
    ca_file: str | None = None
    threads: int = 3


class Over(Exception):
    """The patience has ended."""


class Work:
    """One thread's life."""

    def __init__(self, order: Order, number: int, stop: threading.Event, recorder: Recorder) -> None:
        self.order, self.stop, self.recorder = order, stop, recorder
        self.name = f"{order.name}.{number}"
        self.dice = random.Random(f"{order.seed}.{number}")
        self.numbers: dict[str, int] = {}
        self._sessions = 0
        self._client: flame.Client | None = None
        self._over = 0.0

    # -- tools ---------------------------------------------------------------------------------------------------------

    def over(self) -> bool:
        if self.stop.is_set() and not self._over:
            self._over = time.monotonic() + PATIENCE
        return bool(self._over) and time.monotonic() > self._over

    def rest(self, seconds: float) -> None:
        self.stop.wait(self.dice.uniform(0.2, 1.0) * seconds)

    def call(self, what: str, do: Callable[[], T], session: str = "") -> T:
        """Until it works. Whatever is refused for now is tried again; anything else is raised."""
        while True:
            begin = time.monotonic()
            try:
                made = do()
            except FlameError as error:
                said = f"{type(error).__name__}: {error}"
                self.recorder.write("called", session=session, what=what, begin=begin, text=said)
                if not error.retryable:
                    raise
                if self.over():
                    raise Over(f"{what}: {said}") from error
                if self._client is not None and self._client.link.broken is not None and what != "connect":
                    raise
                time.sleep(0.2)
            else:
                self.recorder.write("called", session=session, what=what, begin=begin)
                return made

    def connect(self) -> flame.Client:
        order = self.order
        made = self.call("connect", lambda: flame.connect(order.endpoint, token=order.token, ca_file=order.ca_file))
        listen(made, self.recorder, self.numbers)
        return made

    @property
    def client(self) -> flame.Client:
        if self._client is None or self._client.link.closed:
            self._client = self.connect()
        return self._client

    def reconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def open(self, **options: Any) -> Session:
        self._sessions += 1
        id = f"{self.name}-{self._sessions}"
        detached = bool(options.get("detached"))
        self.recorder.write("open", session=id, detached=detached)
        tries = [0]

        def make() -> Session:
            tries[0] += 1
            try:
                return self.client.session(APP, id=id, **options)
            except AlreadyExists:
                if tries[0] == 1:
                    raise
                return self.client.open_session(id)  # the answer of an earlier try was lost

        made = self.call("open", make, id)
        self.recorder.write("opened", session=id, detached=detached)
        return made

    def close(self, session: Session, mode: str) -> None:
        if mode != "finish":
            self.recorder.write("cancel", session=session.id, tasks=["*"])
        info = self.call("close", lambda: session.close(mode, 30), session.id)
        counts = [info.pending, info.running, info.succeed, info.failed, info.cancelled, info.state]
        self.recorder.write("closed", session=session.id, counts=counts)

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def run(self, session: Session, batch: int, what: str, count: int) -> list[Future]:
        self.recorder.write("run", session=session.id, batch=batch, count=count, what=what)
        futures = []
        for place in range(count):
            payload = named(session.id, batch, place, what).encode()
            if what == "big":
                payload += b"." * BIG
            retries = 3 if what.startswith("fail") else -1
            futures.append(session.submit(payload, retries=retries))
        return futures

    def collect(self, session: str, batch: int, futures: list[Future]) -> None:
        """Wait for the outcome of every one, and write all of them down."""
        left, begin, asked = set(futures), time.monotonic(), 0
        while left and not self.over():
            left = concurrent.futures.wait(left, timeout=1.0).not_done
            if left and time.monotonic() - begin > SLOW * (asked + 1):
                asked += 1
                self._why(session, batch)
        self.recorder.write("done", session=session, batch=batch, texts=[outcome(f) for f in futures])

    def _why(self, session: str, batch: int) -> None:
        """Every wait has a reason: what the engine says it is."""
        try:
            text = "; ".join(f"{reason.reason}: {reason.message}" for reason in self.client.explain(session).reasons)
        except FlameError as error:
            text = said(error)
        self.recorder.write("why", session=session, batch=batch, text=text)

    @contextmanager
    def watching(self, session: Session, names: list[str], look: bool) -> Iterator[None]:
        """Threads that watch and poll these tasks until they have ended."""
        threads = [threading.Thread(target=self._watch, args=(session, name, at)) for at, name in enumerate(names, 1)]
        if look:
            threads.append(threading.Thread(target=self._look, args=(session, names)))
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            thread.join()

    def _number(self, name: str) -> int:
        while name not in self.numbers and not self.over():
            time.sleep(0.002)
        return self.numbers.get(name, 0)

    def _watch(self, session: Session, name: str, watch: int) -> None:
        no = self._number(name)
        self.recorder.write("watch", session=session.id, no=no, watch=watch)
        why = "the stream ended"
        try:
            for info in session.watch(no, timeout=PATIENCE * 2):
                self.recorder.write(
                    "changed", session=session.id, no=no, watch=watch, state=info.state, attempt=info.attempt
                )
                why = "terminal" if info.state >= 2 else why
        except (FlameError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
        self.recorder.write("unwatch", session=session.id, no=no, watch=watch, text=why)

    def _look(self, session: Session, names: list[str]) -> None:
        numbers = [no for name in names if (no := self._number(name))]
        seen: dict[int, int] = {}
        while any(seen.get(no, 0) < 2 for no in numbers) and not self.over():
            for no in numbers:
                begin = time.monotonic()
                try:
                    info = session.get_task(no)
                except FlameError as error:
                    self.recorder.write("called", session=session.id, what="get", begin=begin, text=said(error))
                    if not error.retryable or session.link.closed:
                        return
                    continue
                seen[no] = info.state
                self._seen(info, begin)
            time.sleep(0.05)

    def _seen(self, info: Any, begin: float) -> None:
        text = (info.output or b"")[:40].decode() if info.state == 2 else ""
        self.recorder.write(
            "seen", session=info.session, no=info.no, state=info.state, attempt=info.attempt, text=text, begin=begin
        )

    def look_at_all(self, session: Session) -> None:
        """One listing of the session's tasks, and one of all sessions."""
        begin = time.monotonic()
        for info in self.call("list tasks", lambda: list(session.list_tasks()), session.id):
            self._seen(info, begin)
        begin = time.monotonic()
        ids = [info.id for info in self.call("list sessions", self.client.list_sessions)]
        self.recorder.write("listed", begin=begin, tasks=ids)

    # -- scenes --------------------------------------------------------------------------------------------------------

    def short(self) -> None:
        """Batches of short tasks, one after the other; sometimes large ones."""
        session = self.open()
        for batch in range(self.dice.randint(2, 6)):
            what, most = ("big", 8) if self.dice.random() < 0.15 else ("echo", 150)
            futures = self.run(session, batch, what, self.dice.randint(1, most))
            self.collect(session.id, batch, futures)
            self.rest(0.5)
        self.close(session, "finish")

    def slow(self) -> None:
        """Tasks of 50-300 ms that are watched and looked at."""
        session = self.open(max_instances=2)
        count = self.dice.randint(2, 8)
        what = f"sleep:{self.dice.uniform(0.05, 0.3):.2f}"
        futures = self.run(session, 0, what, count)
        names = [named(session.id, 0, place, what) for place in range(min(count, 4))]
        with self.watching(session, names, look=True):
            self.collect(session.id, 0, futures)
        self.look_at_all(session)
        self.close(session, "finish")

    def failing(self) -> None:
        """Some fail at first, some always; once in a while one kills its executor."""
        session = self.open(retries=1, backoff=0.02)
        kinds = ["fail:2", "fail:3", "broken", "echo"] + (["exit"] if self.dice.random() < 0.2 else [])
        batches = [(at, self.run(session, at, what, self.dice.randint(1, 6) if what != "exit" else 1))
                   for at, what in enumerate(kinds)]  # fmt: skip
        for at, futures in batches:
            self.collect(session.id, at, futures)
        self.look_at_all(session)
        self.close(session, "finish")

    def cancelling(self) -> None:
        """Some tasks are cancelled one way or the other; sometimes the session with them."""
        session = self.open(max_instances=2)
        count = self.dice.randint(6, 20)
        what = f"sleep:{self.dice.uniform(0.05, 0.15):.2f}"
        futures = self.run(session, 0, what, count)
        self.rest(0.3)
        chosen = self.dice.sample(range(count), self.dice.randint(1, count // 2))
        self.recorder.write("cancel", session=session.id, tasks=[named(session.id, 0, at, what) for at in chosen])
        kill = self.dice.random() < 0.5
        self.call("cancel", lambda: session.cancel([futures[at] for at in chosen], kill=kill), session.id)
        mode = self.dice.choice(("finish", "drain", "cancel"))
        if mode == "finish":
            self.collect(session.id, 0, futures)
            self.close(session, mode)
        else:
            self.close(session, mode)
            self.collect(session.id, 0, futures)

    def functions(self) -> None:
        """@flame.task, in the session that the client keeps for functions."""
        from flame.sdk.tasks import function_session

        task = function.options(client=self.client)
        id = self.call("functions", lambda: function_session(self.client, {"cpu": 1000})).id
        for _ in range(self.dice.randint(1, 3)):
            self._sessions += 1
            batch, count = self._sessions, self.dice.randint(1, 40)
            what = self.dice.choice(("echo", "echo", "fail:2", "sleep:0.03"))
            self.recorder.write("run", session=id, batch=batch, count=count, what=what)
            futures: list[Future] = []
            try:
                for place in range(count):
                    futures.append(task.submit(named(id, batch, place, what)))
            finally:  # a refused call (the disk is full) was nothing; those before it count
                self.collect(id, batch, futures)
            self.rest(0.5)

    def leaving(self) -> None:
        """Submit, go, come back by another connection and find everything."""
        session = self.open(detached=True)
        futures = self.run(session, 0, "sleep:0.05", self.dice.randint(5, 30))
        self.call("flush", lambda: flush(session), session.id)
        del futures
        self.reconnect()
        self.rest(1.0)
        again = self.call("reopen", lambda: self.client.open_session(session.id), session.id)
        while not self.over():
            info = self.call("status", again.status, session.id)
            if not info.pending + info.running:
                break
            self.rest(0.3)
        self.look_at_all(again)
        self.collect(session.id, 1, self.run(again, 1, "echo", 20))
        self.close(again, "finish")

    def live(self) -> None:
        scenes = [
            self.short,
            self.short,
            self.slow,
            self.slow,
            self.failing,
            self.cancelling,
            self.functions,
            self.leaving,
        ]
        while not self.stop.is_set():
            try:
                self.dice.choice(scenes)()
            except TaskError:
                raise
            except FlameError as error:
                # The connection was given up: what it had is unknown to this client, and the next one begins anew.
                self.recorder.write("called", what="scene", text=said(error))
                self.reconnect()
            self.rest(0.7)
        self.reconnect()


def flush(session: Session) -> None:
    session.flush(PATIENCE)


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def outcome(future: Future) -> str:
    if not future.done():
        return "waits"
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    if error is not None:
        return f"error {said(error)}"
    value = future.result()
    return f"ok {value if isinstance(value, str) else bytes(value)[:40].decode().rstrip('.')}"


def main() -> int:
    faulthandler.register(signal.SIGUSR1)
    order = msgspec.json.decode(sys.argv[1], type=Order)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # before there is a history: without one nothing was begun
    recorder = Recorder(Path(order.history))
    recorder.write("started", text=order.name)
    trouble: list[str] = []

    def live(number: int) -> None:
        try:
            Work(order, number, stop, recorder).live()
        except Exception as error:
            recorder.write("called", what="thread", text=said(error))
            trouble.append(said(error))
            sys.excepthook(type(error), error, error.__traceback__)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(order.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
    if not trouble:
        recorder.write("left")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
