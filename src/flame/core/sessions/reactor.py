"""The reactor of sessions and tasks: the only place where the session manager changes its mind.

`handle(event, now)` applies one event and returns what to do about it. It never blocks, never fails halfway, never reads a clock. What a
client did wrong becomes a Failure answer; a broken executor message drops that connection.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from flame.core.base.errors import FlameError, PermissionDenied, ProtocolError
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.reactor import (
    COMMITTED,
    LAZY,
    NOW,
    Audit,
    Choked,
    Close,
    Effect,
    Event,
    Joined,
    Keep,
    Lost,
    Peer,
    ReadLines,
    Received,
    Recorded,
    Send,
    Ticked,
)
from flame.core.model.states import SessionState
from flame.core.sessions import (
    adoption,
    apps,
    archive,
    binding,
    executors,
    identities,
    intake,
    losses,
    objects,
    running,
    views,
)
from flame.core.sessions import records as r
from flame.core.sessions.apply import apply, missing, reload, save
from flame.core.sessions.dispatch import feed, leave, measure
from flame.core.sessions.identities import Admit
from flame.core.sessions.invariants import check
from flame.core.sessions.results import completed, deliver_all, wake
from flame.core.sessions.state import Core, Executor, Fetch, Session, Settings
from flame.core.sessions.wellformed import wellformed

__all__ = ["Admit", "Fetch", "Fetched", "Sessions", "Settings", "StorageChanged"]


class Fetched(Event):
    """The rows of a Fetch, in the order asked."""

    token: int
    records: tuple[r.Record, ...]


class StorageChanged(Event):
    """The store can write (`ok`), or why it cannot."""

    state: str


def _asks(text: str) -> Callable[[Core, Peer, int, Any], m.Message]:
    answers: dict[str, Callable[[Core, Peer, Any], m.Message]] = {
        "session": lambda core, peer, msg: views.session_info(core, core.session(peer, msg.id), events=True),
        "sessions": lambda core, peer, msg: views.sessions(core, peer),
        "apps": lambda core, peer, msg: apps.visible(core, peer),
        "nodes": lambda core, peer, msg: m.NodeList(core.cluster.nodes),
        "executors": lambda core, peer, msg: views.executors(core, peer),
        "status": lambda core, peer, msg: views.status(core, peer),
        "explain": lambda core, peer, msg: views.explain(core, peer, msg.object),
    }
    return lambda core, peer, request, msg: answers[text](core, peer, msg)


def _logs(core: Core, peer: Peer, request: int, msg: m.GetLogs) -> None:
    core.out.append(ReadLines(peer, request, core.session(peer, msg.session).id, msg.no))


#: client verbs: (core, peer, request, message) -> the answer, or None when it comes later
VERBS: dict[type[m.Message], Callable[[Core, Peer, int, Any], m.Message | None]] = {
    m.Submit: intake.submit,
    m.OpenSession: intake.open_session,
    m.CloseSession: intake.close_session,
    m.DeleteSession: intake.delete_session,
    m.GetSession: _asks("session"),
    m.ListSessions: _asks("sessions"),
    m.Resume: intake.resume,
    m.ShareBlob: intake.share_blob,
    m.FetchBlob: intake.fetch_blob,
    m.GetTask: archive.get_task,
    m.ListTasks: archive.list_tasks,
    m.WatchTask: intake.watch_task,
    m.Unwatch: intake.unwatch,
    m.CancelTasks: intake.cancel_tasks,
    m.RegisterApp: apps.register,
    m.UpdateApp: apps.update,
    m.UnregisterApp: apps.unregister,
    m.GetApp: apps.get,
    m.ListApps: _asks("apps"),
    m.ListNodes: _asks("nodes"),
    m.ListExecutors: _asks("executors"),
    m.GetStatus: _asks("status"),
    m.Explain: _asks("explain"),
    m.GetLogs: _logs,
    m.WhoAmI: identities.who_am_i,
    m.ListTokens: identities.list_tokens,
    m.ListTenants: identities.list_tenants,
    m.CreateToken: identities.create_token,
    m.RevokeToken: identities.revoke_token,
    m.SetTenant: identities.set_tenant,
    m.DropTenant: identities.drop_tenant,
    m.SetNode: identities.set_node,
    m.JoinNode: identities.join_node,
    m.PutObject: objects.write,
    m.DeleteObject: objects.write,
    m.GetObject: objects.read,
    m.ListObjects: objects.read,
    m.WatchObjects: objects.read,
    m.DebugObject: objects.read,
    m.CallReplica: objects.call,
}

#: what executors say: (core, executor, message)
REPORTS: dict[type[m.Message], Callable[[Core, Executor, Any], None]] = {
    m.Completed: completed,
    m.Entered: binding.entered,
    m.Started: running.started,
    m.Recalled: running.recalled,
    m.Blocked: running.blocked,
    m.LogLine: lambda core, executor, msg: _relay(core, executor, msg),
    m.Streamed: lambda core, executor, msg: _relay(core, executor, msg),
    m.Left: lambda core, executor, msg: None,
}


def _relay(core: Core, executor: Executor, msg: m.LogLine | m.Streamed) -> None:
    """Prints and stream items go to the client that submitted the task, live; prints are kept as well."""
    session = core.sessions.get(executor.session)
    if session is None or msg.session != session.id:
        return
    if isinstance(msg, m.LogLine):
        core.out.append(Keep(msg))
    if session.archive or not session.table.has(msg.no):
        return
    peer = core.clients.get(session.table.frame_of(msg.no).client)
    if peer is not None and not core.choked.get(peer):
        core.send(peer, msg, when=NOW)


def _drain(core: Core, msg: m.DrainExecutor) -> None:
    executor = core.executors.get(msg.placement)
    if executor is not None:
        leave(core, executor)
        if session := core.sessions.get(executor.session):
            core.touch(session)


def _cluster(core: Core, msg: m.ClusterChanged) -> None:
    core.cluster = msg
    for session in list(core.sessions.values()):
        adoption.end_adoption(core, session)


def _reasons(core: Core, msg: m.Reasons) -> None:
    if session := core.sessions.get(msg.session):
        session.reasons = msg.reasons


#: what the allocator says
NEWS: dict[type[m.Message], Callable[[Core, Any], None]] = {
    m.Granted: executors.granted,
    m.PlacementGone: losses.gone,
    m.DrainExecutor: _drain,
    m.ClusterChanged: _cluster,
    m.Reasons: _reasons,
    m.Identities: identities.learn,
    m.Done: lambda core, msg: None,
    m.Welcome: lambda core, msg: None,
}


class Sessions:
    """Everything known about sessions and tasks."""

    def __init__(
        self, settings: Settings | None = None, *, address: str = "", release: str = "", durability: str = "memory"
    ) -> None:
        """address: where executors reach the plane; told to the allocator."""
        self.core = Core(settings or Settings())
        self.core.apply = apply
        self.core.release, self.core.durability = release, durability
        self.address = address

    # -- recovery --------------------------------------------------------------------------------------------------------

    def missing(self) -> list[int]:
        """After the snapshot: rows whose payloads open tasks need. Give them to `reload`, then the rows behind the snapshot."""
        return missing(self.core)

    def reload(self, position: int, record: r.Record) -> None:
        reload(self.core, position, record)

    def begin(self, epoch: int, history: str, now: float) -> list[Effect]:
        """Recovery is complete: start a new epoch. Open sessions with tasks wait a moment for their executors."""
        core = self.core
        core.now = core.started_at = now
        core.out = []
        core.persist(r.EpochStarted(epoch, history, now))
        for session in list(core.sessions.values()):
            for no in [n for n in session.delayed if session.table.state(n)]:
                del session.delayed[no]
            for no, due in session.delayed.items():
                core.timer(due, wake, session.id, no)
            if session.state == SessionState.OPEN:
                session.adopt_until = now + core.settings.adopt_grace
                session.recovered = len(session.table)
                core.timer(session.adopt_until, adoption.adoption_over, session.id)
                if session.owner:
                    core.timer(now + core.settings.owner_grace, intake.owner_left, session.owner)
                _restore_wait_timers(core, session)
                intake.finish(core, session)
            else:
                intake.archive_if_done(core, session)
        return core.out

    def snapshot(self) -> list[r.Record]:
        """The whole durable state but payloads, as records that recovery applies in this order."""
        core = self.core
        out: list[r.Record] = [r.EpochStarted(core.epoch, core.history, core.now, core.last_alias)]
        out += [r.AppRegistered(a.name, a.spec, a.created) for a in core.apps.values()]
        out += [save(s, columns=not s.archive) for s in core.sessions.values()]
        return out

    # -- events ------------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply one event; returns what to do, in order."""
        core = self.core
        core.now = max(core.now, now)
        core.out = []
        if type(event) is Received:
            self._received(event)
        elif type(event) is Recorded:
            self._recorded(event)
            return core.out
        else:
            self._other(event)
        self._settle()
        return core.out

    def _recorded(self, event: Recorded) -> None:
        core = self.core
        core.position = max(core.position, event.position)
        assert isinstance(event.record, r.Record)
        apply(core, event.record, event.position)
        if isinstance(event.record, r.TasksEnded | r.TasksCancelled):
            session = core.sessions.get(event.record.session)
            if session is not None and session.table.ends:
                session.table.ends[-1].unload()

    def _received(self, event: Received) -> None:
        core = self.core
        kind = type(event.message)
        if event.peer and event.peer not in core.peers:
            return  # it was sent away; this came behind
        try:
            if event.peer == core.allocator:
                if event.request:
                    identities.relayed(core, event.request, event.message)
                else:
                    NEWS[kind](core, event.message)
                return
            wellformed(event.message)
            if kind in REPORTS:
                if event.peer not in core.serving and core.peers[event.peer].role == "executor":
                    return  # not welcome yet: what matters it says again when it is
                REPORTS[kind](core, executors.serving(core, event.peer), event.message)
            elif kind in VERBS:
                self._ask(kind, event)
            else:
                raise ProtocolError(f"{kind.__name__} is not for the session manager")
        except ProtocolError as error:
            core.send(event.peer, m.Failure(error.code, error.message, error.hint), event.request, NOW)
            core.out.append(Close(event.peer, error.message))
        except FlameError as error:
            self._refuse(event, error)

    def _ask(self, kind: type[m.Message], event: Received) -> None:
        """A question: may it be asked, and what is the answer."""
        core, peer = self.core, event.peer
        executors.allow(core, peer, event.message)
        answer = VERBS[kind](core, peer, event.request, event.message)
        if answer is None:
            return
        if kind is m.Submit:
            lazy = intake.NATIVE in core.peers[peer].features
            core.send(peer, answer, event.request, LAZY if lazy else COMMITTED)
            return
        if kind in access.AUDITED and peer:
            identities.audit(core, peer, event.message)
        core.send(peer, answer, event.request)

    def _refuse(self, event: Received, error: FlameError) -> None:
        """A refused change, and every question that may not be asked, is written down."""
        core = self.core
        if event.peer in core.who and (type(event.message) in access.AUDITED or isinstance(error, PermissionDenied)):
            identities.audit(core, event.peer, event.message, error.code)
        failure = m.Failure(error.code, error.message, error.hint, error.retry_after, getattr(error, "room", 0))
        core.send(event.peer, failure, event.request)

    def _other(self, event: Event) -> None:
        core = self.core
        if isinstance(event, Joined):
            self._joined(event)
        elif isinstance(event, Lost):
            self._lost(event.peer)
        elif isinstance(event, Choked):
            core.choked[event.peer] = event.full
            if not event.full and event.peer in core.peers:
                self._resume_delivery(core.peers[event.peer].client_id)
        elif isinstance(event, Fetched):
            core.fetches.pop(event.token)(list(event.records))
        elif isinstance(event, StorageChanged):
            core.storage = event.state
        elif isinstance(event, Ticked):
            while core.timers and core.timers[0][0] <= core.now:
                _, _, call, args = heapq.heappop(core.timers)
                call(core, *args)

    def _resume_delivery(self, client: str) -> None:
        for session in self.core.sessions.values():
            if client in session.submitters and not session.archive:
                deliver_all(self.core, session)
                self.core.touch(session)

    def _joined(self, event: Joined) -> None:
        core, peer, hello = self.core, event.peer, event.hello
        if hello.role == "allocator":
            core.peers[peer] = hello
            self._allocator_joined(peer)
            return
        try:
            who = identities.identify(core, hello, event.identity)
        except FlameError as error:
            core.out.append(Audit(core.now, access.NOBODY, "Hello", hello.role[:64], error.code))
            failure = m.Failure(error.code, error.message, error.hint, error.retry_after)
            core.out += [Send(peer, failure, 0, NOW), Close(peer, error.message)]
            return
        if who.kind != "local":  # a client's id says whose results it gets: it cannot be somebody else's
            hello = (
                replace(hello, client_id=f"{who.tenant}/{who.name}/{hello.client_id}")
                if who.role in access.LADDER or hello.role == "client"
                else hello
            )
        core.peers[peer] = hello
        identities.admit(core, peer, who)
        if hello.history and hello.history != core.history:
            text = "the cluster lost history in a power cut under `process` durability; this client's unconfirmed tasks are gone"
            core.send(peer, m.Failure("history_lost", text), when=NOW)
            return
        if hello.role == "executor":
            executors.joined(core, peer, hello)
            return
        core.welcome(peer)
        if core.clients.get(hello.client_id, 0) < peer:  # not an earlier connection of it, heard of late
            core.clients[hello.client_id] = peer

    def _allocator_joined(self, peer: Peer) -> None:
        core = self.core
        core.allocator = peer
        # It did not place those that were started by hand, and would look for them in vain.
        placed = [executor for executor in core.executors.values() if executor.node != m.BY_HAND]
        core.tell(
            m.ManagerJoined(self.address, core.epoch, tuple(executor.id for executor in placed), core.settings.shard)
        )
        for session in core.sessions.values():
            session.demand = None
            if session.state == SessionState.OPEN:
                measure(core, session)
            elif session.executors:  # it closed while the allocator was away
                core.tell(m.DemandGone(session.id))
        for executor in placed:
            idle = executor.usable and not executor.outstanding
            core.tell(m.ExecutorChanged(executor.id, executor.session, executor.state, idle, executor.blocked))

    def _lost(self, peer: Peer) -> None:
        core = self.core
        hello = core.peers.pop(peer, None)
        core.who.pop(peer, None)
        core.choked.pop(peer, None)
        if hello is None:
            return
        if peer == core.allocator:
            core.allocator = None
            identities.unanswered(core)
            return
        for key in [k for k in core.watches if k[0] == peer]:
            intake.unwatch(core, peer, 0, m.Unwatch(key[1]))
        if hello.role == "executor":
            executor = core.serving.pop(peer, None)
            if core.strangers.get(hello.client_id) == peer:
                del core.strangers[hello.client_id]
            if executor is not None and executor.peer == peer:
                losses.lost(core, executor)
        elif core.clients.get(hello.client_id) == peer:
            del core.clients[hello.client_id]
            core.timer(core.now + core.settings.owner_grace, intake.owner_left, hello.client_id)

    def _settle(self) -> None:
        """Sessions touched by this event: feed executors, close what has drained, tell the demand."""
        core = self.core
        while core.touched:
            _, session = core.touched.popitem()
            if core.sessions.get(session.id) is not session:
                for executor in session.executors.values():
                    leave(core, executor)
                continue
            if session.mode:
                intake.finish(core, session)
            feed(core, session)
            measure(core, session)
            intake.archive_if_done(core, session)

    def deadline(self) -> float | None:
        """When the next Ticked is due."""
        return self.core.timers[0][0] if self.core.timers else None

    def check(self) -> None:
        """Raises AssertionError when an invariant is broken."""
        check(self.core)


def _restore_wait_timers(core: Core, session: Session) -> None:
    for frame in session.table.frames:
        if frame.open and frame.wait_timeout >= 0:
            core.timer(frame.at + frame.wait_timeout, running.wait_over, session.id, frame.first, frame.wait_timeout)
