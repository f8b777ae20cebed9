"""`flame.FlameExecutor`: a `concurrent.futures.Executor` over a cluster."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flame.core.base.errors import FlameError, InvalidArgument
from flame.core.base.quantity import parse_resources
from flame.sdk import functions
from flame.sdk.tasks import FunctionSession, ObjectFuture, cause_of


class PoolFuture(ObjectFuture):
    """Raises what the function raised itself, as the standard library's executors do."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> Any:
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error
            finally:
                self = None  # type: ignore[assignment]
        return self._value()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = super().exception(timeout)
        if error is None:
            return None
        original = cause_of(error)  # type: ignore[arg-type]
        if original is None:
            return error
        original.__cause__ = error
        self._exception = original
        return original


class FlameExecutor(concurrent.futures.Executor):
    """submit, map and shutdown as the standard library has them.

    max_workers: executors at most (None: what the cluster has); client: None = the default one; resources: of one executor.
    """

    def __init__(
        self, max_workers: int | None = None, *, client: Any = None, resources: str | None = None, retries: int = 0,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if client is None:
            from flame.sdk.connect import default_client

            client = default_client()
        client.register(functions.APP, functions.app_spec(), if_absent=True)
        made = client.session(
            functions.APP, common_data=functions.common_data(), max_instances=max_workers,
            resources=parse_resources(resources) if resources else None, retries=retries, timeout=timeout,
        )  # fmt: skip
        self.session = FunctionSession(made.link, made.info, owned=True)
        self._max_workers = max_workers
        self._shutdown = False
        self._guard = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Callable[..., Any], bytes] = weakref.WeakKeyDictionary()
        self._open: set[int] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PoolFuture:
        """Raises RuntimeError after shutdown, Unpicklable, InvalidArgument."""
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        digest = self._digest(fn)
        payload = functions.pickle_call(digest, args, kwargs)
        session = self.session
        if len(payload) >= 4096:
            payload = session._big(payload)
        if session.link.closed:
            session.link.check()
        future = PoolFuture(session)
        future._result = payload
        session._enqueue(future)
        return future

    def _digest(self, fn: Callable[..., Any]) -> bytes:
        try:
            known = self._known.get(fn)
        except TypeError:
            known = None
        if known is not None:
            return known
        if not callable(fn):
            raise InvalidArgument(f"submit wants a callable, not {type(fn).__name__}")
        digest, blob = functions.pickle_function(fn)
        self.session.share(digest, blob)
        # A closure may change between two calls: it is pickled each time, and sent when it did.
        if getattr(fn, "__closure__", 0) is None:
            self._known[fn] = digest
        return digest

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[Any]:
        """As the standard library's. `chunksize` is not needed: tasks travel in frames anyway."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        return super().map(fn, *iterables, timeout=timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._guard:
            if self._shutdown:
                return
            self._shutdown = True
        session = self.session
        if session.link.closed:
            return
        if cancel_futures:
            session.cancel()
        if wait:
            session.close("finish")
        else:
            threading.Thread(target=_close, args=(session,), daemon=True).start()


def _close(session: FunctionSession) -> None:
    """In the background: the client may be closed before the session is."""
    with contextlib.suppress(FlameError):
        session.close("finish")
