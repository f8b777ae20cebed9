"""Who may ask for what: one table for the task plane, gRPC and the commands, which all end in it.

A role is a step on a ladder (viewer < user < operator < admin), and each step may do what the ones below may. A *tenant* limits
what a role reaches: an identity sees the sessions, tasks, logs and applications of its tenant as if there were no others; one of
the tenant `*` sees all. Executors and machines that join have roles beside the ladder, with a list of their own.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from flame.core.base.errors import InvalidArgument, PermissionDenied
from flame.core.base.ids import shown
from flame.core.model import messages as m
from flame.core.model.messages import Identity, Message

VIEWER, USER, OPERATOR, ADMIN = "viewer", "user", "operator", "admin"
LADDER = (VIEWER, USER, OPERATOR, ADMIN)
EXECUTOR, JOIN, AGENT, MANAGER = "executor", "join", "agent", "manager"
ACCOUNT = "account"
"""The role of a service account: none on the ladder. What it may do with objects, its bindings say (`core.objects.rbac`)."""
WORKLOAD = "workload "
"""How the names of the tokens begin that replicas of workloads have."""
RESERVED = "system:"
"""How the names of service accounts and of groups of ours begin; nobody else's may."""
EVERY = "*"
"""The tenant of those who see all tenants."""
DEFAULT = "default"
"""The tenant of sessions that name none. Its names are plain; those of others are `tenant/name`."""
PREFIX = "flame_"
"""Every token begins with it, so that scanners (and our tests) find one that leaked."""

LOCAL = Identity("local", ADMIN, EVERY, "local")
"""The same user on the same machine, by a unix socket of mode 0600."""
CLUSTER = Identity("cluster", ADMIN, EVERY, "cluster")
"""Whoever can read the cluster's token file."""
NOBODY = Identity("nobody", "", "", "")
"""Who could not say who it is."""
COMPAT = Identity("compat", USER, DEFAULT, "compat")
"""Everybody on a compat listener: clients that can send no token."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`least`: the weakest role that may. `cluster`: only with the tenant `*`, since it concerns everybody. `audit`: written to
    the audit log."""

    least: str
    cluster: bool = False
    audit: bool = False


RULES: Mapping[type[Message], Rule] = {
    m.WhoAmI: Rule(VIEWER),
    m.GetStatus: Rule(VIEWER),
    m.GetSession: Rule(VIEWER),
    m.ListSessions: Rule(VIEWER),
    m.GetTask: Rule(VIEWER),
    m.ListTasks: Rule(VIEWER),
    m.WatchTask: Rule(VIEWER),
    m.Unwatch: Rule(VIEWER),
    m.GetLogs: Rule(VIEWER),
    m.Explain: Rule(VIEWER),
    m.GetApp: Rule(VIEWER),
    m.ListApps: Rule(VIEWER),
    m.ListNodes: Rule(VIEWER),
    m.ListExecutors: Rule(VIEWER),
    m.ListTenants: Rule(VIEWER),
    m.GetObject: Rule(VIEWER),
    m.ListObjects: Rule(VIEWER),
    m.WatchObjects: Rule(VIEWER),
    m.DebugObject: Rule(VIEWER),
    m.CallReplica: Rule(VIEWER),
    m.PutObject: Rule(USER, audit=True),
    m.DeleteObject: Rule(USER, audit=True),
    m.Submit: Rule(USER),
    m.Resume: Rule(USER),
    m.ShareBlob: Rule(USER),
    m.FetchBlob: Rule(USER),
    m.OpenSession: Rule(USER, audit=True),
    m.CloseSession: Rule(USER, audit=True),
    m.DeleteSession: Rule(USER, audit=True),
    m.CancelTasks: Rule(USER, audit=True),
    m.RegisterApp: Rule(USER, audit=True),
    m.UpdateApp: Rule(USER, audit=True),
    m.UnregisterApp: Rule(USER, audit=True),
    m.SetNode: Rule(OPERATOR, cluster=True, audit=True),
    m.ListTokens: Rule(ADMIN),
    m.CreateToken: Rule(ADMIN, audit=True),
    m.RevokeToken: Rule(ADMIN, audit=True),
    m.SetTenant: Rule(ADMIN, cluster=True, audit=True),
    m.DropTenant: Rule(ADMIN, cluster=True, audit=True),
}
"""Message -> rule. Complete for everything a client may say: a test compares it with the reactor's verbs."""

