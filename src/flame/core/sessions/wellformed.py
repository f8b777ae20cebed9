"""Is what came in fit to be looked at? Broken peers and strange numbers are refused here, before anything has changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from flame.core.base.errors import InvalidArgument, PayloadTooLarge, ProtocolError
from flame.core.base.ids import shown
from flame.core.model import messages as m
from flame.core.model.payloads import MAX_PAYLOAD, sound
from flame.core.model.states import ResultCode

LONGEST = 100 * 365 * 86400.0
"""Seconds; a longer time is a mistake, and infinity is no time at all."""
MOST = 2**31
"""Of anything that is counted."""
MAX_NAME = 1024
"""Characters of ids and names that are only looked up."""
_CODES = bytes(ResultCode)


def wellformed(message: m.Message) -> None:
    """Raises ProtocolError for what no client of ours sends, InvalidArgument for what a user may have asked."""
    check = _CHECKS.get(type(message))
    if check is not None:
        check(message)


def check_runs(runs: tuple[int, ...]) -> None:
    """Runs of hand-outs: RUN integers each, all with a task. Raises ProtocolError."""
    if len(runs) % m.RUN or any(
        first < 1 or count < 1 for first, count in zip(runs[:: m.RUN], runs[1 :: m.RUN], strict=True)
    ):
        raise ProtocolError(f"runs of tasks that are none: {len(runs)} integers")


def _pairs(runs: tuple[int, ...]) -> None:
    if len(runs) % 2 or any(first < 1 or count < 1 for first, count in zip(runs[::2], runs[1::2], strict=True)):
        raise ProtocolError(f"ranges of tasks that are none: {len(runs)} integers")


def _completed(message: m.Completed) -> None:
    check_runs(message.runs)
    count = len(message.lengths) >> 2
    if sum(message.runs[1 :: m.RUN]) != count or not sound(message.lengths, message.blob):
        raise ProtocolError(
            f"a frame of results whose {count} lengths fit neither its runs nor its {len(message.blob)} bytes"
        )
    _times(message.began, message.ended)
    if message.codes and (len(message.codes) != count or message.codes.translate(None, _CODES)):
        raise ProtocolError(f"a frame of {count} results with codes that mean nothing")


def _times(*moments: float) -> None:
    """Clocks may differ and jump, but they show numbers. Raises ProtocolError."""
    if not all(math.isfinite(moment) for moment in moments):
        raise ProtocolError(f"a time that is none: {moments}")


def _seconds(what: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= LONGEST:
        raise InvalidArgument(f"{what} {value} is no time", hint="seconds, 0 or more")


def _count(what: str, value: int | None) -> None:
    if value is not None and not 0 <= value < MOST:
        raise InvalidArgument(f"{what} {value} is out of range", hint="0 or more")


def _resources(resources: Mapping[str, int]) -> None:
    for name, amount in resources.items():
        if not name or len(name) > MAX_NAME or amount < 0:
            raise InvalidArgument(f"resource {shown(name)} {amount} is no amount", hint='such as "cpu=1,mem=1g"')


def _open(message: m.OpenSession) -> None:
    if message.mode not in ("create", "open", "either"):
        raise InvalidArgument(f"mode {shown(message.mode)} to open a session", hint="create, open or either")
    spec = message.spec
    if spec is None:
        return
    if spec.common_data is not None and len(spec.common_data) > MAX_PAYLOAD:
        raise PayloadTooLarge(f"common data of {len(spec.common_data):,} bytes; at most {MAX_PAYLOAD:,}")
    _count("min_instances", spec.min_instances)
    _count("max_instances", spec.max_instances)
    _count("retries", spec.retries)
    _seconds("timeout", spec.timeout)
    _seconds("wait_timeout", spec.wait_timeout)
    _seconds("backoff", spec.backoff)
    _resources(spec.resources)
    if abs(spec.priority) >= MOST:
        raise InvalidArgument(f"priority {spec.priority} is out of range", hint="between -2147483648 and 2147483647")


def _app(message: m.RegisterApp | m.UpdateApp) -> None:
    _count("max_instances", message.spec.max_instances)
    _seconds("delay_release", message.spec.delay_release)


def _submit(message: m.Submit) -> None:
    if not message.lengths or not sound(message.lengths, message.blob):
        raise ProtocolError(f"a frame of tasks whose lengths do not add up to its {len(message.blob)} bytes")
    if max(message.timeout, message.wait_timeout) > LONGEST or message.retries >= MOST:
        raise InvalidArgument("a timeout or a number of retries is out of range", hint="seconds, 0 or more")


_CHECKS: dict[type[m.Message], Callable[[Any], None]] = {
    m.Submit: _submit,
    m.OpenSession: _open,
    m.RegisterApp: _app,
    m.UpdateApp: _app,
    m.CancelTasks: lambda message: _pairs(message.runs),
    m.Resume: lambda message: _pairs(message.has),
    m.Completed: _completed,
    m.Started: lambda message: _times(message.at),
    m.LogLine: lambda message: _times(message.at),
    m.Recalled: lambda message: check_runs(message.runs),
}
