"""What a replica wrote, as `kubectl logs` shows it: without the time and the stream that the engine keeps with each line."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import ReplicaAnswer

MOST_TAIL = 100_000
"""Lines."""
Read = Callable[[int, bool], AsyncIterator[ReplicaAnswer]]


@dataclass(frozen=True)
class Wanted:
    """`tail`: only so many of the last lines that are there, None: all; `since`: not what is older, as text that sorts like a time;
    `limit`: bytes, 0: all; `stamps`: with the time in front."""

    tail: int | None = None
    since: str = ""
    limit: int = 0
    stamps: bool = False


def stamp_of(seconds_ago: int, since_time: str, now: float) -> str:
    """The text that lines must not be before. Raises InvalidArgument."""
    if seconds_ago and since_time:
        raise InvalidArgument("sinceSeconds and sinceTime; one of them")
    if seconds_ago:
        return datetime.fromtimestamp(max(0.0, now - seconds_ago), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    if not since_time:
        return ""
    try:
        return datetime.fromisoformat(since_time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    except ValueError:
        raise InvalidArgument(f"sinceTime={since_time[:40]!r}; a time such as 2026-01-31T12:00:00Z") from None


class Lines:
    """From pieces of a log to the lines that are wanted of it; pieces end anywhere."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._rest = b""
        self._left = wanted.limit or None

    def feed(self, piece: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [shown for line in lines if (shown := self._show(line)) is not None]

    def limited(self, lines: list[bytes]) -> bytes:
        data = b"".join(lines)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    @property
    def full(self) -> bool:
        return self._left == 0

    def _show(self, line: bytes) -> bytes | None:
        """`<time> <stream> F <text>`, or P where the line goes on in the next one."""
        when, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if self._wanted.since and when.decode("ascii", "replace") < self._wanted.since:
            return None
        end = b"" if tag == b"P" else b"\n"
        return (when + b" " if self._wanted.stamps else b"") + text + end


async def shown(read: Read, wanted: Wanted, follow: bool) -> AsyncIterator[bytes]:
    """read: the pieces of the log from an offset on, to its end, or (True) as they come. Raises what reading raises."""
    lines = Lines(wanted)
    offset = 0
    if wanted.tail is not None:
        tail: deque[bytes] = deque(maxlen=min(wanted.tail, MOST_TAIL))
        async for answer in read(0, False):
            tail.extend(lines.feed(answer.data))
            offset = answer.offset + len(answer.data)
        if data := lines.limited(list(tail)):
            yield data
        if not follow:
            return
    async for answer in read(offset, follow):
        if data := lines.limited(lines.feed(answer.data)):
            yield data
        if lines.full:
            return
