"""One finding of `flame doctor`."""

from __future__ import annotations

from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "fail"


class Check(NamedTuple):
    """state: ok, warn (works, and something is not as it could be) or fail (will not work); help: what would change that."""

    name: str
    state: str
    message: str
    help: str = ""
