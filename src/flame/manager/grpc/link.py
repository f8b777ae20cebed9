"""One node of an agent that speaks `flame.v1`: a peer of the allocator, and the streams that watch it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

from flame.core.base.errors import FlameError
from flame.core.model import messages as m
from flame.core.model.states import ExecutorState
from flame.manager.desk import Desk, Line
from flame.manager.grpc.slot import Slot

DRAIN = 30.0
"""Seconds a node without a stream keeps its executors."""
RECONNECT = 0.5


class NodeLink:
    """Lives from RegisterNode until the node is released or its drain timer ends."""

    def __init__(
        self, desk: Desk, node: m.RegisterNode, gone: Callable[[NodeLink], None], drain: float = DRAIN
    ) -> None:
        self.node = node
        self.slots: dict[str, Slot] = {}
        self._desk, self._gone, self._drain = desk, gone, drain
        self._line: Line | None = None
        self._streams: list[asyncio.Queue[m.ExecutorInfo]] = []
        self._untold: list[m.ExecutorInfo] = []  # releases from before the agent began to watch
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def register(self, node: m.RegisterNode) -> None:
        """Tell the allocator what the node has and runs. Executors nobody here knows are dropped by the agent."""
        reported = {placed.id for placed in node.running}
        self.node = m.RegisterNode(
            name=node.name,
            capacity=node.capacity,
            allocatable=node.allocatable,
            arch=node.arch,
            os=node.os,
            driver="flame.v1",
            running=tuple(self._placed(slot) for slot in self.slots.values()),
        )
        await self._introduce()
        for slot in self.slots.values():
            self._tell(slot.info())
        for id in reported - self.slots.keys():
            self._tell(m.ExecutorInfo(id, node.name, ExecutorState.RELEASED, None))
        self._rest()

    def beat(self) -> None:
        if self._line is not None:
            self._line.say(m.Heartbeat(self.node.name, time.time()))

    def watch(self) -> asyncio.Queue[m.ExecutorInfo]:
        """Every change of an executor of this node from now on, and the executors it has now."""
        queue: asyncio.Queue[m.ExecutorInfo] = asyncio.Queue()
        for slot in self.slots.values():
            queue.put_nowait(slot.info())
        for info in self._untold:
            queue.put_nowait(info)
        self._untold = []
        self._streams.append(queue)
        self._rest()
        return queue

    def unwatch(self, queue: asyncio.Queue[m.ExecutorInfo]) -> None:
        self._streams.remove(queue)
        if not self._streams:
            self._rest()

    def started(self, slot: Slot) -> None:
        if self._line is not None:
            self._line.say(m.PlacementStarted(slot.placement.id, 0))

    def ended(self, slot: Slot, reason: str = "") -> None:
        """The agent dropped this executor."""
        if self.slots.pop(slot.placement.id, None) is None:
            return
        slot.close()
        if self._line is not None:
            self._line.say(m.PlacementExited(slot.placement.id, exit_code=0, reason=reason))

    def release(self) -> None:
        if self._line is not None:
            self._line.say(m.ReleaseNode(self.node.name))
        self.close()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for slot in self.slots.values():
            slot.close()
        for task in self._tasks:
            task.cancel()
        if self._line is not None:
            self._line.close()
            self._line = None
        self._gone(self)

    # -- the allocator's side -------------------------------------------------------------------------------------

    async def _introduce(self) -> None:
        if self._line is None:
            hello = m.Hello(role="agent", client_id=self.node.name)
            self._line = await self._desk.allocator_line(hello, self._pushed, self._lost)
        await self._line.ask(self.node)

    def _pushed(self, message: m.Message) -> None:
        match message:
            case m.StartPlacement() if message.id not in self.slots:
                slot = self.slots[message.id] = Slot(message, self._desk, lambda slot: self._tell(slot.info()))
                self._tell(slot.info())
            case m.StopPlacement() if message.id in self.slots:
                self.slots[message.id].leave()
                self._spawn(self._stop(self.slots[message.id], message.grace))
            case _:
                pass

    async def _stop(self, slot: Slot, grace: float) -> None:
        """A polite end first; then the agent is told to drop the executor."""
        await asyncio.sleep(grace)
        if slot.placement.id in self.slots:
            self._tell(m.ExecutorInfo(slot.placement.id, self.node.name, ExecutorState.RELEASED, None))
            self.ended(slot, "stopped")

    def _lost(self) -> None:
        self._line = None
        if not self._closed:
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        while not self._closed:
            await asyncio.sleep(RECONNECT)
            try:
                await self.register(self.node)
            except FlameError:
                continue
            return

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the agent's side -----------------------------------------------------------------------------------------

    def _tell(self, info: m.ExecutorInfo) -> None:
        if not self._streams and info.state == ExecutorState.RELEASED:
            self._untold.append(info)
        for queue in self._streams:
            queue.put_nowait(info)

    def _rest(self) -> None:
        """The drain timer runs exactly while nobody watches."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._streams:
            self._timer = asyncio.get_running_loop().call_later(self._drain, self.close)

    @staticmethod
    def _placed(slot: Slot) -> m.Placed:
        p = slot.placement
        return m.Placed(p.id, p.session, p.resources, p.devices, token=p.token, shim=p.spec.shim)
