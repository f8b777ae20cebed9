"""A client's half of the conversation about tasks, without any I/O: the submit window and who waits for which result.

Per session: tasks wait in `queue`, leave in frames of at most FRAME_TASKS tasks or FRAME_BYTES, and stay in the window until the manager
acknowledged their frame. After a reconnect unacknowledged frames are sent again under the same key, and the manager is told which results
are here.
A *ticket* is whatever the shell wants back with the result: a future in the SDK, a number in the simulator.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from flame.core.model import messages as m
from flame.core.model.messages import Message
from flame.core.model.payloads import FRAME_BYTES, FRAME_TASKS, Column, pack_payloads, unpack_payloads

MAX_FRAMES = 48
"""Unacknowledged frames of one client; the manager remembers the last 128 keys."""

LARGE_FRAME = 64 * 1024
"""Bytes from which on the tickets of a frame are told to let go of their payloads."""

Resolve = Callable[[Sequence[Any], bytes, Sequence[bytes | None], int], None]
"""(tickets, codes, payloads, first task number) -> None; `codes` is empty when all succeeded."""

Options = tuple[int, float, float]
"""retries, timeout, wait_timeout of a frame; -1 = as the session says."""

DEFAULT: Options = (-1, -1.0, -1.0)


class Waiting:
    """Acknowledged tasks of one frame whose results are not all here."""

    __slots__ = ("first", "left", "tickets")

    def __init__(self, first: int, tickets: list[Any]) -> None:
        self.first, self.tickets = first, tickets
        self.left = len(tickets)


class SessionWindow:
    """The tasks of one session at this client."""

    def __init__(self, id: str, resolve: Resolve, payload: Callable[[Any], bytes | None]) -> None:
        self.id = id
        self.resolve = resolve
        #: a ticket's payload, asked once when its frame is cut
        self.payload = payload
        #: called with the tickets of a large frame: their payloads are in the frame now
        self.framed: Callable[[list[Any]], None] | None = None
        #: tickets not yet framed; appended to by any thread
        self.queue: list[Any] = []
        self.options: deque[tuple[int, Options]] = deque()  # (tasks, options) in queue order, only when not DEFAULT
        self.unacked: deque[tuple[m.Submit, list[Any]]] = deque()
        #: frames that were refused for now, in order; nothing new is cut while there are any
        self.deferred: deque[tuple[m.Submit, list[Any]]] = deque()
        self.waiting: list[Waiting] = []
        self.starts: list[int] = []
        #: results here, as merged ranges [first, end); told on Resume
        self.has: list[list[int]] = []
        self.owned = False
        #: after a reconnect results may come before the acknowledgement of their frame: number -> (code, payload)
        self.early: dict[int, tuple[int, bytes | None]] = {}

    @property
    def outstanding(self) -> int:
        """Tasks acknowledged whose result is not here."""
        return sum(w.left for w in self.waiting)

    def acknowledge(self, msg: m.Submitted) -> int:
        """The oldest frame got its numbers. Returns how many tasks left the window; 0 for an answer to a frame sent twice."""
        if not self.unacked or self.unacked[0][0].seq != msg.seq:
            return 0
        _, tickets = self.unacked.popleft()
        index = bisect_right(self.starts, msg.first)
        self.starts.insert(index, msg.first)
        entry = Waiting(msg.first, tickets)
        self.waiting.insert(index, entry)
        if self.early:
            self._resolve_early(entry)
            if not entry.left:
                del self.starts[index], self.waiting[index]
        if not self.unacked:
            self.early.clear()
        return len(tickets)

    def _resolve_early(self, entry: Waiting) -> None:
        for no in range(entry.first, entry.first + len(entry.tickets)):
            if no in self.early:
                code, payload = self.early.pop(no)
                self._resolve(entry, no, no + 1, bytes((code,)), [payload], 0)

    def results(self, msg: m.Results) -> None:
        """Resolve tickets. A result that came before is ignored."""
        payloads = unpack_payloads(msg.lengths, msg.blob)
        at = 0
        it = iter(msg.runs)
        for first, count in zip(it, it, strict=True):
            end = first + count
            no = first
            while no < end:
                index = bisect_right(self.starts, no) - 1
                entry = self.waiting[index] if index >= 0 else None
                if entry is None or no >= entry.first + len(entry.tickets):
                    nxt = self.starts[index + 1] if index + 1 < len(self.starts) else end
                    stop = min(end, nxt)  # not ours any more: resolved before; or not yet
                    if self.unacked:
                        for n in range(no, stop):
                            place = at + n - first
                            self.early[n] = (msg.codes[place] if msg.codes else 0), payloads[place]
                    no = stop
                    continue
                stop = min(end, entry.first + len(entry.tickets))
                self._resolve(entry, no, stop, msg.codes, payloads, at + no - first)
                if not entry.left:
                    del self.starts[index], self.waiting[index]
                no = stop
            at += count
            self._remember(first, end)

    def _resolve(self, entry: Waiting, no: int, stop: int, codes: bytes, payloads: list[bytes | None], at: int) -> None:
        lo, hi = no - entry.first, stop - entry.first
        count = hi - lo
        tickets = entry.tickets[lo:hi]
        code = codes[at : at + count]
        part = payloads[at : at + count] if count != len(payloads) else payloads
        if None in tickets:  # some came before
            keep = [i for i, t in enumerate(tickets) if t is not None]
            tickets = [tickets[i] for i in keep]
            part = [part[i] for i in keep]
            code = bytes(code[i] for i in keep) if code else b""
        entry.tickets[lo:hi] = [None] * count
        entry.left -= len(tickets)
        if tickets:
            self.resolve(tickets, code if any(code) else b"", part, no)

    def _remember(self, first: int, end: int) -> None:
        """Merge [first, end) into what is here; nearly always it extends the last range."""
        has = self.has
        if has and has[-1][1] == first:
            has[-1][1] = end
            return
        index = bisect_right(has, [first])
        has.insert(index, [first, end])
        while index + 1 < len(has) and has[index][1] >= has[index + 1][0]:
            has[index][1] = max(has[index][1], has[index + 1][1])
            del has[index + 1]
        if index and has[index - 1][1] >= first:
            has[index - 1][1] = max(has[index - 1][1], has[index][1])
            del has[index]

    def abandon(self) -> list[Any]:
        """Every ticket without a result; the window is empty afterwards."""
        out = [t for w in self.waiting for t in w.tickets if t is not None]
        out += [t for _, tickets in (*self.unacked, *self.deferred) for t in tickets]
        out += self.queue
        self.deferred.clear()
        self.waiting.clear()
        self.starts.clear()
        self.unacked.clear()
        self.queue.clear()
        self.options.clear()
        return out


class ClientPeer:
    """All sessions of one client. `client_id` names it across connections."""

    def __init__(self, client_id: str, token: str = "", role: str = "client") -> None:
        self.client_id, self.token, self.role = client_id, token, role
        self.history = ""
        self.connected = False
        self.windows: dict[str, SessionWindow] = {}
        self.out: list[Message] = []
        self._seq = 0
        self._frames = 0

    def hello(self) -> m.Hello:
        return m.Hello(
            self.role, token=self.token, client_id=self.client_id, history=self.history, features=("results",)
        )

    @property
    def full(self) -> bool:
        """Are as many frames unacknowledged as may be?"""
        return self._frames >= MAX_FRAMES

    def window(self, session: str, resolve: Resolve, payload: Callable[[Any], bytes | None]) -> SessionWindow:
        found = self.windows.get(session)
        if found is None:
            found = self.windows[session] = SessionWindow(session, resolve, payload)
        return found

    def joined(self, welcome: m.Welcome) -> None:
        """Connected (again): say what we have, send what is not acknowledged."""
        self.connected = True
        again = bool(self.history)
        self.history = welcome.history
        if not again:
            return
        for window in list(self.windows.values()):
            has = tuple(n for first, end in window.has for n in (first, end - first))
            self.out.append(m.Resume(window.id, has, window.owned))
        frames = [frame for window in list(self.windows.values()) for frame, _ in window.unacked]
        frames.sort(key=lambda frame: frame.seq)
        self.out += frames

    def lost(self) -> None:
        self.connected = False
        self.out.clear()

    def receive(self, message: Message) -> bool:
        """True if the message was about tasks of ours."""
        kind = type(message)
        if kind is m.Results:
            window = self.windows.get(message.session)  # type: ignore[attr-defined]
            if window is not None:
                window.results(message)  # type: ignore[arg-type]
            return True
        if kind is m.Submitted:
            window = self.windows.get(message.session)  # type: ignore[attr-defined]
            if window is not None and window.acknowledge(message):  # type: ignore[arg-type]
                self._frames -= 1
            return True
        return False

    def refuse(self, session: str) -> list[Any]:
        """A frame was refused for good: the tickets of everything not acknowledged in this session."""
        window = self.windows[session]
        out = [t for _, tickets in (*window.unacked, *window.deferred) for t in tickets]
        window.deferred.clear()
        self._frames -= len(window.unacked)
        window.unacked.clear()
        out += window.queue
        window.queue.clear()
        window.options.clear()
        return out

    def defer(self, seq: int, room: int = 0) -> SessionWindow | None:
        """A frame was refused for now: it waits for `again`, cut to `room` tasks. None when it is none of ours (any more)."""
        for window in list(self.windows.values()):
            for index, (frame, tickets) in enumerate(window.unacked):
                if frame.seq == seq:
                    del window.unacked[index]
                    window.deferred.extend(_pieces(frame, tickets, room or len(tickets)))
                    self._frames -= 1
                    return window
        return None

    def again(self) -> None:
        """Send deferred frames, under new keys: those behind them may have been taken meanwhile."""
        for window in list(self.windows.values()):
            while window.deferred and self.connected and self._frames < MAX_FRAMES:
                frame, tickets = window.deferred.popleft()
                self._seq += 1
                frame = replace(frame, seq=self._seq)
                window.unacked.append((frame, tickets))
                self._frames += 1
                self.out.append(frame)

    def pump(self) -> None:
        """Cut what waits into frames, as far as the window allows. Call when the connection can take more."""
        if not self.connected:
            return
        for window in list(self.windows.values()):
            while window.queue and not window.deferred and self._frames < MAX_FRAMES:
                self._cut(window)

    def _cut(self, window: SessionWindow) -> None:
        queue = window.queue
        most, options = FRAME_TASKS, DEFAULT
        if window.options:
            most, options = window.options[0]
            most = min(most, FRAME_TASKS)
        # Other threads append meanwhile: what is taken is a prefix.
        tickets = queue[:most]
        payloads = list(map(window.payload, tickets))
        if payloads.count(None) != len(payloads):
            keep = _fitting(payloads)
            if keep < len(tickets):
                tickets, payloads = tickets[:keep], payloads[:keep]
        del queue[: len(tickets)]
        if window.options:
            left = window.options[0][0] - len(tickets)
            if left:
                window.options[0] = (left, options)
            else:
                window.options.popleft()
        self._seq += 1
        frame = m.Submit(window.id, self._seq, *pack_payloads(payloads), *options)  # type: ignore[arg-type]
        if window.framed is not None and len(frame.blob) >= LARGE_FRAME:
            window.framed(tickets)
        window.unacked.append((frame, tickets))
        self._frames += 1
        self.out.append(frame)

    def drain(self) -> list[Message]:
        out, self.out = self.out, []
        return out


def _pieces(frame: m.Submit, tickets: list[Any], room: int) -> Iterator[tuple[m.Submit, list[Any]]]:
    """The frame itself, or several of at most `room` tasks."""
    if len(tickets) <= room:
        yield frame, tickets
        return
    column = Column(frame.lengths, frame.blob)
    for first in range(0, len(tickets), room):
        end = min(first + room, len(tickets))
        lengths, blob = column.cut(first, end)
        yield replace(frame, lengths=lengths, blob=blob), tickets[first:end]


def _fitting(payloads: list[bytes | None]) -> int:
    """How many of the payloads make one frame: at most FRAME_BYTES, at least one payload."""
    size = 0
    for count, payload in enumerate(payloads, 1):
        if payload:
            size += len(payload)
            if size >= FRAME_BYTES:
                return count
    return len(payloads)
