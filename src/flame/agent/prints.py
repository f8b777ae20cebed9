"""What a task prints: kept in the executor's log file, and sent to the client line by line with the task's number."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TextIO

MAX_LINE = 8 * 1024


class TaskStream(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr. `emit(stream, text)` gets complete lines while a task runs."""

    def __init__(self, name: str, under: TextIO, emit: Callable[[str, str], None]) -> None:
        self.name_, self._under, self._emit = name, under, emit
        self._rest = ""

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def fileno(self) -> int:
        return self._under.fileno()

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        self._under.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._emit(self.name_, line[:MAX_LINE])
        if len(self._rest) > MAX_LINE:
            self._emit(self.name_, self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return len(text)

    def flush(self) -> None:
        self._under.flush()

    def end_task(self) -> None:
        """The task is over: what it printed without a newline is a line too."""
        if self._rest:
            rest, self._rest = self._rest, ""
            self._emit(self.name_, rest)
        self._under.flush()
