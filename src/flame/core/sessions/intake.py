"""What clients ask of sessions and tasks. Each function answers with a message, or None when the answer comes later."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from flame.core.base import errors as e
from flame.core.base.ids import check_session_id, shard_of, shown
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.messages import Identity
from flame.core.model.payloads import MAX_PAYLOAD, count_of
from flame.core.model.reactor import Peer
from flame.core.model.states import SessionState
from flame.core.sessions import apps, limits, views
from flame.core.sessions import records as r
from flame.core.sessions.apply import save, submitter
from flame.core.sessions.archive import send_task, with_table
from flame.core.sessions.dispatch import leave
from flame.core.sessions.results import cancel, deliver
from flame.core.sessions.running import kill_if_running, stop_running, wait_over
from flame.core.sessions.state import Core, Session
from flame.core.sessions.table import PENDING, RUNNING, pairs

NATIVE = "results"
"""Hello feature of clients that take results pushed (all but gRPC)."""
RESERVED_APPS = {"flmrun": "the Runner is not part of this release; use `@flame.task` or a registered service"}


def open_session(core: Core, peer: Peer, request: int, msg: m.OpenSession) -> m.Message:
    who = core.who[peer]
    found = access.lookup(who, _named(who, msg), core.sessions)
    if found is not None and msg.mode == "create":
        raise e.AlreadyExists(f"session {msg.id} already exists", hint="open it, or choose another id")
    if found is not None:
        if found.state == SessionState.CLOSED or found.mode:
            raise e.SessionClosed(f"session {msg.id} is not open")
        if msg.spec is not None:
            _same_spec(found, _resolved(core, msg.spec))
        return views.session_info(core, found)
    if msg.spec is None or msg.mode == "open":
        raise e.NotFound(f"session {shown(msg.id)} not found", hint="give a specification to create it")
    tenant, name = _tenant_of(core, who, msg)
    check_session_id(name)
    if core.settings.shards and shard_of(name, len(core.settings.shards)) != core.settings.shard:
        right = core.settings.shards[shard_of(name, len(core.settings.shards))]
        raise e.InvalidArgument(f"session {name} belongs to another session manager", hint=f"ask {right}")
    limits.check_session(core, tenant)
    app = apps.lookup(core, tenant, msg.spec.application)
    if app is None:
        known = ", ".join(sorted(one.name for one in apps.visible(core, peer).apps)) or "none"
        raise e.NotFound(
            f"application {shown(msg.spec.application)} not found; registered: {known}",
            hint="`flmctl register -f app.yaml`",
        )
    if app.name in RESERVED_APPS:
        raise e.Unimplemented(RESERVED_APPS[app.name])
    spec = replace(_resolved(core, msg.spec), application=app.name, tenant=tenant)
    if namespace := _namespace(core, who):
        spec = replace(spec, namespace=namespace)
    if spec.max_instances is not None and spec.min_instances > spec.max_instances:
        raise e.InvalidArgument(f"min_instances {spec.min_instances} is more than max_instances {spec.max_instances}")
    owner = core.peers[peer].client_id if msg.owned and not spec.detached else ""
    id = access.key(tenant, name)
    core.persist(r.SessionOpened(id, core.next_alias, spec, core.now, owner))
    session = core.sessions[id]
    core.touch(session)
    _drop_oldest(core)
    return views.session_info(core, session)


def _named(who: Identity, msg: m.OpenSession) -> str:
    """The id, as a key where whoever sees all tenants names one."""
    if who.tenant == access.EVERY and msg.spec is not None and "/" not in msg.id:
        return access.key(msg.spec.tenant, msg.id)
    return msg.id


def _tenant_of(core: Core, who: Identity, msg: m.OpenSession) -> tuple[str, str]:
    """(tenant, plain id) of a session to be made. Raises NotFound for an unknown tenant, PermissionDenied for another's."""
    assert msg.spec is not None, "only a new session has a tenant to choose"
    asked, name = access.split(msg.id) if "/" in msg.id else (msg.spec.tenant, msg.id)
    if "/" in msg.id and asked not in core.tenants:
        check_session_id(msg.id)
    tenant = access.home(who) if asked == access.DEFAULT else asked
    if not access.reaches(who, tenant):
        raise e.PermissionDenied(f"{who.name} opens sessions of tenant {who.tenant}, not of {shown(tenant)}")
    if tenant != access.DEFAULT and tenant not in core.tenants:
        raise e.NotFound(f"tenant {shown(tenant)} not found", hint="`flame tenant create` makes it")
    return tenant, name


