"""What clients ask about objects and replicas: who may, and of which tenant. The allocator, which has them, answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from flame.core.base import errors as e
from flame.core.base.ids import shown
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.messages import Identity
from flame.core.model.reactor import Peer
from flame.core.sessions.identities import relay
from flame.core.sessions.state import Core

if TYPE_CHECKING:
    from flame.core.objects.kinds import Kind

USERS = frozenset(("FlameWorkload", "PersistentVolumeClaim", "ConfigMap", "Service"))
"""Kinds that a user writes, in namespaces of its tenant. The others say what users may do: they are an operator's of the whole cluster."""
SYSTEM = "flame-system"
"""Namespace of the cluster's own settings."""

RBAC = "rbac.authorization.k8s.io"
"""Group of the kinds that say what others may do."""

Asked: TypeAlias = (
    m.PutObject | m.DeleteObject | m.GetObject | m.ListObjects | m.WatchObjects | m.DebugObject | m.CallReplica
)


def write(core: Core, peer: Peer, request: int, msg: m.PutObject | m.DeleteObject) -> None:
    """Raises NotFound for an unknown kind, PermissionDenied."""
    kind, who = _kind(msg.kind), core.who[peer]
    subject = ""
    try:
        _permit(who, kind, msg)
    except e.PermissionDenied:
        subject = _subject(who)
        if not subject or kind.group == RBAC:
            raise
    relay(core, peer, request, replace(_own(core, peer, msg, kind), subject=subject))


def _permit(who: Identity, kind: Kind, msg: m.PutObject | m.DeleteObject) -> None:
    """May its role write this? Raises PermissionDenied."""
    access.permit(who, type(msg))
    step = access.LADDER.index(who.role) if who.role in access.LADDER else -1
    everywhere = who.tenant == access.EVERY
    if kind.group == RBAC:
        if step < access.LADDER.index(access.ADMIN) or not everywhere:
            raise e.PermissionDenied(
                f"{who.name} is {who.role} of tenant {who.tenant}; a {kind.name} is written by admins of the whole cluster"
            )
        return
    of_users = kind.name in USERS and (msg.namespace != SYSTEM or kind.name != "ConfigMap") and step >= 0
    if not of_users and not (step >= access.LADDER.index(access.OPERATOR) and everywhere):
        raise e.PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; a {kind.name} is written by operators of the whole cluster",
            hint="users write FlameWorkloads, PersistentVolumeClaims, ConfigMaps and Services in their own namespaces",
        )


def _subject(who: Identity) -> str:
    """How bindings know it; empty for who cannot be bound: everybody on a compat listener, and names that are not its own."""
    reserved = who.name.startswith(access.RESERVED) and who.role != access.ACCOUNT
    return "" if who.kind == "compat" or reserved else f"{who.tenant}/{who.name}"


def read(
    core: Core, peer: Peer, request: int, msg: m.GetObject | m.ListObjects | m.WatchObjects | m.DebugObject
) -> None:
    """A role may look at everything in its tenant; a service account at what is bound to it."""
    asked = _own(core, peer, msg, _kind(msg.kind))
    if not isinstance(asked, m.DebugObject | m.CallReplica):
        who = core.who[peer]
        asked = replace(asked, subject=_subject(who) if who.role == access.ACCOUNT else "")
    relay(core, peer, request, asked)


def call(core: Core, peer: Peer, request: int, msg: m.CallReplica) -> None:
    """Reading logs is for viewers; to run something there one must be a user. A service account may what is bound to it."""
    who = core.who[peer]
    bound = who.role == access.ACCOUNT
    if not bound and msg.verb != "logs" and access.LADDER.index(who.role) < access.LADDER.index(access.USER):
        raise e.PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; {shown(msg.verb)} needs the role user"
        )
    relay(core, peer, request, replace(_own(core, peer, msg, None), subject=_subject(who) if bound else ""))


def _kind(word: str) -> Kind:
    """The schemas take longer to load than a session manager otherwise needs to start."""
    from flame.core.objects.kinds import find_kind

    return find_kind(word)


def _own(core: Core, peer: Peer, msg: Asked, kind: Kind | None) -> Asked:
    """With the tenant that is meant: of objects without a namespace there is one set for all, in the default tenant."""
    who = core.who[peer]
    if kind is not None and not kind.namespaced:
        return replace(msg, tenant=access.DEFAULT)
    tenant = msg.tenant or access.home(who)
    if not access.reaches(who, tenant):
        raise e.PermissionDenied(f"{who.name} is of tenant {who.tenant}; it does not reach tenant {shown(tenant)}")
    return replace(msg, tenant=tenant)