BESIDE: Mapping[str, frozenset[type[Message]]] = {
    EXECUTOR: frozenset((m.FetchBlob,)),
    JOIN: frozenset((m.JoinNode,)),
    AGENT: frozenset((m.JoinNode,)),  # to renew its own certificate
    ACCOUNT: frozenset(
        (m.WhoAmI, m.GetObject, m.ListObjects, m.WatchObjects, m.PutObject, m.DeleteObject, m.CallReplica)
    ),
}
"""What roles beside the ladder may ask (what executors report is another matter: `sessions.executors.serving`)."""
BINDABLE: frozenset[type[Message]] = frozenset((m.PutObject, m.DeleteObject))
"""What a binding may allow to somebody whose role does not: whoever takes these asks `permit` itself."""
AUDITED: frozenset[type[Message]] = frozenset(kind for kind, rule in RULES.items() if rule.audit) | {m.JoinNode}


def permit(who: Identity, kind: type[Message]) -> None:
    """Raises PermissionDenied unless this identity may ask this."""
    if who.role not in LADDER:
        if kind not in BESIDE.get(who.role, ()):
            raise PermissionDenied(f"an identity of role {who.role} may not ask for {kind.__name__}")
        return
    rule = RULES.get(kind)
    if rule is None or LADDER.index(who.role) < LADDER.index(rule.least):
        needed = f"needs the role {rule.least}" if rule else "is not for clients"
        raise PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; {kind.__name__} {needed}",
            hint="`flame token create` makes tokens; an admin may do that",
        )
    if rule.cluster and who.tenant != EVERY:
        raise PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; {kind.__name__} concerns the whole cluster",
            hint="it needs an identity of the tenant `*`",
        )


def reaches(who: Identity, tenant: str) -> bool:
    """Does it see what belongs to this tenant?"""
    return who.tenant in (tenant, EVERY)


def home(who: Identity) -> str:
    """The tenant of what it makes when it names none."""
    return DEFAULT if who.tenant == EVERY else who.tenant


def key(tenant: str, name: str) -> str:
    """What a session or application of this tenant is called in the engine. Names have no slash, so keys cannot be confused."""
    return name if tenant == DEFAULT else f"{tenant}/{name}"


def split(text: str) -> tuple[str, str]:
    """(tenant, name) of a key."""
    tenant, slash, name = text.rpartition("/")
    return (tenant, name) if slash else (DEFAULT, text)


Named = TypeVar("Named")


def lookup(who: Identity, name: str, among: Mapping[str, Named]) -> Named | None:
    """The object of this name that `who` means: of its own tenant, or by its full key where it reaches that."""
    if who.tenant not in (DEFAULT, EVERY) and "/" not in name:
        return among.get(f"{who.tenant}/{name}")
    return among.get(name) if reaches(who, split(name)[0]) else None


def account_name(namespace: str, name: str) -> str:
    """What a service account is called among identities."""
    return f"{RESERVED}serviceaccount:{namespace}:{name}"


def account_of(name: str) -> tuple[str, str] | None:
    """(namespace, name) of the service account of this name among identities; None when it is none."""
    parts = name.split(":")
    found = len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] and parts[2] and parts[3]
    return (parts[2], parts[3]) if found else None


def workload_name(key: str) -> str:
    """What the replicas of a workload are called among identities. key: `job/TENANT/NAMESPACE/NAME`."""
    return f"{WORKLOAD}{key}"


def namespace_of(who: Identity) -> str | None:
    """The namespace whose quotas count what it opens; None: it is of no namespace."""
    parts = who.name.split("/")
    return parts[2] if who.name.startswith(f"{WORKLOAD}job/") and len(parts) == 4 else None


def check_role(role: str, tenant: str, name: str = "") -> None:
    """Raises InvalidArgument for a role that tokens cannot have, and for a name that a token of this role cannot have."""
    known = (*LADDER, ACCOUNT, JOIN)
    if role not in known:
        raise InvalidArgument(f"role {shown(role)}; one of {', '.join(known)}")
    if role == ACCOUNT and (account_of(name) is None or tenant == EVERY):
        raise InvalidArgument(
            f"{shown(name)} of tenant {shown(tenant)} is no service account",
            hint="flame token create --service-account NAMESPACE/NAME",
        )
    if role != ACCOUNT and name.startswith(RESERVED):
        raise InvalidArgument(f"token name {shown(name)}", hint=f"{RESERVED} begins the names of service accounts")
    if role == JOIN and tenant != EVERY:
        raise InvalidArgument("a join token lets a machine into the whole cluster", hint="leave the tenant out")


def digest(token: str) -> str:
    """What is kept of a token. One round of SHA-256 is enough: a token has 256 random bits, it is no password."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same(a: str, b: str) -> bool:
    """Compare secrets without telling by the time it takes how much of them is equal."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
