"""How much may wait. A queue that is full says so: the sender slows down, and gives up when that lasts.

Refused is a whole frame, before anything has changed; `retry_after` tells when to try again. Clients of ours do by themselves, for as long
as their patience lasts.
"""

from __future__ import annotations

from flame.core.base.errors import Exhausted
from flame.core.model import messages as m
from flame.core.sessions.state import Core

RETRY_AFTER = 0.25
"""Seconds."""
FRAMES = 4
"""That a full queue should be made of, so that its sender can go on while it empties."""


def check_session(core: Core, tenant: str) -> None:
    """Raises Exhausted when this tenant may not open one more session."""
    limit = _of(core, tenant).max_sessions
    open_now = core.load(tenant).sessions
    if limit is not None and open_now >= limit:
        raise Exhausted(
            f"tenant {tenant} has {open_now} open sessions, as many as it may",
            hint="close one, or ask for a higher limit",
        )


def check_tasks(core: Core, tenant: str, count: int, size: int) -> None:
    """Raises Exhausted when so many tasks with so many bytes do not fit into the tenant's queue, or the engine's."""
    info, load, settings = _of(core, tenant), core.load(tenant), core.settings
    if info.max_queued is not None and load.queued + count > info.max_queued:
        _full(f"tenant {tenant} has {load.queued:,} tasks waiting, of at most {info.max_queued:,}", info.max_queued)
    if info.max_bytes is not None and load.bytes + size > info.max_bytes:
        text = f"tenant {tenant} has {load.bytes:,} bytes of tasks waiting, of at most {info.max_bytes:,}"
        _full(text, info.max_bytes * count // size)
    if settings.max_queued is not None and sum(one.queued for one in core.loads.values()) + count > settings.max_queued:
        _full(f"the engine holds as many tasks as it may: {settings.max_queued:,}", settings.max_queued)
    if settings.max_bytes is not None and sum(one.bytes for one in core.loads.values()) + size > settings.max_bytes:
        text = f"the engine holds as many bytes of tasks as it may: {settings.max_bytes:,}"
        _full(text, settings.max_bytes * count // size)


def _full(text: str, most: int) -> None:
    """most: tasks of this size that an empty queue would take. A frame should be a fraction of that."""
    hint = "it goes on when results come; a client of ours waits by itself"
    error = Exhausted(text, hint=hint, retry_after=RETRY_AFTER)
    error.room = max(1, most // FRAMES)
    raise error


def _of(core: Core, tenant: str) -> m.TenantInfo:
    return core.tenants.get(tenant) or m.TenantInfo(tenant)
