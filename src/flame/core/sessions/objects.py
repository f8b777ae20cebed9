"""What clients ask about objects and replicas: who may, and of which tenant. The allocator, which has them, answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from flame.core.base import errors as e
from flame.core.base.ids import shown
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.reactor import Peer
from flame.core.sessions.identities import relay
from flame.core.sessions.state import Core

if TYPE_CHECKING:
    from flame.core.objects.kinds import Kind

USERS = frozenset(("FlameWorkload", "PersistentVolumeClaim", "ConfigMap", "Service"))
"""Kinds that a user writes, in namespaces of its tenant. The others say what users may do: they are an operator's of the whole cluster."""
SYSTEM = "flame-system"
"""Namespace of the cluster's own settings."""

Asked: TypeAlias = (
    m.PutObject | m.DeleteObject | m.GetObject | m.ListObjects | m.WatchObjects | m.DebugObject | m.CallReplica
)


def write(core: Core, peer: Peer, request: int, msg: m.PutObject | m.DeleteObject) -> None:
    """Raises NotFound for an unknown kind, PermissionDenied."""
    kind, who = _kind(msg.kind), core.who[peer]
    of_users = kind.name in USERS and (msg.namespace != SYSTEM or kind.name != "ConfigMap")
    operates = access.LADDER.index(who.role) >= access.LADDER.index(access.OPERATOR) and who.tenant == access.EVERY
    if not of_users and not operates:
        raise e.PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; a {kind.name} is written by operators of the whole cluster",
            hint="users write FlameWorkloads, PersistentVolumeClaims, ConfigMaps and Services in their own namespaces",
        )
    relay(core, peer, request, _own(core, peer, msg, kind))


def read(
    core: Core, peer: Peer, request: int, msg: m.GetObject | m.ListObjects | m.WatchObjects | m.DebugObject
) -> None:
    relay(core, peer, request, _own(core, peer, msg, _kind(msg.kind)))


def call(core: Core, peer: Peer, request: int, msg: m.CallReplica) -> None:
    """Reading logs is for viewers; to run something there one must be a user."""
    who = core.who[peer]
    if msg.verb != "logs" and access.LADDER.index(who.role) < access.LADDER.index(access.USER):
        raise e.PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; {shown(msg.verb)} needs the role user"
        )
    relay(core, peer, request, _own(core, peer, msg, None))


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
