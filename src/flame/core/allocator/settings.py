"""How the allocator is set. Times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flame.core.scheduler.settings import SchedulingSettings


@dataclass(frozen=True)
class AllocatorSettings:
    default_resources: Mapping[str, int] = field(default_factory=lambda: {"cpu": 1000, "memory": 1 << 30})
    """Of one executor of a session that names none."""
    beat_timeout: float = 15.0
    """Silence after which a node gets nothing new."""
    drain_timeout: float = 30.0
    """Further silence after which the node and everything on it counts as lost."""
    adopt_grace: float = 2.0
    """How long running placements wait for a manager that knows their session, and a manager's for an agent that runs them."""
    manager_grace: float = 10.0
    """How long demands outlive the connection of their manager."""
    leave_grace: float = 10.0
    """How long executors of a closed session may take to leave before they are stopped."""
    stop_grace: float = 10.0
    """Between SIGTERM and SIGKILL."""
    tell_pause: float = 0.02
    """Shortest pause between two views (ClusterChanged, Reasons) sent to a manager."""
    max_events: int = 1000
    """Kept per object."""
    max_objects: int = 10_000
    """Objects with events; the first ones noted are forgotten first."""
    max_session_objects: int = 1000
    """Of these, sessions: they come and go by the thousand, and their session manager remembers more of them."""
    max_gone: int = 10_000
    """Ended placements remembered, so that nobody takes them up again."""
    gone_kept: float = 300.0
    """For how long, in seconds: longer than agents and managers are waited for."""
    reached: bool = False
    """Do other machines than this one reach the cluster?"""
    scheduling: SchedulingSettings = field(default_factory=SchedulingSettings)
    """Of the scheduling cycle."""
