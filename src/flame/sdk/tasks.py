"""`@flame.task`: plain Python functions as tasks.

@flame.task(retries=2)
def simulate(seed): ...

future = simulate.submit(7)
for value in simulate.map(range(10_000)): ...
"""

from __future__ import annotations

import functools
import inspect
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

from flame.core.base.errors import FlameError, InvalidArgument
from flame.core.base.quantity import parse_size
from flame.core.model import messages as m
from flame.sdk import current, functions
from flame.sdk.future import Future
from flame.sdk.service import TaskContext
from flame.sdk.session import Session
from flame.sdk.windowed import windowed


class ObjectFuture(Future):
    """A future whose value is unpickled by who asks for it, once."""

    __slots__ = ("_object",)
    _object: Any

    def _value(self) -> Any:
        try:
            return self._object
        except AttributeError:
            self._object = functions._loads(self._result)
            return self._object

    def result(self, timeout: float | None = None) -> Any:
        try:
            return super().result(timeout)
        except FlameError as error:
            original = cause_of(error)
            if original is not None:
                raise error from original
            raise


def cause_of(error: FlameError) -> BaseException | None:
    """The exception the function raised, where it could be pickled there and unpickled here."""
    pickled = getattr(error, "pickled", b"")
    if not pickled:
        return None
    try:
        import cloudpickle

        found = cloudpickle.loads(pickled)
    except Exception:
        return None
    return found if isinstance(found, BaseException) else None


class FunctionSession(Session):
    """A session of functions: knows which functions it has."""

    future = ObjectFuture

    def __init__(self, link: Any, info: m.SessionInfo, owned: bool) -> None:
        super().__init__(link, info, owned)
        self.shared: set[bytes] = set()

    def share(self, digest: bytes, blob: bytes) -> None:
        if digest not in self.shared:
            self._ask(m.ShareBlob(self.id, digest.hex(), blob), m.Done)
            self.shared.add(digest)

    def call(self, payload: bytes, options: tuple[int, float, float]) -> ObjectFuture:
        """Submit one pickled call."""
        self._check_open()
        if len(payload) >= 4096:
            payload = self._big(payload)
        future = ObjectFuture(self)
        if options == (-1, -1.0, -1.0) and not self._window.options:
            future._result = payload
            self._enqueue(future)
        else:
            self._append(payload, future, options)
        return future


_sessions: dict[tuple[int, tuple[tuple[str, int], ...]], FunctionSession] = {}
_lock = threading.RLock()


def function_session(client: Any, resources: dict[str, int]) -> FunctionSession:
    """The session of this process for functions of one size, made on first use. Inside a task of the same size: the task's own session."""
    key = (id(client), tuple(sorted(resources.items())))
    with _lock:
        found = _sessions.get(key)
        if found is not None and not found._closed and not found.link.closed:
            return found
        context = current.session
        if (
            context is not None
            and context.application == functions.APP
            and (not resources or resources == context.resources)
        ):
            opened = client.open_session(context.session_id)
            session = FunctionSession(opened.link, opened.info, owned=False)
        else:
            client.register(functions.APP, functions.app_spec(), if_absent=True)
            made = client.session(functions.APP, common_data=functions.common_data(), resources=resources)
            session = FunctionSession(made.link, made.info, owned=True)
        _sessions[key] = session
        return session


class Stream:
    """What a generator task yields, as it comes. `result()` waits for all of it and returns the list."""

    def __init__(self, future: ObjectFuture, items: queue.SimpleQueue[Any]) -> None:
        self.future, self._items = future, items

    def __iter__(self) -> Iterator[Any]:
        seen = 0
        while True:
            item = self._items.get()
            if item is None:  # the task ended: what did not come live is in its result
                yield from self.future.result()[seen:]
                return
            if item.index == seen:  # a second attempt begins at 0 again
                seen += 1
                yield functions._loads(item.payload)

    def result(self, timeout: float | None = None) -> list[Any]:
        return self.future.result(timeout)  # type: ignore[no-any-return]


