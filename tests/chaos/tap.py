"""A client whose window is listened to: acknowledgements and results are recorded as they come off the wire, before futures know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chaos.history import NAME, Recorder

import flame
from flame.core.model import messages as m
from flame.core.model.payloads import unpack_payloads
from flame.core.peers.client import SessionWindow


def listen(client: flame.Client, recorder: Recorder, numbers: dict[str, int]) -> None:
    """numbers: gets every acknowledged task's number."""
    peer = client.link.peer
    make = peer.window

    def window(id: str, resolve: Any, payload: Any) -> SessionWindow:
        fresh = id not in peer.windows
        made = make(id, resolve, payload)
        if fresh:
            made.acknowledge = _acknowledge(made, recorder, numbers)  # type: ignore[method-assign]
            made.resolve = _resolve(made, recorder)
        return made

    peer.window = window  # type: ignore[method-assign]


def _acknowledge(window: SessionWindow, recorder: Recorder, numbers: dict[str, int]) -> Callable[[m.Submitted], int]:
    original = window.acknowledge

    def acknowledge(msg: m.Submitted) -> int:
        if window.unacked and window.unacked[0][0].seq == msg.seq:
            frame = window.unacked[0][0]
            payloads = unpack_payloads(frame.lengths, frame.blob)
            names = [found[0].decode() if (found := NAME.search(p or b"")) else "?" for p in payloads]
            recorder.write("acked", session=window.id, seq=msg.seq, first=msg.first, count=msg.count, tasks=names)
            numbers.update(zip(names, range(msg.first, msg.first + msg.count), strict=False))
        return original(msg)

    return acknowledge


def _resolve(window: SessionWindow, recorder: Recorder) -> Callable[..., None]:
    original = window.resolve

    def resolve(futures: Sequence[Any], codes: bytes, payloads: Sequence[bytes | None], first: int) -> None:
        settled = [f"{window.id}/{first + i}" for i, future in enumerate(futures) if future.done()]
        if settled:
            recorder.write("again", session=window.id, tasks=settled)
        original(futures, codes, payloads, first)

    return resolve
