"""How many requests a token may make: a bucket each, which holds one second's worth and is filled all the time.

So whoever was quiet may send `rate` requests at once, and after that `rate` a second.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """rate: requests per second, 0: no limit; burst: how many at once, None: one second's worth; most: buckets that are remembered. One
    that was forgotten is full, so `most` is far more than the tokens that are in use."""

    def __init__(self, rate: float, burst: float | None = None, most: int = 10_000) -> None:
        self._most = most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.rate = self.burst = 0.0
        self.set(rate, burst)

    def set(self, rate: float, burst: float | None = None) -> None:
        """From now on."""
        self.rate, self.burst = rate, max(1.0, rate if burst is None else burst)

    def take(self, key: str, now: float) -> float:
        """0: it may; otherwise the seconds after which it may."""
        if self.rate <= 0:
            return 0.0
        bucket = self._at(key, now)
        if bucket.left >= 1:
            bucket.left -= 1
            return 0.0
        return (1 - bucket.left) / self.rate

    def peek(self, key: str, now: float) -> float:
        """As `take`, and nothing is taken."""
        if self.rate <= 0 or key not in self._buckets:
            return 0.0
        bucket = self._at(key, now)
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) / self.rate

    def _at(self, key: str, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self.burst, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.left = min(self.burst, bucket.left + max(0.0, now - bucket.at) * self.rate)
        bucket.at = now
        return bucket
