"""The service that is measured: echoes, or computes as long as its input says."""

from __future__ import annotations

import time
from pathlib import Path

import flame


class Bench(flame.FlameService):
    def on_task_invoke(self, ctx: flame.TaskContext) -> bytes | None:
        given = ctx.input
        if given is None or given[:1] == b"x":
            return given
        end = time.perf_counter() + float(given)
        while time.perf_counter() < end:
            pass
        return b""


class Cancelled(flame.FlameService):
    """Writes the time into a file, over and over, for ten seconds. Input: 1 or 0 (looks at no cancellation, or at every), and the path."""

    def on_task_invoke(self, ctx: flame.TaskContext) -> bytes | None:
        given = (ctx.input or b"").decode()
        stubborn, path = given[0] == "1", Path(given[1:])
        fresh = path.with_suffix(".new")
        end = time.time() + 10
        while time.time() < end and (stubborn or not ctx.cancelled):
            fresh.write_text(repr(time.time()))
            fresh.replace(path)
            time.sleep(0.002)
        return None
