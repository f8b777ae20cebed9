"""`flmping`: says where it ran, after sleeping and allocating as asked.

Input: absent, or JSON `{"duration": milliseconds or null, "memory": bytes or null}`. Output: JSON `{"message": ...}`.
"""

from __future__ import annotations

import json
import platform
import time
from typing import Any

from flame.sdk.service import FlameService, TaskContext

HOST = platform.node()


def message(milliseconds: int, memory: int) -> bytes:
    return json.dumps(
        {"message": f"Completed on <{HOST}> in <{milliseconds}> milliseconds with <{memory}> memory"}
    ).encode()


IDLE = message(0, 0)
"""The answer to no input, made once: most pings measure the engine, not this service."""


class PingService(FlameService):
    def on_task_invoke(self, ctx: TaskContext) -> bytes:
        if not ctx.input:
            return IDLE
        request = read(ctx.input)
        begun = time.monotonic()
        block = bytearray(request["memory"])
        time.sleep(request["duration"] / 1000)
        return message(round((time.monotonic() - begun) * 1000), len(block))


def read(data: bytes) -> dict[str, int]:
    """The two numbers of a request; missing and null are 0. Raises ValueError for anything else."""
    try:
        request: Any = json.loads(data)
    except ValueError as error:
        raise ValueError(f"flmping wants JSON, got {data[:40]!r}") from error
    if not isinstance(request, dict):
        raise ValueError(f"flmping wants a JSON object, got {data[:40]!r}")
    found = {name: request.get(name) or 0 for name in ("duration", "memory")}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"flmping: {name} must be a whole number, got {value!r}")
    return found
