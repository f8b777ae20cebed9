"""Processes of this machine that run a task or a replica: found by what the kernel shows of their environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flame.agent.page import current
from flame.core.base.errors import InvalidState, Unavailable
from flame.core.model.states import TaskState

EXECUTOR = "FLAME_EXECUTOR_ID"


def environment(pid: int) -> dict[str, str]:
    """Raises OSError for a process that is gone or belongs to somebody else."""
    items = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    pairs = (item.partition(b"=") for item in items if b"=" in item)
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}


def with_environment(wanted: Mapping[str, str]) -> Iterator[int]:
    """Processes that have all of these variables, the oldest first."""
    if not Path("/proc/self/environ").exists():
        raise Unavailable("processes are found by /proc, which this machine has not", hint="run this on a Linux node")
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            found = environment(pid)
        except OSError:
            continue
        if all(found.get(key) == value for key, value in wanted.items()):
            yield pid


def of_task(client: Any, session: str, number: int) -> int:
    """The process that runs a task. Raises NotFound, InvalidState when it does not run, Unavailable when that is elsewhere."""
    opened = client.open_session(session)
    task = opened.get_task(number)
    name = f"{opened.id}/{number}"
    if task.state != TaskState.RUNNING:
        over = task.state in (TaskState.SUCCEED, TaskState.FAILED)
        raise InvalidState(
            f"task {name} does not run: it is {TaskState(task.state).name.lower()}",
            hint=f"flame replay {name} runs it here" if over else f"flame explain {name} says what it waits for",
        )
    executors = [one for one in client.list_executors() if one.session == opened.id]
    for executor in executors:
        for pid in with_environment({EXECUTOR: executor.id}):
            if _page(pid)[:1] == (number,):
                return pid
    nodes = ", ".join(sorted({one.node for one in executors})) or "no node"
    raise Unavailable(
        f"task {name} does not run on this machine, or not as this user; executors of its session are on {nodes}",
        hint="run this command there, as the user of the node",
    )


def _page(pid: int) -> tuple[int, ...]:
    """What an executor says it runs: (task, ...), or ()."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return ()
    paths = (line.split(maxsplit=5)[5] for line in lines if line.endswith("/page"))
    return next((current(Path(path)) for path in paths), ())


def of_replica(pod: Mapping[str, Any]) -> list[int]:
    """The processes of a replica that runs on this machine. Raises Unavailable when none does."""
    about = pod["metadata"]
    wanted = {
        "POD_NAME": about["name"],
        "POD_NAMESPACE": about["namespace"],
        "FLAME_WORKLOAD_ID": about["ownerReferences"][0]["uid"],
    }
    found = list(with_environment(wanted))
    if not found:
        raise Unavailable(
            f"replica {about['name']} has no process on this machine that this user may see; it is on node {pod['spec']['nodeName']}",
            hint="run this command there, as the user of the node",
        )
    return found
