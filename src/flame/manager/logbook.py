"""What tasks printed: one JSON-lines file a session, bounded. A convenience, not a promise: it is not synced."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import msgspec

from flame.core.model.messages import LogLine

MAX_BYTES = 16 * 1024 * 1024
"""Of one session; later lines are not kept (they still reach the client)."""
_OPEN_FILES = 32
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(LogLine).decode


class LogBook:
    """Lines by session, under `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: OrderedDict[str, BinaryIO] = OrderedDict()

    def _path(self, session: str) -> Path:
        return self.directory / f"{hashlib.sha256(session.encode()).hexdigest()[:24]}.jsonl"

    def write(self, line: LogLine) -> None:
        """Append a line. A full disk loses lines, never tasks."""
        file = self._files.get(line.session)
        try:
            if file is None:
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = self._files[line.session] = self._path(line.session).open("ab", buffering=0)
                if len(self._files) > _OPEN_FILES:
                    self._files.popitem(last=False)[1].close()
            if file.tell() < MAX_BYTES:
                file.write(_ENCODE(line) + b"\n")
        except OSError:
            return

    def read(self, session: str, no: int = 0) -> list[LogLine]:
        """Lines of a session, or of one task of it."""
        try:
            raw = self._path(session).read_bytes().splitlines()
        except OSError:
            return []
        lines = []
        for text in raw:
            try:
                line = _DECODE(text)
            except msgspec.DecodeError:
                continue
            if line.session == session and no in (0, line.no):
                lines.append(line)
        return lines

    def drop(self, session: str) -> None:
        file = self._files.pop(session, None)
        if file is not None:
            file.close()
        self._path(session).unlink(missing_ok=True)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
