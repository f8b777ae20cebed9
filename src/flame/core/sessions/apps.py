"""Applications: register, update, unregister, list."""

from __future__ import annotations

from msgspec.structs import replace

from flame.core.base import errors as e
from flame.core.base.ids import check_app_name, shown
from flame.core.model import messages as m
from flame.core.model.reactor import Peer
from flame.core.model.states import SessionState
from flame.core.sessions import records as r
from flame.core.sessions.state import Core


def register(core: Core, peer: Peer, request: int, msg: m.RegisterApp) -> m.Message:
    check_app_name(msg.name)
    if msg.name in core.apps:
        if msg.if_absent:
            return m.Done()
        raise e.AlreadyExists(f"application {msg.name} already exists", hint="`flmctl update` changes it")
    core.persist(r.AppRegistered(msg.name, msg.spec, core.now))
    return m.Done()


def update(core: Core, peer: Peer, request: int, msg: m.UpdateApp) -> m.Message:
    app = find(core, msg.name)
    _unused(core, msg.name)
    core.persist(r.AppRegistered(msg.name, replace(msg.spec, shim=app.spec.shim), app.created))
    return m.Done()


def unregister(core: Core, peer: Peer, request: int, msg: m.UnregisterApp) -> m.Message:
    """Its closed sessions and their tasks go with it (contract)."""
    find(core, msg.name)
    _unused(core, msg.name)
    for session in [s for s in core.sessions.values() if s.spec.application == msg.name]:
        core.persist(r.SessionDeleted(session.id))
    core.persist(r.AppUnregistered(msg.name))
    return m.Done()


def get(core: Core, peer: Peer, request: int, msg: m.GetApp) -> m.Message:
    return find(core, msg.name)


def find(core: Core, name: str) -> m.AppInfo:
    app = core.apps.get(name)
    if app is None:
        raise e.NotFound(f"application {shown(name)} not found", hint="`flmctl list -a` shows the applications")
    return app


def _unused(core: Core, name: str) -> None:
    busy = [s.id for s in core.sessions.values() if s.spec.application == name and s.state == SessionState.OPEN]
    if busy:
        raise e.AppInUse(f"application {name} has open sessions: {', '.join(busy[:3])}", hint="close them first")