def _namespace(core: Core, who: Identity) -> str | None:
    """What a replica of a workload opens, and tasks of such sessions open, is counted where the workload is; None: as asked."""
    if who.kind == "executor":
        executor = core.executors.get(who.name.removeprefix("executor "))
        session = core.sessions.get(executor.session) if executor is not None else None
        return session.spec.namespace if session is not None else None
    return access.namespace_of(who)


def _resolved(core: Core, spec: m.SessionSpec) -> m.SessionSpec:
    return spec if spec.resources else replace(spec, resources=dict(core.settings.default_resources))


def _nonzero(resources: object) -> dict[str, int]:
    return {k: v for k, v in dict(resources).items() if v}  # type: ignore[call-overload]


def _same_spec(session: Session, asked: m.SessionSpec) -> None:
    have = session.spec
    for name, mine, theirs in (
        ("application", access.split(have.application)[1], access.split(asked.application)[1]),
        ("resreq", _nonzero(have.resources), _nonzero(asked.resources)),
        ("min_instances", have.min_instances, asked.min_instances),
        ("max_instances", have.max_instances, asked.max_instances),
        ("priority", have.priority, asked.priority),
    ):
        if mine != theirs:
            raise e.SpecMismatch(
                f"session {session.id} spec mismatch: {name} differs (expected {mine}, received {theirs})"
            )


def _drop_oldest(core: Core) -> None:
    most = core.settings.max_sessions
    if most is None or len(core.sessions) <= most:
        return
    closed = [s for s in core.sessions.values() if s.state == SessionState.CLOSED]
    closed.sort(key=lambda s: s.closed or s.created)
    for session in closed[: len(core.sessions) - most]:
        core.persist(r.SessionDeleted(session.id))


def submit(core: Core, peer: Peer, request: int, msg: m.Submit) -> m.Message:
    """Tasks get the next numbers. A frame that came before is answered as it was then."""
    session = core.session(peer, msg.session)
    hello = core.peers[peer]
    by = submitter(session, hello.client_id)
    by.wants = NATIVE in hello.features
    if msg.seq and msg.seq <= by.last:
        for seq, first, count in by.frames:
            if seq == msg.seq:
                return m.Submitted(session.id, seq, first, count)
        # Not among those taken: it was refused while a later one was not. A client has fewer frames under way than are remembered.
        if len(by.frames) == by.frames.maxlen and msg.seq < min(frame[0] for frame in by.frames):
            raise e.ProtocolError(
                f"frame {msg.seq} is older than the last {by.frames.maxlen} of client {shown(hello.client_id)}"
            )
    if session.state == SessionState.CLOSED or session.mode:
        raise e.SessionClosed(f"session {session.id} is not open", hint="open a new session")
    if core.storage != "ok":
        raise e.StorageFull(core.storage)
    spec, first, count = session.spec, len(session.table) + 1, count_of(msg.lengths)
    limits.check_tasks(core, spec.tenant, count, len(msg.blob))
    retries = spec.retries if msg.retries < 0 else msg.retries
    timeout = msg.timeout if msg.timeout >= 0 else (-1.0 if spec.timeout is None else spec.timeout)
    wait = msg.wait_timeout if msg.wait_timeout >= 0 else (-1.0 if spec.wait_timeout is None else spec.wait_timeout)
    core.persist(
        r.TasksSubmitted(
            session.id, hello.client_id, msg.seq, first, msg.lengths, msg.blob, core.now, retries, timeout, wait
        )
    )
    session.queue.push(first, first + count)
    session.queued += count
    if wait >= 0:
        core.timer(core.now + wait, wait_over, session.id, first, wait)
    core.touch(session)
    return m.Submitted(session.id, msg.seq, first, count)


def share_blob(core: Core, peer: Peer, request: int, msg: m.ShareBlob) -> m.Message:
    session = core.session(peer, msg.session)
    if session.state == SessionState.CLOSED:
        raise e.SessionClosed(f"session {session.id} is not open")
    if len(msg.blob) > MAX_PAYLOAD:
        raise e.PayloadTooLarge(f"a function of {len(msg.blob):,} bytes; at most {MAX_PAYLOAD:,}")
    if msg.digest not in session.blobs:
        core.persist(r.BlobShared(session.id, msg.digest, msg.blob))
    return m.Done()


