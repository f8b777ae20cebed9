"""`core.model.messages` values <-> `flame.plane.v1` bytes.

The two are held together by names: every message class has a protobuf message and an Envelope field of its name, every field the same
field. Converters are built once per class at import time.

Framing on a stream: `u32 little-endian length`, then that many bytes of Envelope.
"""

from __future__ import annotations

import re
import struct
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from flame.core.base.errors import ProtocolError
from flame.core.model import messages
from flame.core.model.messages import Message
from flame.wire.plane import plane_pb2 as pb

MAX_FRAME = 80 * 1024 * 1024
"""Bytes of one frame; more is a broken or hostile peer. The largest payload is 64 MiB."""

HEADER = struct.Struct("<I")

_Convert = Callable[[Any], Any]
M = TypeVar("M", bound=Message)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)


def _plain(kind: Any) -> bool:
    return kind in (str, int, float, bytes, bool)


class _Class:
    """Both directions of one message class."""

    __slots__ = ("build", "decode", "decoders", "encode", "encoders", "kind")

    def __init__(self, kind: type[Message]) -> None:
        self.kind = kind
        self.build = getattr(pb, kind.__name__)
        self.encoders: list[tuple[str, _Convert | None]] = []
        self.decoders: list[tuple[str, _Convert | None, bool]] = []
        hints = typing.get_type_hints(kind, vars(messages))
        for name in kind.__struct_fields__:
            encode, decode, optional = _converters(hints[name])
            self.encoders.append((name, encode))
            self.decoders.append((name, decode, optional))
        self.compile()

    def compile(self) -> None:
        """Straight-line code for both directions: half the time of a loop over the fields."""
        names: dict[str, Any] = {"build": self.build, "kind": self.kind}
        give, take = [], []
        for i, ((name, enc), (_, dec, optional)) in enumerate(zip(self.encoders, self.decoders, strict=True)):
            names[f"e{i}"], names[f"d{i}"] = enc, dec
            # Protobuf takes None as absent, for fields with presence.
            value = f"v.{name}"
            if enc is not None:
                value = f"(None if v.{name} is None else e{i}(v.{name}))" if optional else f"e{i}(v.{name})"
            give.append(f"{name}={value}")
            got = f"g.{name}" if dec is None else f"d{i}(g.{name})"
            take.append(f'({got} if g.HasField("{name}") else None)' if optional else got)
        lines = [f"def encode(v): return build({', '.join(give)})", f"def decode(g): return kind({', '.join(take)})"]
        exec("\n".join(lines), names)
        self.encode: Callable[[Message], Any] = names["encode"]
        self.decode: Callable[[Any], Any] = names["decode"]


def _converters(kind: Any) -> tuple[_Convert | None, _Convert | None, bool]:
    """(encode, decode, may be None) of a field type; None = the value itself."""
    if _plain(kind):
        return None, None, False
    if _is_message(kind):
        return (lambda v: _CLASSES[kind].encode(v)), (lambda v: _CLASSES[kind].decode(v)), False
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in typing.get_args(kind) if a is not type(None))
        encode, decode, _ = _converters(inner)
        return encode, decode, True
    if origin is tuple:
        item = typing.get_args(kind)[0]
        if _plain(item):
            return None, tuple, False
        return (
            (lambda v: [_CLASSES[item].encode(i) for i in v]),
            (lambda v: tuple(_CLASSES[item].decode(i) for i in v)),
            False,
        )
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return dict, dict, False
    raise TypeError(f"no wire form for {kind}")


_CLASSES: dict[Any, _Class] = {}
for _kind in list(vars(messages).values()):
    if _is_message(_kind) and _kind is not Message:
        _CLASSES[_kind] = _Class(_kind)

_FIELD: dict[type[Message], str] = {}
_BY_FIELD: dict[str, _Class] = {}
for _kind, _class in _CLASSES.items():
    _name = _snake(_kind.__name__)
    if _name in pb.Envelope.DESCRIPTOR.fields_by_name:
        _FIELD[_kind] = _name
        _BY_FIELD[_name] = _class


_Envelope: Any = pb.Envelope  # its parser takes any buffer, its stub says bytes


def encode(message: Message, request: int = 0) -> bytes:
    """One Envelope, without the length in front."""
    kind = type(message)
    return _Envelope(**{"request": request, _FIELD[kind]: _CLASSES[kind].encode(message)}).SerializeToString()  # type: ignore[no-any-return]


def frame(message: Message, request: int = 0) -> bytes:
    """One Envelope with its length in front, as it goes onto a stream."""
    body = encode(message, request)
    return HEADER.pack(len(body)) + body


def decode(data: bytes | memoryview) -> tuple[int, Message]:
    """(request, message). Raises ProtocolError when it is not an Envelope with a body we know."""
    try:
        envelope = _Envelope.FromString(data)
    except DecodeError as error:
        raise ProtocolError(f"{len(data)} bytes that are not an Envelope: {error}") from None
    field = envelope.WhichOneof("body")
    if field is None:
        raise ProtocolError("an Envelope without a body (a newer peer, or garbage)")
    return envelope.request, _BY_FIELD[field].decode(getattr(envelope, field))


def pack(message: Message) -> bytes:
    """Any message alone, Envelope or not: records and payloads use it."""
    return _CLASSES[type(message)].encode(message).SerializeToString()  # type: ignore[no-any-return]


def unpack(kind: type[M], data: bytes) -> M:
    """Inverse of `pack`. Raises ProtocolError."""
    try:
        return _CLASSES[kind].decode(_CLASSES[kind].build.FromString(data))  # type: ignore[no-any-return]
    except DecodeError as error:
        raise ProtocolError(f"{len(data)} bytes that are not a {kind.__name__}: {error}") from None


class Deframer:
    """Cuts a byte stream into envelopes. Feed what arrives; iterate what is complete."""

    __slots__ = ("_chunks", "_need", "_size")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []  # parts of one large frame, joined once
        self._size = 0
        self._need = 0

    def feed(self, data: bytes) -> Iterator[memoryview | bytes]:
        """Complete envelopes, in order. Raises ProtocolError when a length is beyond MAX_FRAME."""
        if self._need:
            self._chunks.append(data)
            self._size += len(data)
            if self._size < self._need:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._size = self._need = 0
        view = memoryview(data)
        at, end = 0, len(data)
        while end - at >= 4:
            size = HEADER.unpack_from(view, at)[0]
            if size > MAX_FRAME:
                raise ProtocolError(f"a frame of {size} bytes; at most {MAX_FRAME}")
            if end - at - 4 < size:
                break
            yield view[at + 4 : at + 4 + size]
            at += 4 + size
        if at < end:
            rest = bytes(view[at:])
            self._need = 4 if len(rest) < 4 else 4 + HEADER.unpack_from(rest)[0]
            self._chunks.append(rest)
            self._size = len(rest)
