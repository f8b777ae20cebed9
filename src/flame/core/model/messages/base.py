"""What every message is, and the numbers and words they share."""

from __future__ import annotations

import msgspec

ABSENT = 0xFFFFFFFF
"""Length of a payload that is not there; an empty payload has length 0."""

RUN = 5
"""Integers per run: first task number, count, epoch, lease, attempt."""

BY_HAND = "by-hand"
"""Hello feature, and node, of an executor that somebody started by hand: no agent reports its end, the allocator does not know it."""

AWAY = "away"
"""Hello feature of an executor whose manager is on another machine: it is given more ahead, and sends less often."""

NATIVE = "flame.native=1"
"""Label of applications whose service runs in the executor process; others get a process of their own behind the gRPC shim."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """Base of everything that crosses a process boundary."""