def fetch_blob(core: Core, peer: Peer, request: int, msg: m.FetchBlob) -> m.Message:
    blob = core.session(peer, msg.session).blobs.get(msg.digest)
    if blob is None:
        raise e.NotFound(f"session {msg.session} has no blob {msg.digest[:12]!r}")
    return m.Blob(blob)


def resume(core: Core, peer: Peer, request: int, msg: m.Resume) -> m.Message:
    """The client is back: send what it does not have."""
    session = core.session(peer, msg.session)
    by = submitter(session, core.peers[peer].client_id)
    by.wants = NATIVE in core.peers[peer].features
    if session.archive:
        _deliver_archived(core, session, core.peers[peer].client_id, list(pairs(msg.has)))
        return m.Done()
    by.cursor, by.fetching, by.has = 0, False, list(pairs(msg.has))
    deliver(core, session, by)
    return m.Done()


def _deliver_archived(core: Core, session: Session, client: str, has: list[tuple[int, int]]) -> None:
    def go(stand_in: Session) -> None:
        by = submitter(stand_in, client)
        by.cursor, by.fetching, by.has = 0, False, has
        stand_in.state = session.state
        deliver(core, stand_in, by)

    with_table(core, session, go)


def close_session(core: Core, peer: Peer, request: int, msg: m.CloseSession) -> m.Message | None:
    session = core.session(peer, msg.id)
    if session.state == SessionState.CLOSED:
        return views.session_info(core, session)
    if msg.mode not in ("strict", "drain", "finish", "cancel"):
        raise e.InvalidArgument(f"close mode {shown(msg.mode)}; one of strict, drain, finish, cancel")
    if msg.mode == "strict" and session.table.counts[RUNNING]:
        running = session.table.counts[RUNNING]
        raise e.SessionBusy(f"Cannot close session with running tasks: {running} of session {session.id} run")
    close(core, session, "drain" if msg.mode == "strict" else msg.mode)
    if session.closed is not None:
        return views.session_info(core, session)
    session.closers.append((peer, request))
    return None


def close(core: Core, session: Session, mode: str) -> None:
    """Stop intake. `finish` lets everything end, `drain` what runs, `cancel` nothing; a session that has drained is Closed."""
    if session.mode not in (mode, "cancel"):
        core.persist(r.SessionClosing(session.id, mode, core.now))
    if mode in ("drain", "cancel"):
        _cancel_pending(core, session)
    if mode == "cancel":
        for no in list(session.running):
            executor = core.executors.get(session.running[no])
            if executor is not None:
                stop_running(core, session, executor, no)
    finish(core, session)


def _cancel_pending(core: Core, session: Session) -> None:
    """Pending ends Cancelled. A prefetched task may be executing though nobody said so yet: it is fenced like any late result."""
    ranges: list[tuple[int, int]] = []
    for frame in session.table.frames:
        if frame.open:
            ranges += session.table.pending_in(frame.first, frame.end)
    cancel(core, session, ranges)


def finish(core: Core, session: Session) -> None:
    """Closed once nothing is left to run. Called after everything that touches a closing session."""
    if session.state == SessionState.CLOSED or not session.mode or session.table.live:
        return
    core.persist(r.SessionClosed(session.id, core.now))
    for executor in list(session.executors.values()):
        leave(core, executor)
    for peer, request in session.closers:
        core.send(peer, views.session_info(core, session), request)
    session.closers.clear()
    core.touch(session)


def archive_if_done(core: Core, session: Session) -> None:
    """A closed session whose results are delivered keeps only its totals in memory; its columns become one row."""
    if session.state != SessionState.CLOSED or session.archive or session.executors:
        return
    if any(
        by.wants and by.client in core.clients and by.cursor < len(session.table.ends)
        for by in session.submitters.values()
    ):
        return
    core.persist(r.SessionArchived(save(session, columns=True)))
    session.queue.clear()
    session.queued = 0
    session.delayed.clear()


def delete_session(core: Core, peer: Peer, request: int, msg: m.DeleteSession) -> m.Message:
    session = core.session(peer, msg.id)
    if session.state != SessionState.CLOSED:
        raise e.InvalidState(f"Cannot delete open session {session.id}", hint="close it first")
    info = views.session_info(core, session)
    core.persist(r.SessionDeleted(session.id))
    _end_watches(core, session)
    return info


