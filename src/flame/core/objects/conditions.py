"""Conditions of a status: what is so, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame.core.objects.stamps import stamp


def with_condition(
    conditions: Sequence[Mapping[str, Any]],
    type: str,
    status: bool | None,
    reason: str,
    message: str,
    now: float,
    generation: int = 0,
) -> list[dict[str, Any]]:
    """The conditions with this one in its place. `lastTransitionTime` moves only when the status changes, so that writing the same again
    changes nothing. status: None is Unknown."""
    word = "Unknown" if status is None else str(bool(status))
    found: dict[str, Any] = {"type": type, "status": word, "reason": reason, "message": message}
    if generation:
        found["observedGeneration"] = generation
    before = next((c for c in conditions if c.get("type") == type), None)
    same = before is not None and before.get("status") == word
    found["lastTransitionTime"] = (
        before.get("lastTransitionTime", stamp(now)) if before is not None and same else stamp(now)
    )
    kept = [found if c.get("type") == type else dict(c) for c in conditions]
    return kept if before is not None else [*kept, found]


def condition(status: Mapping[str, Any], type: str) -> Mapping[str, Any] | None:
    """The condition of this type; None when there is none."""
    return next((c for c in status.get("conditions") or () if c.get("type") == type), None)
