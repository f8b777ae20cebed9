"""What a container writes: DIR/logs/replicas/<namespace>/<replica>/<container>.log, one line of output a line, with its time and stream.

    2026-11-22T12:00:00.123456Z stdout F epoch 1 of 10

`P` instead of `F`: the line goes on in the next one. The run before is kept as <container>.previous.log. Readers go by byte
offsets of a run, which stay true when the file is rotated.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from flame.agent.replicas.pipes import Reader

log = logging.getLogger("flame.replicas")

LARGEST = 16 << 20
"""Bytes of a log file, at which it is rotated; one rotated file is kept."""
LINE = 16 * 1024
"""Bytes of output in one line of the log."""


class ContainerLog:
    """Of one container; `begin` for every run."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        """path: of the log, its directory exists. Nothing is made yet."""
        self.path, self.largest = path, largest
        self.rotated = path.with_suffix(".log.1")
        self.previous = path.with_suffix(".previous.log")
        self.open = False
        self._dropped = self._old = self._size = 0
        self._file: int | None = None
        self._rests: dict[str, bytes] = {}
        self._readers: list[Reader] = []
        self._changed = asyncio.Event()
        self._trouble = ""

    def begin(self, pipes: Path) -> dict[str, Path]:
        """A new run writes here. Returns stream -> the pipe for its output, made in the directory `pipes`. Raises OSError."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.replace(self.previous)
        self.rotated.unlink(missing_ok=True)
        self._dropped = self._old = self._size = 0
        self._rests = {}
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.open = True
        made = {}
        for stream in ("stdout", "stderr"):
            made[stream] = pipes / stream
            made[stream].unlink(missing_ok=True)
            self._readers.append(Reader.of(made[stream], self._sink(stream)))
        return made

    def finish(self) -> None:
        """The run has ended: read what is left."""
        for reader in self._readers:
            reader.drain()
        self.close()

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self._readers = []
        for stream, rest in self._rests.items():
            if rest:
                self._write(_line(stream, rest, True))
        self._rests = {}
        if self._file is not None:
            os.close(self._file)
        self._file, self.open = None, False
        self._wake()

    def _sink(self, stream: str) -> Callable[[bytes], None]:
        return lambda data: self.feed(stream, data)

    def feed(self, stream: str, data: bytes) -> None:
        *lines, rest = (self._rests.get(stream, b"") + data).split(b"\n")
        found = []
        for line in lines:
            parts = [line[at : at + LINE] for at in range(0, len(line), LINE)] or [b""]
            found += [_line(stream, text, False) for text in parts[:-1]] + [_line(stream, parts[-1], True)]
        while len(rest) > LINE:
            found.append(_line(stream, rest[:LINE], False))
            rest = rest[LINE:]
        self._rests[stream] = rest
        self._write(b"".join(found))
        self._wake()

    def _write(self, data: bytes) -> None:
        if not data or self._file is None:
            return
        try:
            if self._size and self._size + len(data) > self.largest:
                self._rotate()
            self._size += os.write(self._file, data)
        except OSError as error:  # a full disk must not stop the container: its output is lost, and we say so
            if str(error) != self._trouble:
                log.warning("output of a container is lost: %s: %s", self.path, error)
            self._trouble = str(error)

    def _rotate(self) -> None:
        assert self._file is not None
        self.path.replace(self.rotated)
        os.close(self._file)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._dropped, self._old, self._size = self._dropped + self._old, self._size, 0

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # -- reading

    @property
    def end(self) -> int:
        """The offset behind the last byte of this run."""
        return self._dropped + self._old + self._size

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """From `offset`, or from the oldest that is kept. Returns where the data begins, and the data."""
        offset = max(offset, self._dropped)
        middle = self._dropped + self._old
        if offset < middle:
            return offset, piece(self.rotated, offset - self._dropped, limit)
        return offset, piece(self.path, offset - middle, limit)

    async def more(self, offset: int, seconds: float) -> None:
        """Wait until there is something behind `offset`, or the run has ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self.open and self.end <= offset and (left := until - loop.time()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def tail(self, lines: int) -> str:
        """The last lines of output, without time and stream."""
        start = max(self._dropped + self._old, self.end - 32 * 1024)
        text = self.read(start, 32 * 1024)[1].decode(errors="replace")
        return "\n".join(line.split(" ", 3)[-1] for line in text.splitlines()[-lines:])


def piece(path: Path, offset: int, limit: int) -> bytes:
    """Bytes of a file; empty when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""


def _line(stream: str, text: bytes, full: bool) -> bytes:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{now} {stream} {'F' if full else 'P'} ".encode() + text + b"\n"
