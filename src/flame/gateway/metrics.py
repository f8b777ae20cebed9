"""What the gateway counts, in the text form of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

TYPE = CONTENT_TYPE_LATEST
STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""


class Metrics:
    """`route` is one of a small set, never a path: names of objects would make the series grow without end."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter(
            "flame_gateway_requests", "Requests that were answered.", (*labels, "code"), registry=registry
        )
        self.seconds = Histogram(
            "flame_gateway_request_seconds", "Seconds until the answer began.", labels, buckets=STEPS, registry=registry
        )
        self.limited = Counter(
            "flame_gateway_rate_limited", "Requests refused because their token had made too many.", registry=registry
        )
        self.refused = Counter(
            "flame_gateway_refused",
            "Requests refused before anybody asked who they are from.",
            ("why",),
            registry=registry,
        )
        self.limit = Gauge(
            "flame_gateway_rate_limit", "Requests per second of one token; 0: no limit.", registry=registry
        )
        self.watches = Gauge("flame_gateway_watches", "Watches and followed logs that are open.", registry=registry)
        self.callers = Gauge("flame_gateway_callers", "Identities that are connected.", registry=registry)
        self.in_flight = Gauge("flame_gateway_in_flight", "Requests that are being answered.", registry=registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)
