"""What a client asks of a replica here: its logs, and commands beside its containers (`CallReplica`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from flame.agent.orders import Order
from flame.agent.replicas.exec import Execs
from flame.agent.replicas.logs import ContainerLog, piece
from flame.agent.replicas.places import Place
from flame.agent.replicas.runtime import Box, Refused
from flame.core.base.errors import InvalidArgument, InvalidState, NotFound
from flame.core.model import messages as m

LONGEST = 60.0
"""Seconds a call may wait for something new."""
LARGEST = 1 << 20
"""Bytes of one answer."""
REMEMBERED = 256
"""Replicas that have ended whose logs can still be asked for."""


class Size(msgspec.Struct, kw_only=True):
    """Body of a resize."""

    rows: int = 24
    cols: int = 80

    def checked(self) -> tuple[int, int]:
        """Raises InvalidArgument."""
        if not 0 < self.rows < 1 << 15 or not 0 < self.cols < 1 << 15:
            raise InvalidArgument(f"a terminal of {self.rows} x {self.cols}")
        return self.rows, self.cols


class Command(Size, kw_only=True):
    """Body of an exec."""

    command: list[str]
    tty: bool = False


class Calls:
    """`beside` makes the order of a command in a container; raises Refused."""

    def __init__(
        self, live: Mapping[str, Place], execs: Execs, beside: Callable[[Box, list[str], bool], Order]
    ) -> None:
        self.live, self.execs, self._beside = live, execs, beside
        self._ended: dict[str, Place] = {}

    def remember(self, place: Place) -> None:
        self._ended[place.order.id] = place
        while len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    async def answer(self, placement: str, call: m.CallReplica) -> m.ReplicaAnswer:
        """Raises FlameError, OSError, and msgspec's for a body that is none."""
        limit, wait = max(1, min(call.limit, LARGEST)), max(0.0, min(call.wait, LONGEST))
        if call.verb == "logs":
            return await self._logs(placement, call, limit, wait)
        if call.verb == "exec":
            return self._exec(placement, call)
        if call.verb == "write":
            self.execs.get(placement, call.id).write(call.body)
            return m.ReplicaAnswer(id=call.id)
        if call.verb == "read":
            found = self.execs.get(placement, call.id)
            offset, data = await found.read(call.offset, limit, wait)
            ended = found.ended and offset + len(data) >= found.end
            return m.ReplicaAnswer(data, offset, ended, call.id, found.code if ended else None)
        if call.verb == "resize":
            size = msgspec.json.decode(call.body, type=Size)
            self.execs.get(placement, call.id).resize(*size.checked())
            return m.ReplicaAnswer(id=call.id)
        if call.verb == "close":
            closed = self.execs.close(placement, call.id)
            return m.ReplicaAnswer(b"", 0, True, call.id, closed.code)
        raise InvalidArgument(f"unknown verb {call.verb!r}", hint="logs, exec, write, read, resize or close")

    def _place(self, placement: str) -> Place:
        place = self.live.get(placement) or self._ended.get(placement)
        if place is None:
            raise NotFound(f"replica {placement} is not on this node")
        return place

    def _name(self, place: Place, container: str) -> str:
        """Of a container; without one, the first of the spec. Raises NotFound."""
        names = [one.name for one in (*place.order.spec.containers, *place.order.spec.init)]
        name = container or names[0]
        if name not in names:
            raise NotFound(f"container {name!r}; replica {place.order.spec.name} has {', '.join(names)}")
        return name

    async def _logs(self, placement: str, call: m.CallReplica, limit: int, wait: float) -> m.ReplicaAnswer:
        place = self._place(placement)
        log: ContainerLog = place.logs[self._name(place, call.container)]
        if call.previous:
            if not log.previous.exists():
                raise NotFound(f"container {call.container or place.order.spec.containers[0].name} has no previous run")
            data = piece(log.previous, call.offset, limit)
            return m.ReplicaAnswer(data, call.offset, len(data) < limit)
        if wait:
            await log.more(call.offset, wait)
        offset, data = log.read(call.offset, limit)
        return m.ReplicaAnswer(data, offset, (not log.open and offset + len(data) >= log.end) or call.offset > log.end)

    def _exec(self, placement: str, call: m.CallReplica) -> m.ReplicaAnswer:
        place = self._place(placement)
        name = self._name(place, call.container)
        box = place.boxes.get(name)
        if box is None or not box.pid:
            raise InvalidState(f"container {name} of replica {place.order.spec.name} does not run")
        asked = msgspec.json.decode(call.body, type=Command)
        if not asked.command:
            raise InvalidArgument("exec without a command")
        size = asked.checked()
        try:
            order = self._beside(box, asked.command, asked.tty)
        except Refused as error:
            raise InvalidArgument(error.message) from None
        if asked.tty:
            order.environment = {"TERM": "xterm"} | order.environment
        made = self.execs.start(placement, box.directory / "pipes", order, size)
        return m.ReplicaAnswer(id=made.id)
