"""The servicers' own client of the sessions reactor: one line, made when first needed and again when it is lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TypeVar

from flame.core.base.errors import NotFound, ProtocolError
from flame.core.model import messages as m
from flame.manager.desk import Desk, Line

M = TypeVar("M", bound=m.Message)


class Office:
    """Questions to the sessions reactor, and watches of tasks, for any number of gRPC calls."""

    def __init__(self, desk: Desk, token: str = "", identity: m.Identity | None = None) -> None:
        """token, identity: of whom this line is; see `flame.shell.gate`."""
        self._desk, self._token, self._identity = desk, token, identity
        self._made = False
        self._line: Line | None = None
        self._seq = 0
        self._watches = 0
        self._watching: dict[int, asyncio.Queue[m.TaskInfo | None]] = {}

    @property
    def open(self) -> bool:
        """False once its line was lost: whoever it belongs to must be asked again."""
        return self._line is not None or not self._made

    async def ask(self, message: m.Message, answer: type[M]) -> M:
        """The committed answer. Raises what the reactor answers, and ProtocolError for an answer of another kind."""
        found = await self._connected().ask(message)
        if not isinstance(found, answer):
            raise ProtocolError(f"{type(message).__name__} was answered by {type(found).__name__}")
        return found

    async def submit(self, session: str, lengths: bytes, blob: bytes) -> m.Submitted:
        self._connected()
        self._seq += 1
        return await self.ask(m.Submit(session, self._seq, lengths, blob), m.Submitted)

    async def watch(self, session: str, no: int) -> Watch:
        """Later changes of a task. Raises NotFound for an unknown task or session."""
        self._watches += 1
        number = self._watches
        queue: asyncio.Queue[m.TaskInfo | None] = asyncio.Queue()
        self._watching[number] = queue
        try:
            await self._connected().ask(m.WatchTask(session, no, number))
        except BaseException:
            self._watching.pop(number, None)
            raise
        return Watch(f"{session}/{no}", queue, lambda: self._unwatch(number))

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._lost()

    def _connected(self) -> Line:
        if self._line is None:
            # A new client id: its frames count from 1 again, and answers for the old one come to nobody.
            hello = m.Hello(role="client", client_id=f"grpc-{secrets.token_hex(8)}", token=self._token)
            self._seq = 0
            self._made = True
            self._line = self._desk.line(hello, self._pushed, self._lost, self._identity)
        return self._line

    def _pushed(self, message: m.Message) -> None:
        # Results of tasks submitted here come too; gRPC clients read them by GetTask and WatchTask.
        if isinstance(message, m.TaskChanged) and (queue := self._watching.get(message.watch)):
            queue.put_nowait(message.task)

    def _lost(self) -> None:
        self._line = None
        watching, self._watching = self._watching, {}
        for queue in watching.values():
            queue.put_nowait(None)

    def _unwatch(self, number: int) -> None:
        if self._watching.pop(number, None) is not None and self._line is not None:
            self._line.say(m.Unwatch(number))


class Watch:
    """What happens to one task, until it is over."""

    def __init__(self, name: str, queue: asyncio.Queue[m.TaskInfo | None], done: Callable[[], None]) -> None:
        self._name, self._queue, self._done = name, queue, done

    async def next(self) -> m.TaskInfo:
        """The next change. Raises NotFound when the session is gone: a watch never ends silently."""
        found = await self._queue.get()
        if found is None:
            raise NotFound(f"task {self._name} not found: its session is gone")
        return found

    def close(self) -> None:
        self._done()
