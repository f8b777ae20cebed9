"""What these tests need of the machine; where it lacks, they say so."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from isolation.service import Probe

from flame.agent import sandbox
from flame.platform.hierarchies import find


def versions() -> dict[str, int]:
    return {name: hierarchy.version for hierarchy in find()[0] for name in hierarchy.controllers}


needs_groups = pytest.mark.skipif(
    not {"memory", "pids", "cpu"} <= versions().keys(), reason=f"no writable control groups: {'; '.join(find()[1])}"
)
REFUSAL = sandbox.refusal(("user", "pid", "mount", "network"))
needs_sandbox = pytest.mark.skipif(bool(REFUSAL), reason=f"no bubblewrap sandbox: {REFUSAL}")


def ask(session: Any, *words: object) -> Any:
    """One task of the probe, decoded."""
    return json.loads(session.invoke(" ".join(map(str, words)).encode(), 60))


def alive(pid: int) -> bool:
    """And not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def groups_of(agent: int) -> list[str]:
    """Of the engine of this agent; others may run beside it."""
    found = []
    for top in {hierarchy.parent for hierarchy in find()[0]}:
        found += [
            entry.path for entry in os.scandir(top) if entry.name.startswith("flame-") and f"-{agent}-" in entry.name
        ]
    return found


__all__ = ["Probe", "alive", "ask", "groups_of", "needs_groups", "needs_sandbox"]
