"""CreateTask calls become frames: whatever arrives in one turn of the loop travels as one Submit per session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from flame.core.base.errors import PayloadTooLarge, ProtocolError
from flame.core.model.messages import Submitted
from flame.core.model.payloads import FRAME_BYTES, FRAME_TASKS, pack_payloads

LIMIT = 4 * 1024 * 1024 - 64 * 1024
"""Bytes of a payload by gRPC: clients take messages of 4 MiB, and the rest of the task needs room."""
IN_FLIGHT = 32
"""Frames sent and not answered; a client may have 64."""

Waiting = tuple[bytes | None, "asyncio.Future[int]"]


class Intake:
    """Gathers single tasks into frames.

    send: gives a frame to the sessions reactor and returns its Submitted; sets `seq` itself.
    """

    def __init__(self, send: Callable[[str, bytes, bytes], Awaitable[Submitted]]) -> None:
        self._send = send
        self._waiting: dict[str, list[Waiting]] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._sending: set[asyncio.Task[None]] = set()

    async def submit(self, session: str, payload: bytes | None) -> int:
        """The number of the new task, once it is committed. Raises PayloadTooLarge, and what the reactor answers."""
        if payload is not None and len(payload) > LIMIT:
            raise PayloadTooLarge(
                f"the input has {len(payload):,} bytes", hint=f"by gRPC a payload has at most {LIMIT:,} bytes"
            )
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        number: asyncio.Future[int] = loop.create_future()
        self._waiting.setdefault(session, []).append((payload, number))
        return await number

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for session, tasks in waiting.items():
            sending = asyncio.ensure_future(self._deliver(session, tasks))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _deliver(self, session: str, tasks: list[Waiting]) -> None:
        while tasks:
            size, end = 0, 0
            while end < len(tasks) and end < FRAME_TASKS and (end == 0 or size < FRAME_BYTES):
                size += len(tasks[end][0] or b"")
                end += 1
            frame, tasks = tasks[:end], tasks[end:]
            async with self._slots:
                await self._deliver_frame(session, frame)

    async def _deliver_frame(self, session: str, frame: list[Waiting]) -> None:
        try:
            answer = await self._send(session, *pack_payloads(payload for payload, _ in frame))
            if answer.count != len(frame):
                raise ProtocolError(f"{len(frame)} tasks were submitted, {answer.count} were taken")
        except Exception as error:
            for _, number in frame:
                if not number.done():
                    number.set_exception(error)
            return
        for offset, (_, number) in enumerate(frame):
            if not number.done():
                number.set_result(answer.first + offset)
