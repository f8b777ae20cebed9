"""The audit log: who did what, one JSON line each, in `DIR/logs/audit.jsonl`.

Written are changes of sessions, applications, tokens, tenants and nodes, and whatever was refused for who asked; not each frame of
tasks. It is appended to and kept in a few files of bounded size.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from flame.core.model.reactor import Audit

log = logging.getLogger("flame.audit")

MAX_BYTES = 32 * 1024 * 1024
"""Of one file."""
KEPT = 8
"""Older files, `audit.jsonl.1` the latest of them."""
_ENCODE = msgspec.json.Encoder().encode


class AuditLog:
    """A line is written before the next event is handled; it is not synced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def write(self, what: Audit) -> None:
        """A full disk loses lines, and says so in the log; work goes on."""
        who = what.who
        line = {
            "at": datetime.fromtimestamp(what.at, UTC).isoformat(timespec="milliseconds"),
            "who": who.name, "role": who.role, "tenant": who.tenant, "by": who.kind, "token": who.token,
            "verb": what.verb, "object": what.object, "outcome": what.code or "ok",
        }  # fmt: skip
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = self.path.open("ab", buffering=0)
            if self._file.tell() > MAX_BYTES:
                self._turn_over()
            self._file.write(_ENCODE(line) + b"\n")
        except OSError as error:
            log.error("the audit log lost %s by %s: %s", what.verb, who.name, error.strerror)

    def _turn_over(self) -> None:
        self.close()
        for number in range(KEPT - 1, 0, -1):
            older = self.path.with_suffix(f".jsonl.{number}")
            if older.exists():
                older.replace(self.path.with_suffix(f".jsonl.{number + 1}"))
        self.path.replace(self.path.with_suffix(".jsonl.1"))
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
