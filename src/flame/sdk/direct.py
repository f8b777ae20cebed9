"""The verbs of a client as coroutines that need no thread, with bodies as the bytes they are: for programs that pass them on.

A `Direct` shares the links of its client. Every verb raises the FlameError that the cluster answers, and Unavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from flame.core.base.errors import FlameError, NotFound, Unavailable
from flame.core.model import messages as m
from flame.sdk.client import Client, summed
from flame.sdk.link import Link

M = TypeVar("M", bound=m.Message)
WAIT = 25.0
"""Seconds that one question for news may wait for its answer."""
CHUNK = 1 << 20
"""Bytes of a log in one answer."""


class _Slot:
    """Brings an answer from the link's thread into the loop of who asked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[m.Message] = self._loop.create_future()

    def put(self, answer: m.Message | FlameError) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, answer)
        except RuntimeError:
            return  # the loop has ended, and nobody waits any more

    def _set(self, answer: m.Message | FlameError) -> None:
        if self.answer.done():
            return
        if isinstance(answer, FlameError):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


async def ask(link: Link, message: m.Message, kind: type[M], timeout: float = 60.0) -> M:
    """One request, its answer. Raises the FlameError answered, or Unavailable."""
    slot = _Slot()
    forget = link.ask_soon(message, slot)
    try:
        answer = await asyncio.wait_for(slot.answer, timeout)
    except TimeoutError:
        forget()
        raise Unavailable(f"no answer to {type(message).__name__} within {timeout:g} s") from None
    except asyncio.CancelledError:
        forget()
        raise
    if not isinstance(answer, kind):
        raise FlameError(f"{type(message).__name__} was answered by {type(answer).__name__}")
    return answer


class Direct:
    """Of one client; usable from any loop, and from several at once."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def _ask(self, message: m.Message, kind: type[M], timeout: float = 60.0, of: str = "") -> M:
        return await ask(self.client.links.of(of) if of else self.client.link, message, kind, timeout)

    async def _ask_all(self, message: m.Message, kind: type[M]) -> list[M]:
        return list(await asyncio.gather(*(ask(link, message, kind) for link in self.client.links.all())))

    # -- sessions --------------------------------------------------------------------------------------------------------

    async def sessions(self) -> list[m.SessionInfo]:
        return [info for found in await self._ask_all(m.ListSessions(), m.SessionList) for info in found.sessions]

    async def session(self, id: str) -> m.SessionInfo:
        return await self._ask(m.GetSession(id), m.SessionInfo, of=id)

    async def task(self, session: str, no: int) -> m.TaskInfo:
        return await self._ask(m.GetTask(session, no), m.TaskInfo, of=session)

    async def tasks(self, session: str, start: int = 1, limit: int = 100, payloads: bool = False) -> m.TaskList:
        return await self._ask(m.ListTasks(session, start, limit, payloads), m.TaskList, of=session)

    async def task_logs(self, session: str, no: int = 0) -> tuple[m.LogLine, ...]:
        return (await self._ask(m.GetLogs(session, no), m.LogList, of=session)).lines

    async def explain(self, session: str, no: int = 0) -> m.Explanation:
        """Why a session (or its task `no`) waits."""
        return await self._ask(m.Explain(f"{session}/{no}" if no else session), m.Explanation, of=session)

    # -- objects ---------------------------------------------------------------------------------------------------------

    async def put(
        self,
        mode: str,
        kind: str,
        body: bytes,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> m.ObjectPut:
        """mode: create, replace, apply, merge or json, see `PutObject`."""
        return await self._ask(m.PutObject(mode, kind, namespace, name, body, subresource, dry_run), m.ObjectPut)

    async def delete(
        self,
        kind: str,
        name: str,
        *,
        namespace: str = "",
        grace: float | None = None,
        version: int = 0,
        dry_run: bool = False,
    ) -> m.ObjectPut:
        return await self._ask(m.DeleteObject(kind, namespace, name, dry_run, grace, version), m.ObjectPut)

    async def get(self, kind: str, name: str, *, namespace: str = "") -> bytes:
        return (await self._ask(m.GetObject(kind, namespace, name), m.Object)).body

    async def list(
        self,
        kind: str,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        after: str = "",
        timeout: float = 60.0,
    ) -> m.ObjectList:
        message = m.ListObjects(kind, namespace, labels, fields, limit, after)
        return await self._ask(message, m.ObjectList, timeout)

    async def changes(
        self, kind: str, since: int, *, namespace: str = "", labels: str = "", fields: str = "", wait: float = WAIT
    ) -> m.ObjectChanges:
        """What changed after `since`, as soon as there is something, or nothing after `wait` seconds. Raises Expired."""
        message = m.WatchObjects(kind, since, namespace, labels, fields, wait)
        return await self._ask(message, m.ObjectChanges, wait + 30)

    async def debug(self, kind: str, name: str, *, namespace: str = "") -> bytes:
        return (await self._ask(m.DebugObject(kind, namespace, name), m.Object)).body

    async def log(
        self,
        name: str,
        *,
        namespace: str = "",
        container: str = "",
        previous: bool = False,
        follow: bool = False,
        offset: int = 0,
    ) -> AsyncIterator[m.ReplicaAnswer]:
        """What a replica wrote from `offset` on, in pieces; with `follow` until it ends, or is gone. See `Objects.logs`."""
        begun = False
        while True:
            wait = WAIT if follow else 0.0
            call = m.CallReplica(
                "logs", name, namespace, container, offset=offset, limit=CHUNK, wait=wait, previous=previous
            )
            try:
                answer = await self._ask(call, m.ReplicaAnswer, wait + 30)
            except NotFound:
                if begun and follow:
                    return
                raise
            begun = True
            yield answer
            offset = answer.offset + len(answer.data)
            if (answer.ended and not answer.data) or (not follow and len(answer.data) < CHUNK):
                return

    # -- the cluster -----------------------------------------------------------------------------------------------------

    async def nodes(self) -> tuple[m.NodeInfo, ...]:
        return (await self._ask(m.ListNodes(), m.NodeList)).nodes

    async def applications(self) -> tuple[m.AppInfo, ...]:
        return (await self._ask(m.ListApps(), m.AppList)).apps

    async def status(self) -> m.Status:
        """Of the whole cluster, see `Client.status`."""
        return summed(await self._ask_all(m.GetStatus(), m.Status))

    async def whoami(self) -> m.Identity:
        return await self._ask(m.WhoAmI(), m.Identity)
