"""Results come to futures: resolving them in bulk, and calling callbacks on a thread of their own."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import Any

from flame.core.base.errors import BY_CODE, FlameError
from flame.core.model import messages as m
from flame.core.model.states import ResultCode
from flame.sdk.failures import error_from

log = logging.getLogger("flame.client")


class Results:
    """Resolves futures, whoever brings the results; callbacks never run on the I/O thread."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.caller: threading.Thread | None = None

    def call(self, work: Callable[[], object]) -> None:
        """Run on the callback thread."""
        if self.caller is None:
            self.caller = threading.Thread(target=self._call_all, name="flame-callbacks", daemon=True)
            self.caller.start()
        self._calls.put(work)

    def resolver(self, session: str) -> Callable[[Sequence[Any], bytes, Sequence[bytes | None], int], None]:
        def resolve(futures: Sequence[Any], codes: bytes, payloads: Sequence[bytes | None], first: int) -> None:
            if codes:
                self._resolve_mixed(session, futures, codes, payloads, first)
                return
            told = []
            for future, payload in zip(futures, payloads, strict=True):
                future._result = payload
                future._stage = FINISHED
                if future._cond is not None:
                    told.append(future)
            self.tell(told)

        return resolve

    def _resolve_mixed(
        self, session: str, futures: Sequence[Any], codes: bytes, payloads: Sequence[bytes | None], first: int
    ) -> None:
        for i, future in enumerate(futures):
            code = codes[i]
            if code == ResultCode.SUCCEED:
                future._result = payloads[i]
                future._stage = FINISHED
            elif code == ResultCode.CANCELLED:
                future._stage = CANCELLED_AND_NOTIFIED
            else:
                future._exception = error_from(payloads[i] or b"", session, first + i)
                future._stage = FINISHED
        self.tell([f for f in futures if f._cond is not None])

    def tell(self, futures: list[Any]) -> None:
        for future in futures:
            if future._settle():
                self.call(future._call_hooks)

    def fail(self, futures: Sequence[Any], error: FlameError) -> None:
        for future in futures:
            if not future.done():
                future._exception = error
                future._stage = FINISHED
        self.tell([f for f in futures if f._cond is not None])

    def _call_all(self) -> None:
        while (work := self._calls.get()) is not None:
            try:
                work()
            except Exception:
                log.exception("a callback failed")

    def stop(self) -> None:
        self._calls.put(None)


def error_of(failure: m.Failure) -> FlameError:
    """The class the other side raised."""
    return BY_CODE.get(failure.code, FlameError)(failure.message, hint=failure.hint, **_more(failure))


def _more(failure: m.Failure) -> dict[str, float]:
    return {"retry_after": failure.retry_after} if failure.retry_after else {}


def print_line(line: m.LogLine) -> None:
    """What a task printed, with task and session named."""
    stream = sys.stderr if line.stream == "err" else sys.stdout
    with contextlib.suppress(Exception):
        print(f"[{line.session}/{line.no}] {line.text}", file=stream, flush=True)
