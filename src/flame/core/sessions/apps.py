"""Applications: register, update, unregister, list."""

from __future__ import annotations

from msgspec.structs import replace

from flame.core.base import errors as e
from flame.core.base.ids import check_app_name, shown
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.access import DEFAULT, home, key, reaches, split
from flame.core.model.reactor import Peer
from flame.core.model.states import SessionState
from flame.core.sessions import records as r
from flame.core.sessions.state import Core

BUILT_IN = ("flmexec", "flmping", "flmrun")
"""Applications that every tenant sees."""


def register(core: Core, peer: Peer, request: int, msg: m.RegisterApp) -> m.Message:
    check_app_name(msg.name)
    tenant = home(core.who[peer])
    if msg.name in BUILT_IN and tenant != DEFAULT:
        raise e.AlreadyExists(f"application {msg.name} is built in", hint="choose another name")
    name = key(tenant, msg.name)
    if name in core.apps:
        if msg.if_absent:
            return m.Done()
        raise e.AlreadyExists(f"application {msg.name} already exists", hint="`flmctl update` changes it")
    core.persist(r.AppRegistered(name, msg.spec, core.now))
    return m.Done()


def update(core: Core, peer: Peer, request: int, msg: m.UpdateApp) -> m.Message:
    app = _mine(core, peer, msg.name)
    _unused(core, app.name)
    core.persist(r.AppRegistered(app.name, replace(msg.spec, shim=app.spec.shim), app.created))
    return m.Done()


def unregister(core: Core, peer: Peer, request: int, msg: m.UnregisterApp) -> m.Message:
    """Its closed sessions and their tasks go with it (contract)."""
    app = _mine(core, peer, msg.name)
    _unused(core, app.name)
    for session in [s for s in core.sessions.values() if s.spec.application == app.name]:
        core.persist(r.SessionDeleted(session.id))
    core.persist(r.AppUnregistered(app.name))
    return m.Done()


def get(core: Core, peer: Peer, request: int, msg: m.GetApp) -> m.Message:
    return find(core, peer, msg.name)


def visible(core: Core, peer: Peer) -> m.AppList:
    """Its tenant's, and those that are built in."""
    who = core.who[peer]
    return m.AppList(
        tuple(app for app in core.apps.values() if app.name in BUILT_IN or reaches(who, split(app.name)[0]))
    )


def lookup(core: Core, tenant: str, name: str) -> m.AppInfo | None:
    """What a session of this tenant means by a name: an application of its own, or a built-in one."""
    found = core.apps.get(key(tenant, split(name)[1]))
    return found or (core.apps.get(name) if name in BUILT_IN else None)


def find(core: Core, peer: Peer, name: str) -> m.AppInfo:
    """Raises NotFound."""
    app = access.lookup(core.who[peer], name, core.apps) or (core.apps.get(name) if name in BUILT_IN else None)
    if app is None:
        raise e.NotFound(f"application {shown(name)} not found", hint="`flmctl list -a` shows the applications")
    return app


def _mine(core: Core, peer: Peer, name: str) -> m.AppInfo:
    """An application that this peer may change."""
    app = find(core, peer, name)
    if not reaches(core.who[peer], split(app.name)[0]):
        raise e.PermissionDenied(f"application {name} is built in", hint="register one of another name")
    return app


def _unused(core: Core, name: str) -> None:
    busy = [s.id for s in core.sessions.values() if s.spec.application == name and s.state == SessionState.OPEN]
    if busy:
        raise e.AppInUse(f"application {name} has open sessions: {', '.join(busy[:3])}", hint="close them first")
