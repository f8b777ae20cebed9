"""What the allocator keeps over a restart: nodes it has seen, events, tenants and tokens. The rest comes back from agents and managers."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flame.core.model.messages import NodeInfo, TenantInfo, TokenInfo
from flame.core.objects.records import ObjectGone, ObjectKept, ObjectsSeen
from flame.core.objects.records import Record as Record

VERSION = 1
"""Written beside every row; a store refuses rows of a version it does not know."""


class NodeSeen(Record, frozen=True, tag=1):
    """A node as it is now; the later record wins."""

    node: NodeInfo


class NodeReleased(Record, frozen=True, tag=2):
    name: str


class EventNoted(Record, frozen=True, tag=3):
    """Something worth remembering about an object (`node/n1`, `placement/...`)."""

    object: str
    reason: str
    code: int
    message: str
    at: float
    count: int = 1
    last: float = 0.0  # 0: as `at`


class TenantKept(Record, frozen=True, tag=4):
    """A tenant as it is now; the later record wins."""

    tenant: TenantInfo


class TenantDropped(Record, frozen=True, tag=5):
    """Its tokens go with it."""

    name: str


class TokenKept(Record, frozen=True, tag=6):
    token: TokenInfo


class TokenRevoked(Record, frozen=True, tag=7):
    """Revoked, used up or expired."""

    id: str


class NodeCordoned(Record, frozen=True, tag=8):
    """Whether anything new may be placed there; it outlives the node's coming and going."""

    name: str
    cordoned: bool


AnyRecord: TypeAlias = (
    ObjectKept
    | ObjectGone
    | ObjectsSeen
    | NodeSeen
    | NodeReleased
    | EventNoted
    | TenantKept
    | TenantDropped
    | TokenKept
    | TokenRevoked
    | NodeCordoned
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(AnyRecord)


def encode_record(record: Record) -> bytes:
    return _ENCODER.encode(record)


def decode_record(data: bytes) -> AnyRecord:
    """Raises msgspec.DecodeError."""
    try:
        record: AnyRecord = _DECODER.decode(data)
    except UnicodeDecodeError as error:  # a text that is none is no DecodeError to msgspec
        raise msgspec.DecodeError(str(error)) from None
    return record
