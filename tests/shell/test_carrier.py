"""Envelopes between machines: what a carrier sends is what protobuf reads, and a broken message is an error that says so."""

from __future__ import annotations

import random

import pytest

from flame.core.base.errors import ProtocolError
from flame.core.model import messages as m
from flame.shell.carrier import _packed, _unpacked, _Whole
from flame.wire.codec import MAX_FRAME, decode, frame
from flame.wire.plane import plane_pb2 as pb

FRAMES = [frame(m.Done(), 1), frame(m.GetSession("x" * 200), 2), frame(m.Blob(bytes(70_000)), 3)]


def test_frames_travel_as_a_message_that_any_language_reads():
    packed = _packed(b"".join(FRAMES))
    read = pb.Envelopes.FromString(packed)
    assert [envelope.request for envelope in read.envelopes] == [1, 2, 3]
    assert read.SerializeToString() == packed
    assert _unpacked(packed) == b"".join(FRAMES)
    assert _unpacked(b"") == b""


@pytest.mark.parametrize(
    "broken", [b"\x0a", b"\x0a\x05ab", b"\x12\x01a", b"\x0a\xff\xff\xff\xff\xff\xff", _packed(FRAMES[1])[:-1]]
)
def test_what_is_no_envelopes_is_refused(broken):
    with pytest.raises(ProtocolError, match="Envelopes"):
        _unpacked(broken)


def test_a_byte_stream_is_cut_behind_whole_frames_wherever_it_breaks():
    whole, dice = b"".join(FRAMES * 3), random.Random(3)
    for _ in range(200):
        cutter, got, at = _Whole(), b"", 0
        while at < len(whole):
            step = dice.choice((1, 2, 3, 5, 70, 5000, 200_000))
            part = cutter.cut(whole[at : at + step])
            at += step
            while part:
                size = int.from_bytes(part[:4], "little")
                decode(part[4 : 4 + size])
                got, part = got + part[: 4 + size], part[4 + size :]
        assert got == whole


def test_a_length_that_cannot_be_ends_the_stream():
    with pytest.raises(ProtocolError, match="at most"):
        _Whole().cut((MAX_FRAME + 1).to_bytes(4, "little"))
