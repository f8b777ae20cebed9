"""What runs in this process right now: set by the executor, read by code inside a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flame.sdk.service import SessionContext, TaskContext

executor: Any = None
"""The executor of this process, or None in a client."""
session: SessionContext | None = None
task: TaskContext | None = None
