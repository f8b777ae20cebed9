"""Executors coming to the session manager: granted, joined, by hand, refused; and what they may ask for.

What follows is in `binding`, `running`, `adoption` and `losses`."""

from __future__ import annotations

from flame.core.base.errors import InvalidState, PermissionDenied, ProtocolError
from flame.core.model import messages as m
from flame.core.model.access import BINDABLE, LADDER, USER, lookup, permit, same
from flame.core.model.messages import BY_HAND
from flame.core.model.reactor import NOW, Close, Peer
from flame.core.model.states import ExecutorState, SessionState
from flame.core.sessions.adoption import adopt, end_adoption
from flame.core.sessions.binding import enter_hangs, enter_limit, start_hangs
from flame.core.sessions.dispatch import dismiss
from flame.core.sessions.state import Core, Executor
from flame.core.sessions.wellformed import check_runs


def granted(core: Core, message: m.Granted) -> None:
    """The allocator made a placement: its executor may come now, or is here already."""
    session = core.sessions.get(message.session)
    if session is None:
        return
    executor = core.executors.get(message.placement)
    if executor is None:
        executor = Executor(message.placement, message.session, message.token, message.node)
        core.executors[executor.id] = executor
        session.executors[executor.id] = executor
        core.timer(core.now + core.settings.start_limit, start_hangs, executor.id)
    executor.token, executor.node = message.token, message.node
    peer = core.strangers.pop(executor.id, None)
    if peer is not None and peer in core.peers:
        joined(core, peer, core.peers[peer])


def joined(core: Core, peer: Peer, hello: m.Hello) -> None:
    """An executor connected. One whose grant we have not heard of yet waits for it (the allocator repeats its grants)."""
    try:
        check_runs(hello.held)
    except ProtocolError as error:
        core.send(peer, m.Failure(error.code, error.message), when=NOW)
        core.out.append(Close(peer, error.message))
        return
    executor = core.executors.get(hello.client_id)
    if executor is None and BY_HAND in hello.features:
        executor = by_hand(core, peer, hello)
        if executor is None:
            return
    if executor is None:
        core.strangers[hello.client_id] = peer
        core.timer(core.now + core.settings.settle * 2, refuse_stranger, hello.client_id, peer)
        return
    session = core.sessions.get(executor.session)
    if not same(executor.token, hello.token) or session is None:
        core.send(peer, m.Failure("unauthenticated", f"executor {executor.id} has no valid token"), when=NOW)
        return
    if executor.peer is not None and executor.peer > peer:
        return  # an earlier connection of it, heard of late
    executor.peer, executor.lost_at = peer, 0.0
    executor.away = m.AWAY in hello.features
    executor.blocked = False  # it says so again when it is
    core.serving[peer] = executor
    core.welcome(peer)
    if session.state == SessionState.CLOSED:
        executor.state, executor.leaving = ExecutorState.UNBINDING, True
        dismiss(core, executor)
        return
    if "entered" in hello.features:  # it reconnects: it keeps its session and says what it holds
        if executor.state in (ExecutorState.VOID, ExecutorState.BINDING):
            executor.state = ExecutorState.UNBINDING if executor.leaving else ExecutorState.BOUND
        core.tell(m.ExecutorChanged(executor.id, session.id, executor.state))
        adopt(core, session, executor, hello.held)
        if executor.leaving:  # it may not have heard
            dismiss(core, executor)
    elif executor.leaving:
        executor.state = ExecutorState.UNBINDING
        dismiss(core, executor)
    else:
        executor.state = ExecutorState.BINDING
        app = core.apps[session.spec.application]
        core.timer(core.now + enter_limit(core, app.spec), enter_hangs, executor.id)
        core.send(
            peer, m.Enter(session.id, app.name, app.spec, session.spec.common_data, session.spec.resources), when=NOW
        )
        core.tell(m.ExecutorChanged(executor.id, session.id, executor.state))
    end_adoption(core, session)
    core.touch(session)


def by_hand(core: Core, peer: Peer, hello: m.Hello) -> Executor | None:
    """An executor that nobody placed: it serves the session it names, beside those that were placed. None: it was refused."""
    who = core.who[peer]
    session = lookup(who, hello.session, core.sessions)
    if who.role not in LADDER[LADDER.index(USER) :]:
        core.send(
            peer, m.Failure("permission_denied", f"{who.name} is {who.role}: it may not serve sessions"), when=NOW
        )
        return None
    if session is None or session.state == SessionState.CLOSED:
        core.send(peer, m.Failure("not_found", f"there is no open session {hello.session[:128]!r}"), when=NOW)
        return None
    executor = Executor(hello.client_id, session.id, hello.token, BY_HAND)
    core.executors[executor.id] = session.executors[executor.id] = executor
    return executor


def refuse_stranger(core: Core, id: str, peer: Peer) -> None:
    if core.strangers.get(id) == peer:
        del core.strangers[id]
        core.send(peer, m.Failure("not_found", f"executor {id} is not known here"), when=NOW)


def allow(core: Core, peer: Peer, message: m.Message) -> None:
    """May it ask this? An executor only of its own session. Raises PermissionDenied."""
    who = core.who[peer]
    if type(message) not in BINDABLE or who.role not in LADDER:
        permit(who, type(message))
    hello = core.peers.get(peer)
    if hello is not None and hello.role == "executor":
        executor = core.serving.get(peer)
        session = executor.session if executor is not None else hello.session  # it may have come back before its grant
        if not isinstance(message, m.FetchBlob) or session != message.session:
            raise PermissionDenied(f"an executor may not ask for {type(message).__name__}", hint="connect as a client")


def serving(core: Core, peer: Peer) -> Executor:
    """The executor on a connection. Raises InvalidState when there is none."""
    executor = core.serving.get(peer)
    if executor is None:
        raise InvalidState("this connection serves no session (yet)")
    return executor
