"""What is kept of objects over a restart. Tags 20 to 22 of the records of the process that holds them."""

from __future__ import annotations

from typing import TypeAlias

from flame.core.model.messages import Message


class Record(Message, frozen=True, gc=False, array_like=True):
    """Base of the records. Fields are only ever appended, with defaults."""


class ObjectKept(Record, frozen=True, tag=20):
    """An object as it is now; `body` is JSON, `version` its resourceVersion."""

    kind: str
    tenant: str
    namespace: str  # empty for kinds without
    name: str
    body: bytes
    version: int


class ObjectGone(Record, frozen=True, tag=21):
    """`version`: of the deletion."""

    kind: str
    tenant: str
    namespace: str
    name: str
    version: int


class ObjectsSeen(Record, frozen=True, tag=22):
    """At the end of a snapshot: versions up to this one were given out, if only for objects that are gone."""

    version: int


AnyRecord: TypeAlias = ObjectKept | ObjectGone | ObjectsSeen