def _end_watches(core: Core, session: Session) -> None:
    for watchers in session.watchers.values():
        for peer, watch in watchers:
            core.watches.pop((peer, watch), None)
            core.send(peer, m.TaskChanged(watch, None))
    session.watchers.clear()


def cancel_tasks(core: Core, peer: Peer, request: int, msg: m.CancelTasks) -> m.Message:
    session = core.session(peer, msg.session)
    if session.archive:
        return m.Cancelled(session.id, ())
    pending: list[tuple[int, int]] = []
    running: list[int] = []
    for first, count in _apart(msg.runs):
        if not session.table.has(first + count - 1):
            raise e.NotFound(
                f"tasks {first}..{first + count - 1} of session {session.id} not found; it has {len(session.table)}"
            )
        pending += session.table.pending_in(first, first + count)
        running += [no for no in session.running if first <= no < first + count]
    for a, b in pending:
        _skip_prefetched(core, session, a, b)
    cancel(core, session, pending)
    for no in running if msg.kill else ():
        executor = core.executors.get(session.running.get(no, ""))
        if executor is not None:
            stop_running(core, session, executor, no)
    if msg.kill:
        _cancel_running(core, session, running)
    done = [(a, b - a) for a, b in pending] + ([(no, 1) for no in running] if msg.kill else [])
    return m.Cancelled(session.id, tuple(n for run in done for n in run))


def _apart(runs: Sequence[int]) -> list[tuple[int, int]]:
    """The same tasks as (first, count), in order, each once."""
    out: list[tuple[int, int]] = []
    for first, count in sorted(pairs(runs)):
        start = max(first, sum(out[-1])) if out else first
        if start < first + count:
            out.append((start, first + count - start))
    return out


def _cancel_running(core: Core, session: Session, running: list[int]) -> None:
    """Their state is Cancelled at once; the executor is told, and killed when the task does not stop in time."""
    cancel(core, session, [(no, no + 1) for no in running])


def _skip_prefetched(core: Core, session: Session, first: int, end: int) -> None:
    """Tell executors not to start cancelled tasks they hold; one that runs already is stopped, then killed."""
    for executor in session.executors.values():
        for h in executor.handouts.values():
            for no in range(max(first, h.next), min(end, h.end)):
                core.send(executor.peer, m.CancelRunning(session.id, no, h.epoch, h.lease), when=0)
                core.timer(core.now + core.settings.cancel_grace, kill_if_running, executor.id, no)


def owner_left(core: Core, client: str) -> None:
    """The client of owned sessions did not come back in time: they are cancelled."""
    if client in core.clients:
        return
    for session in list(core.sessions.values()):
        if session.owner == client and session.state == SessionState.OPEN and session.mode != "cancel":
            core.event(session, 1003, "OwnerGone", f"client {client} is gone; the session is closed")
            close(core, session, "cancel")


def watch_task(core: Core, peer: Peer, request: int, msg: m.WatchTask) -> m.Message | None:
    session = core.session(peer, msg.session)
    if session.archive:
        send_task(core, session, msg.no, lambda info: core.send(peer, m.TaskChanged(msg.watch, info)), peer, request)
        return m.Done()
    if not session.table.has(msg.no):
        raise e.NotFound(f"task {msg.no} of session {session.id} not found; it has {len(session.table)}")
    if session.table.state(msg.no) not in (PENDING, RUNNING):
        send_task(core, session, msg.no, lambda info: core.send(peer, m.TaskChanged(msg.watch, info)), peer, request)
        return m.Done()
    session.watchers.setdefault(msg.no, []).append((peer, msg.watch))
    core.watches[peer, msg.watch] = (session.id, msg.no)
    return m.Done()


def unwatch(core: Core, peer: Peer, request: int, msg: m.Unwatch) -> m.Message | None:
    id, no = core.watches.pop((peer, msg.watch), ("", 0))
    session = core.sessions.get(id)
    if session is not None and no in session.watchers:
        left = [w for w in session.watchers[no] if w != (peer, msg.watch)]
        if left:
            session.watchers[no] = left
        else:
            del session.watchers[no]
    return m.Done() if request else None
