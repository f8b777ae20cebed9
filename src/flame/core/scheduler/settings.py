"""How the scheduler is set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SchedulingSettings:
    plugins: tuple[str, ...] = ("priority", "drf", "gang", "shim", "binpack")
    """Plugins in the order in which they are asked. Unknown names stop the start-up with the list of known ones."""
    floor: float = 0.001
    """Shortest pause between two cycles in seconds."""
    floor_factor: float = 5.0
    """The pause is also at least this many times the last cycle's cost, so that scheduling takes at most a sixth of the time."""
    quantum: float = 1.0
    """Seconds an executor runs at least before it is drained for a session of the same priority; 1 or more."""
    priority_quantum: float = 0.1
    """The same when the session that waits has the higher priority."""
    recheck: float = 0.25
    """Seconds between looks at shares while somebody waits for capacity that others use."""
    aging: float = 600.0
    """Seconds after which a workload that waits goes before all ranks."""
    protect: float = 60.0
    """Seconds that such a workload then runs at least before a higher rank may evict it."""
