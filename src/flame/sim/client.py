"""A client: opens its session, submits in bursts, waits for every future, closes, and looks at what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flame.core.model import messages as m
from flame.core.model.states import TaskState
from flame.core.peers.client import ClientPeer, SessionWindow
from flame.sim.process import Caller
from flame.sim.tasks import payload_of

if TYPE_CHECKING:
    from flame.sim.network import Link
    from flame.sim.plan import Script
    from flame.sim.world import World

SUCCEED = TaskState.SUCCEED.value
SUBMIT = 1_000_000
"""Request numbers from here on are submit frames."""


class Ticket:
    """What stands for a future."""

    __slots__ = ("payload", "result")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        #: None while it is open; then (code, payload, task number), or a word
        self.result: tuple[int, bytes | None, int] | str | None = None


class ClientProcess(Caller):
    """Follows its script. Every step is repeated on a new connection until it is answered."""

    def __init__(self, world: World, name: str, script: Script) -> None:
        super().__init__(world, name)
        self.script = script
        self.peer = ClientPeer(name)
        self.window: SessionWindow = self.peer.window(script.session, self._resolve, lambda ticket: ticket.payload)
        self.window.owned = script.owned
        self.tickets: list[Ticket] = []
        self.lost_history = False
        self._request = 0
        self._asked: dict[int, m.Message] = {}
        self._opened = False
        self._bursts = list(script.bursts)
        self._cancels = list(script.cancels)
        self._closing = False
        self._closed = False
        self._looked = not script.looks
        #: watches that have not seen the end of their task: watch -> task number
        self._watching: dict[int, int] = {}

    @property
    def submitting(self) -> bool:
        """Are there tasks that are not acknowledged yet?"""
        return not self.done and (
            not self._opened or bool(self._bursts or self.window.queue or self.window.unacked or self.window.deferred)
        )

    # -- connection

    def begin(self) -> None:
        self._dial()

    def hello(self) -> m.Hello:
        return self.peer.hello()

    def broken(self) -> None:
        self.peer.lost()

    def receive(self, link: Link, side: int, request: int, message: m.Message) -> None:
        if link is not self._link:
            return
        self.world.clock.trace(self.name, type(message).__name__)
        if isinstance(message, m.Welcome):
            self._welcomed(message)
        elif isinstance(message, m.Failure):
            self._failed(request, message)
        elif self.peer.receive(message):
            if isinstance(message, m.Submitted):
                self.world.truth.acknowledged(self, message)
            self._advance()
        elif isinstance(message, m.TaskChanged):
            self._changed(message)
        elif request in self._asked:
            self._answered(self._asked.pop(request), message)
        self._say()

    def _welcomed(self, message: m.Welcome) -> None:
        self._welcome = True
        self.peer.joined(message)
        for request, asked in self._asked.items():
            assert self._link is not None
            self._link.send(0, asked, request)
        for watch, no in self._watching.items():
            assert self._link is not None
            self._link.send(0, m.WatchTask(self.script.session, no, watch), 0)
        if not self._opened and not self._asked:
            self._ask(m.RegisterApp("app", self.script.app, if_absent=True))
            self._ask(m.OpenSession(self.script.session, self.script.spec, "either", self.script.owned))

    def _failed(self, request: int, message: m.Failure) -> None:
        asked = self._asked.pop(request, None)
        if message.code == "history_lost":
            self._give_up()
        elif request >= SUBMIT:
            for ticket in self.peer.refuse(self.script.session):
                ticket.result = message.code
            self._bursts.clear()
            self._advance()
        elif isinstance(asked, m.OpenSession) and message.code == "session_closed":
            # Another client of the session was faster than us.
            self._bursts.clear()
            self._opened = True
            self._advance()
        elif isinstance(asked, m.CancelTasks):
            pass
        else:
            raise AssertionError(f"{self.name}: {asked} failed: {message.code} {message.message}")

    def _give_up(self) -> None:
        """A power cut took history we had seen. What was not resolved has failed; the session goes if it is still there."""
        assert self.world.disk.durability == "process", "history may be lost under `process` only"
        self.lost_history = True
        for ticket in self.tickets:
            if ticket.result is None:
                ticket.result = "history_lost"
        self.done = True
        if self._link is not None:
            self._link.close(0)
        self.world.client_gave_up(self)

    # -- script

    def _ask(self, message: m.Message) -> None:
        self._request += 1
        self._asked[self._request] = message
        if self._link is not None and self._welcome:
            self._link.send(0, message, self._request)

    def _say(self) -> None:
        if self._link is None or not self._welcome:
            return
        self.peer.pump()
        for message in self.peer.drain():
            request = SUBMIT + message.seq if isinstance(message, m.Submit) else 0
            self._link.send(0, message, request)

    def _answered(self, asked: m.Message, answer: m.Message) -> None:
        if isinstance(asked, m.OpenSession):
            self._opened = True
            self.after(0.0, self._burst)
        elif isinstance(asked, m.CloseSession):
            assert isinstance(answer, m.SessionInfo), answer
            self.world.truth.closed(answer)
            self._closed = True
            if self.script.looks and self.window.has:
                self._ask(m.GetTask(self.script.session, self.window.has[0][0]))
            self._rest()
        elif isinstance(asked, m.ListTasks):
            assert isinstance(answer, m.TaskList), answer
            for task in answer.tasks:
                self.world.truth.seen(task)
            if answer.next:
                self._ask(m.ListTasks(self.script.session, answer.next, 5))
            else:
                self._looked = True
                self._advance()
        elif isinstance(asked, m.GetTask):
            assert isinstance(answer, m.TaskInfo), answer
            self.world.truth.seen(answer)
            self._rest()

    def _changed(self, message: m.TaskChanged) -> None:
        """A watched task changed. After a reconnect an end may be told twice."""
        assert message.task is not None, f"{self.name}: a watch of a session that is there says it is gone"
        if message.task.state >= SUCCEED and self._watching.pop(message.watch, None) is not None:
            self.world.truth.seen(message.task)
            self._rest()

    def _burst(self) -> None:
        """Submit one burst, and come back for the next."""
        rng = self.world.clock.rng
        if self._bursts and not self.done:
            pause, kinds = self._bursts.pop(0)
            for kind, limit in kinds:
                ticket = Ticket(payload_of(kind, limit, f"{self.name}.{len(self.tickets)}"))
                self.tickets.append(ticket)
                self.window.queue.append(ticket)
            self._say()
            if self._cancels and rng.random() < 0.5 and self.window.starts:
                first = self.window.starts[0]
                self._ask(m.CancelTasks(self.script.session, (first, 1), self._cancels.pop()))
            if self.script.looks and rng.random() < 0.5 and self.window.starts:
                watch = len(self._watching) + 1000 * len(self._bursts)
                self._watching[watch] = self.window.starts[-1]
                if self._link is not None and self._welcome:
                    self._link.send(0, m.WatchTask(self.script.session, self._watching[watch], watch))
            self.after(pause, self._burst)
        self._advance()

    def _resolve(self, tickets: Sequence[Ticket], codes: bytes, payloads: Sequence[bytes | None], first: int) -> None:
        for at, (ticket, payload) in enumerate(zip(tickets, payloads, strict=True)):
            assert ticket.result is None, f"{self.name}: {ticket.payload!r} resolved twice"
            ticket.result = (codes[at] if codes else 0), payload, first + at
            self.world.truth.resolved(self, ticket)

    def _rest(self) -> None:
        """Nothing is left to do once the session is closed and every future resolved."""
        if not self._closed or self.done or self._asked or self._watching:
            return
        if all(ticket.result is not None for ticket in self.tickets):
            self.done = True
            if self._link is not None:
                self._link.close(0)

    def _advance(self) -> None:
        """Close once all is submitted and, unless the script is impatient, resolved."""
        self._rest()
        if not self._opened or self._bursts or self._closing or self.done:
            return
        if (
            self.window.queue
            or self.window.unacked
            or self.window.deferred
            or (self.window.waiting and not self.script.impatient)
        ):
            return
        if self.world.others_submit(self):
            self.after(0.01, self._advance)
            return
        if not self._looked:
            if not any(isinstance(asked, m.ListTasks) for asked in self._asked.values()):
                self._ask(m.ListTasks(self.script.session, 1, 5))
            return
        self._closing = True
        self._ask(m.CloseSession(self.script.session, self.script.close))
