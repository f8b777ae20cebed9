"""The reactor of the allocator: who wants executors, who can run them, who gets them.

    agent --RegisterNode, Heartbeat, PlacementStarted/Exited--> allocator --StartPlacement, StopPlacement--> agent
    manager --DemandChanged, ExecutorChanged, KillExecutor--> allocator --Granted, DrainExecutor, PlacementGone--> manager

Scheduling is event-driven: an event that changes what the scheduler looks at makes a cycle due. It runs inside `handle` when the
floor since the last one has passed, else `deadline` says when. What agents and managers know is not stored twice: after a
restart agents say what they run and managers what they want.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop
from typing import Any

from flame.core.allocator import counted, identities, managers, nodes, objects, placements, policy, shown, workloads
from flame.core.allocator.check import check
from flame.core.allocator.cycle import schedule
from flame.core.allocator.holdings import no_parse
from flame.core.allocator.records import EventNoted, NodeCordoned, NodeSeen, Record, TenantKept, TokenKept
from flame.core.allocator.settings import AllocatorSettings
from flame.core.allocator.state import Book, Manager
from flame.core.allocator.views import tell
from flame.core.base.errors import FlameError, Unimplemented
from flame.core.model.messages import (
    AgentAnswered,
    CreateToken,
    DemandChanged,
    DemandGone,
    Done,
    DropTenant,
    EventInfo,
    ExecutorChanged,
    Failure,
    Heartbeat,
    KillExecutor,
    ManagerJoined,
    Message,
    PlacementExited,
    PlacementStarted,
    RedeemToken,
    RegisterNode,
    ReleaseNode,
    ReplicaChanged,
    RevokeToken,
    SetNode,
    SetTenant,
)
from flame.core.model.reactor import Close, Effect, Event, Joined, Lost, Peer, Received, Recorded
from flame.core.objects.kinds import KINDS
from flame.core.objects.records import ObjectKept, ObjectsSeen
from flame.core.objects.settings import Parse
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.plugins import make_policy

AGENT: dict[type[Message], Callable[[Book, Peer, Message], None]] = {
    RegisterNode: nodes.register,  # type: ignore[dict-item]
    Heartbeat: nodes.beat,  # type: ignore[dict-item]
    ReleaseNode: nodes.release,  # type: ignore[dict-item]
    PlacementStarted: lambda book, peer, m: placements.started(book, m.id, m.pid),  # type: ignore[attr-defined]
    PlacementExited: lambda book, peer, m: placements.exited(book, m),  # type: ignore[arg-type]
    ReplicaChanged: lambda book, peer, m: workloads.replica_changed(book, m),  # type: ignore[arg-type]
    AgentAnswered: lambda book, peer, m: workloads.answered(book, m),  # type: ignore[arg-type]
}
MANAGER: dict[type[Message], Callable[[Book, Peer, Message], None]] = {
    ManagerJoined: managers.joined,  # type: ignore[dict-item]
    DemandChanged: managers.wants,  # type: ignore[dict-item]
    DemandGone: managers.gone,  # type: ignore[dict-item]
    ExecutorChanged: lambda book, peer, m: placements.manager_sees(book, m),  # type: ignore[arg-type]
    KillExecutor: lambda book, peer, m: managers.kill(book, m),  # type: ignore[arg-type]
}
#: what clients ask, passed on by a session manager: answered once committed
RELAYED: dict[type[Message], Callable[[Book, Any], Message]] = {
    CreateToken: identities.create_token,
    RevokeToken: identities.revoke_token,
    RedeemToken: identities.redeem_token,
    SetTenant: identities.set_tenant,
    DropTenant: identities.drop_tenant,
    SetNode: identities.set_node,
    **objects.HANDLERS,
}
KEPT = tuple(name for name, kind in KINDS.items() if kind.writable)
"""Kinds that are journalled; the others only show what is known."""
TIMERS: dict[str, Callable[[Book, str], None]] = {
    "beat": nodes.check_beat,
    "expected": managers.not_found,
    "leave": managers.stop_leftovers,
    "orphan": managers.stop_orphans,
    "manager": managers.give_up,
    "rejoin": nodes.not_back,
    "token": identities.expired,
    "watch": objects.end_watches,
    "job": workloads.job_due,
    "status": workloads.status_due,
    "recheck": lambda book, key: book.changed(),
}


class Allocator:
    """`new_id(kind)` and `new_token()` give fresh names; they are where the randomness comes from.

    `cycle_cost` is how long the last cycle took, in seconds: the shell measures and sets it (the core has no clock).
    """

    def __init__(
        self,
        new_id: Callable[[str], str],
        new_token: Callable[[], str],
        settings: AllocatorSettings | None = None,
        policy: Policy | None = None,
        parse: Parse = no_parse,
    ) -> None:
        self.settings = settings or AllocatorSettings()
        self.book = Book(new_id, new_token, self.settings, policy or make_policy(self.settings.scheduling), parse)
        self.book.keeper = workloads.JobKeeper(self.book)
        self.book.noted = self._noted
        self.cycle_cost = 0.0
        self.cycles = 0
        self._cycle_due = 0.0
        self._tell_due = 0.0
        self._recheck: float | None = None

    def begin(self, now: float, epoch: int = 0) -> None:
        """Recovery is complete: timers of what was kept. `epoch` of the store: what was only shown in an earlier life had versions,
        too, which must not be given out again."""
        self.book.commit(ObjectsSeen(epoch << 32))
        self.book.now = max(self.book.now, now)
        for token in self.book.tokens.values():
            if token.expires is not None:
                self.book.wake(token.expires, "token", token.id)
        policy.refresh(self.book)
        counted.settle(self.book)
        workloads.sync_all(self.book)
        for about, ring in self.book.events.items():
            for event in ring:
                shown.event(self.book, about, event)
        workloads.tend_all(self.book)
        self.book.out.clear()  # nobody is there yet to hear it

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply one event. Never blocks, never raises for what peers send, never reads a clock."""
        book = self.book
        book.now = max(book.now, now)
        if isinstance(event, Received):
            self._receive(event)
        elif isinstance(event, Joined):
            self._join(event)
        elif isinstance(event, Lost):
            self._lose(event.peer)
        elif isinstance(event, Recorded):
            if isinstance(event.record, Record):
                book.apply(event.record)
            return []
        self._work()
        out, book.out = book.out, []
        return out

    def deadline(self) -> float | None:
        """When the next Ticked is due; None: not before something happens."""
        book = self.book
        due = [book.timers[0][0]] if book.timers else []
        if book.dirty and not book.expected:
            due.append(self._cycle_due)
        if book.managers and (book.view_changed or book.reasons_changed):
            due.append(self._tell_due)
        return min(due, default=None)

    def check(self) -> None:
        """Raises AssertionError when an invariant is broken."""
        check(self.book)

    def snapshot(self) -> list[Record]:
        """Records that bring a new allocator to what this one remembers; they may replace the journal so far."""
        book = self.book
        kept: list[Record] = [NodeSeen(info) for info in book.known.values()]
        kept += [NodeCordoned(name, True) for name in book.cordoned]
        kept += [TenantKept(tenant) for tenant in book.tenants.values()]
        kept += [TokenKept(token) for token in book.tokens.values()]
        kept += [ObjectKept(*item.key, item.data, item.version) for kind in KEPT for item in book.objects.each(kind)]
        kept.append(ObjectsSeen(book.objects.version))
        for about, ring in book.events.items():
            kept += [EventNoted(about, e.reason, e.code, e.message, e.at, e.count, e.last) for e in ring]
        return kept

    def events(self, about: str) -> tuple[EventInfo, ...]:
        """What is remembered about an object such as `node/n1`, oldest first."""
        return tuple(self.book.events.get(about, ()))

    def _noted(self, about: str, event: EventInfo, dropped: EventInfo | None) -> None:
        if dropped is not None:
            shown.no_event(self.book, about, dropped)
        shown.event(self.book, about, event)

    def _join(self, event: Joined) -> None:
        role, who = event.hello.role, event.identity
        if who is None or (who.kind == "certificate" and who.role != role):
            said = "nothing" if who is None else f"the certificate of {who.role} {who.name}"
            self.book.out.append(Close(event.peer, f"a {role[:64]!r} that shows {said}"))
            return
        if who.kind == "certificate" and role == "agent":
            self.book.who[event.peer] = who
        if role not in ("manager", "agent"):
            self.book.out.append(Close(event.peer, f"the allocator has nothing for a {role!r}"))
            return
        self.book.roles[event.peer] = role
        if role == "manager":
            self.book.managers[event.peer] = Manager(event.peer)

    def _lose(self, peer: Peer) -> None:
        role = self.book.roles.pop(peer, "")
        self.book.who.pop(peer, None)
        if role == "agent":
            workloads.unanswered(self.book, peer)
            nodes.agent_lost(self.book, peer)
        elif role == "manager":
            managers.lost(self.book, peer)

    def _receive(self, event: Received) -> None:
        book, message = self.book, event.message
        role = book.roles.get(event.peer, "")
        if role == "manager" and event.peer not in book.managers:
            return
        handler = (AGENT if role == "agent" else MANAGER if role == "manager" else {}).get(type(message))
        answer: Message = Done()
        relayed = RELAYED.get(type(message)) if role == "manager" else None
        try:
            if role == "manager" and type(message) in objects.LATER:
                now = objects.LATER[type(message)](book, event.peer, event.request, message)
                if now is not None:
                    book.promise(event.peer, now, event.request)
                return
            if relayed is not None:
                book.promise(event.peer, relayed(book, message), event.request)
                return
            if handler is None:
                raise Unimplemented(
                    f"the allocator does not take {type(message).__name__} from {role or 'a stranger'}",
                    hint="say Hello first, with role manager or agent",
                )
            handler(book, event.peer, message)
        except FlameError as error:
            answer = Failure(error.code, error.message, error.hint)
        if event.request:
            book.say(event.peer, answer, event.request)

    def _work(self) -> None:
        """Fire what is due, run a cycle when one is due, tell what has changed."""
        book = self.book
        while book.timers and book.timers[0][0] <= book.now:
            _, _, what, key = heappop(book.timers)
            TIMERS[what](book, key)
        if book.settings_changed:
            before = book.view
            policy.refresh(book)
            if book.view != before:
                nodes.tune(book)
            counted.settle(book)
            workloads.sync_all(book)
        workloads.tend_all(book)
        # While a manager knows placements that no agent has registered yet, a plan could exceed its limits.
        if book.dirty and book.now >= self._cycle_due and not book.expected:
            book.dirty = False
            plan = schedule(book)
            self.cycles += 1
            pause = self.settings.scheduling
            self._cycle_due = book.now + max(pause.floor, pause.floor_factor * self.cycle_cost)
            if plan.recheck is not None and (self._recheck is None or not book.now < self._recheck <= plan.recheck):
                self._recheck = plan.recheck
                book.wake(plan.recheck, "recheck")
            workloads.tend_all(book)
            if book.quotas:
                policy.show_use(book)
        if book.stale_nodes:
            shown.stale_nodes(book)
        if book.objects_changed:
            objects.tell_watches(book)
        if (book.view_changed or book.reasons_changed) and book.managers and book.now >= self._tell_due:
            tell(book)
            self._tell_due = book.now + self.settings.tell_pause
