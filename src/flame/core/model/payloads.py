"""Columns of payloads: one blob and its lengths; and the payload that says why a task did not succeed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

import msgspec

from flame.core.model.messages import ABSENT

MAX_PAYLOAD = 64 * 1024 * 1024
"""Bytes of one payload on the native path."""
FRAME_BYTES = 1024 * 1024
FRAME_TASKS = 4096
"""A frame is cut when it reaches either."""


class TaskFailure(msgspec.Struct, array_like=True, omit_defaults=True):
    """Payload of a task that did not succeed (msgpack array; fields are only ever appended).

    code: key of `core.base.errors.BY_CODE`; kind: type name of the exception; pickled: the exception by cloudpickle when it could be.
    """

    code: str
    message: str
    kind: str = ""
    return_code: int = -1
    traceback: str = ""
    pickled: bytes = b""


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(TaskFailure).decode


def failure(code: str, message: str, **more: object) -> bytes:
    """The payload of a failed task."""
    return _ENCODE(TaskFailure(code, message, **more))  # type: ignore[arg-type]


def encode_failure(value: TaskFailure) -> bytes:
    return _ENCODE(value)


def decode_failure(payload: bytes) -> TaskFailure:
    """Inverse of `failure`; a payload that is none becomes a TaskFailure that says so."""
    try:
        return _DECODE(payload)
    except msgspec.DecodeError:
        return TaskFailure("internal", f"an unreadable failure of {len(payload)} bytes")


_NOTHING = ABSENT.to_bytes(4, "little")


def pack_payloads(payloads: Iterable[bytes | None]) -> tuple[bytes, bytes]:
    """(lengths, blob) of payloads; None is absent."""
    found = list(payloads)
    if found.count(None) == len(found):
        return _NOTHING * len(found), b""
    lengths = array("I", [ABSENT if p is None else len(p) for p in found])
    return lengths.tobytes(), b"".join([p for p in found if p])


def count_of(lengths: bytes) -> int:
    return len(lengths) >> 2


def sound(lengths: bytes, blob: bytes) -> bool:
    """Do the lengths add up to the blob? Wrong frames come from broken peers."""
    if len(lengths) & 3:
        return False
    column = array("I", lengths)
    return sum(column) - column.count(ABSENT) * ABSENT == len(blob)


class Column:
    """Random access into a blob by lengths. Built once per frame, on first need."""

    __slots__ = ("_ends", "_size", "blob", "lengths")

    def __init__(self, lengths: bytes, blob: bytes) -> None:
        self.lengths = array("I", lengths)
        self.blob = blob
        count = len(self.lengths)
        first = self.lengths[0] if count else 0
        # Equal lengths are the common case of short tasks: no table of ends then.
        same = first != ABSENT and lengths == lengths[:4] * count
        self._size = first if same else -1
        self._ends: Sequence[int] = (
            () if same else array("Q", accumulate(0 if n == ABSENT else n for n in self.lengths))
        )

    def __getitem__(self, index: int) -> bytes | None:
        if self._size >= 0:
            return self.blob[index * self._size : (index + 1) * self._size]
        if self.lengths[index] == ABSENT:
            return None
        end = self._ends[index]
        return self.blob[end - self.lengths[index] : end]

    def cut(self, first: int, end: int) -> tuple[bytes, bytes]:
        """(lengths, blob) of [first, end)."""
        if first == 0 and end == len(self.lengths):
            return self.lengths.tobytes(), self.blob
        lengths = self.lengths[first:end].tobytes()
        if self._size >= 0:
            return lengths, self.blob[first * self._size : end * self._size]
        begin = self._ends[first - 1] if first else 0
        return lengths, self.blob[begin : self._ends[end - 1] if end else 0]

    def all(self) -> list[bytes | None]:
        return [self[i] for i in range(len(self.lengths))]


def unpack_payloads(lengths: bytes, blob: bytes) -> list[bytes | None]:
    """Inverse of `pack_payloads`."""
    count = len(lengths) >> 2
    size = int.from_bytes(lengths[:4], "little") if count else 0
    if count and size and size != ABSENT and lengths == lengths[:4] * count:
        return [blob[i : i + size] for i in range(0, size * count, size)]
    if not blob and lengths == _NOTHING * count:
        return [None] * count
    out: list[bytes | None] = []
    at = 0
    for n in array("I", lengths):
        if n == ABSENT:
            out.append(None)
        else:
            out.append(blob[at : at + n])
            at += n
    return out
