"""The task plane between machines: Envelopes on a bidirectional gRPC stream, under TLS.

A `Carrier` has the face of `shell.stream.Stream`, so that whoever talks over a socket can talk over a call: bytes of length-prefixed
frames go in and come out. Whatever is ready travels as one message: a message costs far more than what is
in it. `pair` joins a call to a local socket: that is how executors and clients, which speak sockets only, reach another machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # why a connection fails we say ourselves, and better

import grpc
import grpc.aio

from flame.core.base.errors import FlameError, ProtocolError, Unauthenticated, Unavailable
from flame.security.tls import channel_credentials, diagnose
from flame.shell.address import Address
from flame.shell.stream import HIGH_WATER, LOW_WATER, Stream
from flame.wire.codec import HEADER, MAX_FRAME

log = logging.getLogger("flame.carrier")

SERVICE, METHOD = "flame.plane.v1.Plane", "Connect"
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_FRAME),
    ("grpc.max_send_message_length", MAX_FRAME),
    ("grpc.keepalive_time_ms", 3000),  # a host that vanished is noticed within about 6 s
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.so_reuseport", 0),  # a taken port must be an error
    ("grpc.use_local_subchannel_pool", 1),  # a channel of its own: new credentials count
    ("grpc.enable_http_proxy", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 * 1024 * 1024),
)
CONNECT_LIMIT = 5.0
BATCH = 1024 * 1024
"""Bytes from which on a message takes no further frame."""
PACE, FLOOD_PACE, FLOOD = 0.0005, 0.004, 2048
"""Seconds between two messages of one stream: one by itself leaves at once, a few gather a little, and behind one of FLOOD bytes more: each
message costs both sides about as much as a hundred short tasks in it."""
_TAG = b"\x0a"
"""Of `Envelopes.envelopes`, as protobuf writes it."""


class Carrier:
    """One call, either side of it. `data`: frames that came; `ended`: the other side is gone (once); `choked`: see the water marks."""

    def __init__(
        self,
        call: Any,
        data: Callable[[bytes], None],
        ended: Callable[[], None],
        choked: Callable[[bool], None],
    ) -> None:
        self._call, self._data, self._ended, self._choked = call, data, ended, choked
        self._unsent: deque[bytes] = deque()
        self._size = 0
        self._sent_at = 0.0
        self._sent = 0
        self._full = False
        self._closing = False
        self._work = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self.open = True
        self.finished = asyncio.Event()
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._send())]

    def write(self, data: bytes) -> None:
        """Any number of whole frames."""
        if not self.open or self._closing:
            return
        self._unsent.append(data)
        self._size += len(data)
        self._work.set()
        if not self._full and self._size > HIGH_WATER:
            self._full = True
            self._choked(True)

    def pause(self, paused: bool) -> None:
        """Read no more for now: flow control then holds the other side back."""
        if paused:
            self._may_read.clear()
        else:
            self._may_read.set()

    async def _send(self) -> None:
        try:
            while True:
                if not self._unsent:
                    if self._closing:
                        break
                    self._work.clear()
                    await self._work.wait()
                    continue
                await self._gather()
                frames = self._take()
                self._sent_at, self._sent = time.monotonic(), len(frames)
                await self._call.write(_packed(frames))
                self._size -= len(frames)
                if self._full and self._size < LOW_WATER:
                    self._full = False
                    self._choked(False)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, grpc.aio.AbortError):
            pass
        self.abort()

    async def _gather(self) -> None:
        """Wait a moment when messages follow each other closely."""
        early = (FLOOD_PACE if self._sent > FLOOD else PACE) - (time.monotonic() - self._sent_at)
        if early > 0:
            await asyncio.sleep(early)

    def _take(self) -> bytes:
        """What is ready, up to a good size."""
        if len(self._unsent) == 1:
            return self._unsent.popleft()
        parts, size = [], 0
        while self._unsent and size < BATCH:
            parts.append(self._unsent.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    async def _read(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                message = await self._call.read()
                if message is grpc.aio.EOF:
                    break
                self._data(_unpacked(message))
        except ProtocolError as error:
            log.warning("a broken stream: %s", error)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, grpc.aio.AbortError):
            pass
        self.abort()

    def close(self) -> None:
        """After what is unsent."""
        self._closing = True
        self._work.set()

    def abort(self) -> None:
        """Now."""
        if not self.open:
            return
        self.open = False
        self._unsent.clear()
        if isinstance(self._call, grpc.aio.Call):
            self._call.cancel()
        self.finished.set()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        self._ended()


def _packed(frames: bytes) -> bytes:
    """Length-prefixed frames as one `Envelopes` message."""
    parts: list[bytes] = []
    at, end = 0, len(frames)
    while at < end:
        size = HEADER.unpack_from(frames, at)[0]
        at += HEADER.size
        parts += (_TAG, _varint(size), frames[at : at + size])
        at += size
    return b"".join(parts)


def _unpacked(message: bytes) -> bytes:
    """The inverse. Raises ProtocolError for what is no `Envelopes`."""
    parts: list[bytes] = []
    at, end = 0, len(message)
    while at < end:
        size, shift, begin = 0, 0, at + 1
        if message[at : at + 1] != _TAG:
            raise ProtocolError(f"{end} bytes that are no Envelopes")
        while True:
            if begin >= end or shift > 28:
                raise ProtocolError(f"{end} bytes that end in the middle of Envelopes")
            byte = message[begin]
            size |= (byte & 0x7F) << shift
            begin, shift = begin + 1, shift + 7
            if byte < 0x80:
                break
        at = begin + size
        if at > end:
            raise ProtocolError(f"{end} bytes that end in the middle of Envelopes")
        parts += (HEADER.pack(size), message[begin:at])
    return b"".join(parts)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def handler(serve: Callable[[Any], Awaitable[None]]) -> grpc.GenericRpcHandler:
    """The service to add to a server; `serve(context)` lives as long as the connection does."""

    async def connect(requests: Any, context: Any) -> None:
        await serve(context)

    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.stream_stream_rpc_method_handler(connect)})


class Remote:
    """A place on another machine: one TLS channel, any number of calls.

    ca: who signed the server; identity: our own certificate and key, where the other side wants them. Both are read anew for every channel.
    """

    def __init__(self, address: Address, ca: Path | None, identity: Path | None = None) -> None:
        self.address, self.ca, self.identity = address, ca, identity
        self._channel: grpc.aio.Channel | None = None

    async def call(self) -> Any:
        """A new stream on a channel that is up. Raises Unavailable or Unauthenticated, with the reason in words."""
        channel = self._channel
        if channel is None:
            if self.ca is None:
                raise Unauthenticated(
                    f"nothing says who may sign for {self.address}", hint="--ca-file, or FLAME_CA_FILE"
                )
            credentials = channel_credentials(self.ca, self.identity)
            channel = self._channel = grpc.aio.secure_channel(self.address.target, credentials, OPTIONS)
        try:
            await asyncio.wait_for(_ready(channel), CONNECT_LIMIT)
        except TimeoutError:
            await self.drop()
            raise await self._reason() from None
        return channel.stream_stream(f"/{SERVICE}/{METHOD}")(wait_for_ready=False)

    async def _reason(self) -> FlameError:
        host, port = self.address.host, self.address.port
        why = await asyncio.to_thread(diagnose, host, port, self.ca, self.identity, 3.0)
        return Unavailable(f"cannot connect to {self.address}: {why or 'no answer in time'}")

    async def drop(self) -> None:
        """The channel is of no use any more (or its credentials are old)."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


