"""How long a service may take to start, to enter and to leave: seconds, the same for the manager and for the executors."""

from __future__ import annotations

import os

from flame.core.base.errors import InvalidArgument

START, ENTER, LEAVE = "FLAME_START_LIMIT", "FLAME_ENTER_LIMIT", "FLAME_LEAVE_LIMIT"


def limit(variable: str, default: float) -> float:
    """What the environment says, else the default. Raises InvalidArgument."""
    text = os.environ.get(variable, "")
    try:
        value = float(text or default)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e7:
        raise InvalidArgument(f"{variable}={text!r} is no number of seconds", hint=f"such as {default:g}")
    return value
