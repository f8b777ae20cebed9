"""The owner of one workload: applies it, scales it, waits until it rests, deletes it, and looks at it all the while."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flame.core.model import messages as m
from flame.sim.process import Caller

if TYPE_CHECKING:
    from flame.sim.jobs import JobScript
    from flame.sim.network import Link
    from flame.sim.world import World

KIND = "FlameWorkload"
LOOK = 0.05
"""Seconds between two looks."""
LATER = ("unavailable", "storage_full", "exhausted")


class OwnerProcess(Caller):
    """One question at a time, asked again on every new connection until it is answered: all of them may be repeated."""

    def __init__(self, world: World, name: str, script: JobScript) -> None:
        super().__init__(world, name)
        self.script = script
        self.stage = "apply"
        self.replicas: int | None = None
        self._request = 0
        self._asked: m.Message | None = None

    def begin(self) -> None:
        self.after(self.script.begin, self._next)
        self._dial()

    def hello(self) -> m.Hello:
        return m.Hello("client", client_id=self.name)

    def receive(self, link: Link, side: int, request: int, message: m.Message) -> None:
        if link is not self._link:
            return
        self.world.clock.trace(self.name, self.stage, type(message).__name__)
        if isinstance(message, m.Welcome):
            self._welcome = True
            self._say()
        elif request == self._request and self._asked is not None:
            self._answered(message)

    # -- its questions

    def _next(self) -> None:
        """Ask what this stage asks."""
        name = self.script.name
        if self.stage == "apply":
            self._ask(m.PutObject("apply", KIND, body=json.dumps(self.script.body).encode()))
        elif self.stage == "scale":
            self.replicas = None
            self._ask(
                m.PutObject("merge", KIND, name=name, body=b'{"spec":{"replicas":%d}}' % (self.script.scale or 0))
            )
        elif self.stage == "delete":
            self._ask(m.DeleteObject(KIND, name=name))
        else:
            self._ask(m.GetObject(KIND, name=name))

    def _ask(self, message: m.Message) -> None:
        self._request += 1
        self._asked = message
        self._say()

    def _say(self) -> None:
        if self._link is not None and self._welcome and self._asked is not None:
            self._link.send(0, self._asked, self._request)

    def _answered(self, message: m.Message) -> None:
        self._asked = None
        pause = LOOK * self.world.clock.rng.random()
        if isinstance(message, m.Failure):
            if message.code not in LATER:
                self._refused(message)
        elif isinstance(message, m.ObjectPut):
            self._put(json.loads(message.body))
        elif isinstance(message, m.Object):
            self._saw(json.loads(message.body))
        if not self.done:
            self.after(pause, self._next)
        elif self._link is not None:
            self._link.close(0)

    def _refused(self, message: m.Failure) -> None:
        gone = message.code == "not_found"
        assert gone and self.stage in ("delete", "gone"), f"{self.name}: {self.stage}: {message.code} {message.message}"
        self.done = True

    def _put(self, body: dict[str, object]) -> None:
        if self.stage == "delete":
            self.stage = "gone"
            return
        spec = body["spec"]
        assert isinstance(spec, dict)
        self.replicas = spec["replicas"]
        scales = self.stage == "apply" and self.script.scale is not None
        self.stage = "scale" if scales else "look"

    def _saw(self, found: dict[str, object]) -> None:
        if self.stage == "look":
            self.world.jobs.seen(self.script, found, self.replicas)
            if self.world.healed and self.world.jobs.rests(self.script, found):
                self.stage = "delete"