class _Streams:
    """Routes Streamed items to their Stream by the number their future got."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[Session, queue.SimpleQueue[Any]]] = {}

    def take(self, item: m.Streamed) -> None:
        for session, _ in list(self.waiting.values()):
            if session.id != item.session:
                continue
            for entry in session._window.waiting:
                index = item.no - entry.first
                if 0 <= index < len(entry.tickets):
                    found = self.waiting.get(id(entry.tickets[index]))
                    if found is not None:
                        found[1].put(item)
                    return
            return


_streams = _Streams()


class Task:
    """A function that can run elsewhere. Calling it runs it here."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._options = options
        self._pickled: tuple[bytes, bytes] | None = None
        self._generator = inspect.isgeneratorfunction(function)
        self._resources = _resources(options["cpu"], options["gpu"], options["mem"])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> Any:
        return _rebuild, (self.function, self._options)

    def options(self, **changes: Any) -> Task:
        """The same function with other options: cpu, gpu, mem, retries, timeout, retry_on, client."""
        unknown = set(changes) - set(self._options)
        if unknown:
            raise InvalidArgument(f"unknown options {sorted(unknown)}; known: {sorted(self._options)}")
        return Task(self.function, **(self._options | changes))

    def _session(self) -> FunctionSession:
        from flame.sdk.connect import default_client

        client = self._options["client"] or default_client()
        return function_session(client, self._resources)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Run it as a task. Returns its future (a Stream for a generator function); futures among the arguments are waited for and replaced
        by their values. Raises Unpicklable."""
        if os.environ.get("FLAME_SYNC") == "1":
            return _inline(self, args, kwargs)
        waiting = [a for a in (*args, *kwargs.values()) if isinstance(a, Future)]
        if waiting and not all(f.done() for f in waiting):
            return self._submit_later(args, kwargs, waiting)
        if waiting:
            args = tuple(a.result() if isinstance(a, Future) else a for a in args)
            kwargs = {k: v.result() if isinstance(v, Future) else v for k, v in kwargs.items()}
        future = self._call(self._session(), args, kwargs)
        return self._streaming(future) if self._generator else future

    def _call(self, session: FunctionSession, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ObjectFuture:
        if self._pickled is None:
            self._pickled = functions.pickle_function(self.function, self._options["retry_on"])
        digest, blob = self._pickled
        if digest not in session.shared:
            session.share(digest, blob)
        timeout, retries = self._options["timeout"], self._options["retries"]
        options = (retries or -1, -1.0 if timeout is None else float(timeout), -1.0)
        return session.call(functions.pickle_call(digest, args, kwargs), options)

    def _streaming(self, future: ObjectFuture) -> Stream:
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        session = future._session
        assert session is not None
        session.link.on_stream = _streams.take
        _streams.waiting[id(future)] = (session, items)

        def ended(_: Any) -> None:
            _streams.waiting.pop(id(future), None)
            items.put(None)

        future.add_done_callback(ended)
        return Stream(future, items)

    def _submit_later(self, args: tuple[Any, ...], kwargs: dict[str, Any], waiting: list[Future]) -> ObjectFuture:
        """Some arguments are not there yet: submit when the last one is; a failed one fails this call with its error."""
        promise = ObjectFuture()
        state = {"left": len(waiting)}
        guard = threading.Lock()
        session = self._session()

        def ready(_: Any) -> None:
            with guard:
                state["left"] -= 1
                if state["left"]:
                    return
            threading.Thread(
                target=go, daemon=True
            ).start() if session.link.in_callback and self._pickled is None else go()

        def go() -> None:
            try:
                values = tuple(a.result() if isinstance(a, Future) else a for a in args)
                named = {k: v.result() if isinstance(v, Future) else v for k, v in kwargs.items()}
                inner = self._call(session, values, named)
            except BaseException as error:
                promise.set_exception(error)
                return
            promise._session = session
            inner.add_done_callback(lambda f: _copy(f, promise))

        for future in waiting:
            future.add_done_callback(ready)
        return promise

    def map(
        self, *iterables: Iterable[Any], ordered: bool = True, window: int = 50_000, timeout: float | None = None
    ) -> Iterator[Any]:
        """Values of one call per item (zip of several iterables), in order or as they come; at most `window` calls are out at once. Leaving
        the loop early, or Ctrl-C, cancels the rest."""
        if os.environ.get("FLAME_SYNC") == "1":
            return map(self.function, *iterables)
        session = self._session()

        def submit(args: tuple[Any, ...]) -> ObjectFuture:
            return self._call(session, args, {})

        cancel = functools.partial(session.cancel, kill=True)
        return windowed(submit, zip(*iterables, strict=False), cancel, ordered=ordered, window=window, timeout=timeout)


def _copy(source: Any, promise: ObjectFuture) -> None:
    if source.cancelled():
        promise._cancelled_now()
    elif source._exception is not None:
        promise.set_exception(source._exception)
    else:
        promise._object = source.result()
        promise.set_result(source._result)


def _rebuild(function: Callable[..., Any], options: dict[str, Any]) -> Task:
    return Task(function, **(options | {"client": None}))


def _resources(cpu: float, gpu: float, mem: str | int | None) -> dict[str, int]:
    if cpu < 0 or gpu < 0:
        raise InvalidArgument(f"cpu={cpu}, gpu={gpu}; numbers from 0 on")
    out = {"cpu": int(cpu * 1000)}
    if gpu:
        out["gpu"] = int(gpu * 1000)
    if mem is not None:
        out["memory"] = parse_size(mem)
    return out


def _inline(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """FLAME_SYNC=1: run in the caller, where a debugger sees it."""
    values = tuple(a.result() if isinstance(a, Future) else a for a in args)
    named = {k: v.result() if isinstance(v, Future) else v for k, v in kwargs.items()}
    future = ObjectFuture()
    try:
        value = task.function(*values, **named)
        if task._generator:
            value = list(value)
    except Exception as error:
        future.set_exception(error)
    else:
        future._object = value
        future.set_result(b"")
    return Stream(future, _ended()) if task._generator else future


def _ended() -> queue.SimpleQueue[Any]:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(None)
    return items


@overload
def task(function: Callable[..., Any], /) -> Task: ...
@overload
def task(
    *, cpu: float = 1, gpu: float = 0, mem: str | int | None = None, retries: int = 0, timeout: float | None = None,
    retry_on: tuple[type[BaseException], ...] | None = None, client: Any = None,
) -> Callable[[Callable[..., Any]], Task]: ...  # fmt: skip
def task(
    function: Callable[..., Any] | None = None, /, *, cpu: float = 1, gpu: float = 0, mem: str | int | None = None,
    retries: int = 0, timeout: float | None = None, retry_on: tuple[type[BaseException], ...] | None = None, client: Any = None,
) -> Any:  # fmt: skip
    """Make a function a task: `@flame.task` or `@flame.task(...)`.

    cpu, gpu: of one executor (fractions allowed); mem: such as "1g" (None: not counted); retries: attempts after the first failed one;
    timeout: seconds one call may run; retry_on: exceptions worth another attempt (None: all); client: None = the default one.
    """
    options = {
        "cpu": cpu,
        "gpu": gpu,
        "mem": mem,
        "retries": retries,
        "timeout": timeout,
        "retry_on": retry_on,
        "client": client,
    }
    if function is not None:
        if not callable(function):
            raise InvalidArgument(f"@flame.task wants a function, not {type(function).__name__}")
        return Task(function, **options)
    return lambda f: Task(f, **options)


def current_task() -> TaskContext | None:
    """Inside a task: its number, attempt and whether somebody asked it to stop. None elsewhere."""
    return current.task