async def _ready(channel: grpc.aio.Channel) -> None:
    """Like `channel_ready`, but a refused connection ends it at once: the caller has other addresses to try."""
    state = channel.get_state(try_to_connect=True)
    while state != grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            raise TimeoutError
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


def pair(sock: socket.socket, call: Any, ended: Callable[[], None] = lambda: None) -> tuple[Stream, Carrier]:
    """Join a local socket to a call: what comes in at one goes out at the other, and slowly where one side is slow."""
    whole = _Whole()

    def from_local(data: bytes) -> None:
        try:
            frames = whole.cut(data)
        except ProtocolError as error:
            log.warning("a broken local stream: %s", error)
            over()
            return
        if frames:
            carrier.write(frames)

    def over() -> None:
        stream.abort()
        carrier.abort()
        if not told:
            told.append(True)
            ended()

    told: list[bool] = []
    stream = Stream(sock, from_local, over, lambda full: carrier.pause(full))
    carrier = Carrier(call, stream.write, over, lambda full: stream.pause(full))
    return stream, carrier


class _Whole:
    """Cuts a byte stream behind whole frames, without looking into them."""

    __slots__ = ("_need", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of a frame that is not complete
        self._size = self._need = 0

    def cut(self, data: bytes) -> bytes:
        """Every frame that is complete now. Raises ProtocolError for a length that cannot be."""
        if self._need:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._need:
                return b""
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = self._need = 0
        at, end = 0, len(data)
        while end - at >= HEADER.size:
            size = HEADER.unpack_from(data, at)[0]
            if size > MAX_FRAME:
                raise ProtocolError(f"a frame of {size} bytes; at most {MAX_FRAME}")
            if end - at - HEADER.size < size:
                break
            at += HEADER.size + size
        if at < end:
            rest = data[at:]
            self._need = HEADER.size if len(rest) < HEADER.size else HEADER.size + HEADER.unpack_from(rest)[0]
            self._parts, self._size = [rest], len(rest)
        return data[:at]
