"""Tasks of the simulation: what they do is in their payload, and so is what their result must be."""

from __future__ import annotations

SHORT, MEDIUM, LONG, FAIL, RETRY, POISON, BLOCK = range(7)


def payload_of(kind: int, limit: int, name: str) -> bytes:
    """A task of this kind; `limit`: attempts that go wrong, for RETRY and POISON."""
    return bytes((kind, limit)) + name.encode()


def kind_of(payload: bytes) -> int:
    return payload[0]


def output_of(payload: bytes, attempt: int) -> bytes:
    """What the attempt returns."""
    return bytes((attempt,)) + payload


def attempt_of(output: bytes) -> int:
    return output[0]
