"""One loop under every `map`: a bounded number of futures is out at any time."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from flame.core.base.errors import FlameError


def windowed(
    submit: Callable[[Any], Any],
    inputs: Iterator[Any],
    cancel: Callable[[list[Any]], object],
    *,
    ordered: bool,
    window: int,
    timeout: float | None,
) -> Iterator[Any]:
    """Results of `submit(input).result()`, in order or as they come. When the loop is left early (an error, a `break`, Ctrl-C) `cancel`
    gets the futures that are not done. Raises TimeoutError when nothing ends for `timeout` seconds."""
    out: deque[Any] = deque()
    more = True
    try:
        while more or out:
            while more and len(out) < window:
                try:
                    out.append(submit(next(inputs)))
                except StopIteration:
                    more = False
            if ordered:
                # Refill only when half is taken: one input a result would make frames of one task.
                while out and (not more or len(out) > window // 2):
                    yield out[0].result(timeout)
                    out.popleft()
            elif out:
                done, _ = concurrent.futures.wait(out, timeout, concurrent.futures.FIRST_COMPLETED)
                if not done:
                    raise TimeoutError("no task ended in time")
                out = deque(f for f in out if f not in done)
                yield from [f.result() for f in done]
    finally:
        left = [f for f in out if not f.done()]
        if left:
            with contextlib.suppress(FlameError):  # the cluster may be gone: that error is on its way already
                cancel(left)
