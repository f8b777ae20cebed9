"""How long to wait before trying again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits that grow by `factor` from `first` seconds up to `ceiling` seconds, without jitter: the core has no randomness."""

    first: float = 0.1
    ceiling: float = 30.0
    factor: float = 2.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after `failures` failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        # Past 64 doublings everything is at the ceiling; the bound keeps the power finite.
        return min(self.ceiling, self.first * self.factor ** min(failures - 1, 64))
