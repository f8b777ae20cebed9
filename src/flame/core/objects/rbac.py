"""What roles that are kept as objects allow: Role and ClusterRole, bound to service accounts, users and groups, as Kubernetes reads them.

Rules only ever allow. A ClusterRoleBinding is good for everything that its subject's tenant reaches, a RoleBinding for its own namespace.
What is not in the rules of any role bound to somebody is not allowed, and nobody is let write roles and bindings by a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flame.core.base.errors import PermissionDenied
from flame.core.base.ids import shown
from flame.core.model.access import DEFAULT, account_of
from flame.core.objects.kinds import Kind
from flame.core.objects.kinds.platform import RBAC
from flame.core.objects.state import State, Stored

READ = ("get", "list", "watch")
ANY = "*"


class Subject(NamedTuple):
    """Who asks: a name in a tenant. The name of a service account is `system:serviceaccount:NAMESPACE:NAME`."""

    tenant: str
    name: str

    def __str__(self) -> str:
        return self.name if self.tenant == DEFAULT else f"{self.tenant}/{self.name}"


class Request(NamedTuple):
    """What somebody wants to do. verb: get, list, watch, create, update, patch or delete; namespace: empty for all of them and for kinds
    without; name: empty where the request is about no certain object."""

    verb: str
    kind: Kind
    tenant: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def allowed(rules: Iterable[Mapping[str, Any]], verb: str, group: str, resource: str, name: str = "") -> bool:
    """Does any of these rules of a role allow it? resource: its plural, with `/status` or `/scale` where only that is meant."""
    return any(_allows(rule, verb, group, resource, name) for rule in rules)


def _allows(rule: Mapping[str, Any], verb: str, group: str, resource: str, name: str) -> bool:
    resources = rule.get("resources") or ()
    subresource = resource.partition("/")[2]
    among = resource in resources or ANY in resources or (subresource and f"{ANY}/{subresource}" in resources)
    names = rule.get("resourceNames") or ()
    return bool(
        _has(rule.get("verbs"), verb) and _has(rule.get("apiGroups"), group) and among and (not names or name in names)
    )


def _has(words: Sequence[str] | None, word: str) -> bool:
    return word in (words or ()) or ANY in (words or ())


def rules_of(state: State, who: Subject, request: Request) -> Iterator[Mapping[str, Any]]:
    """The rules of every role that is bound to somebody and that a request may be measured by."""
    for binding in state.each("ClusterRoleBinding", DEFAULT):
        if _bound(binding, who, DEFAULT):
            yield from _rules(state, binding)
    if request.kind.namespaced and request.namespace:
        for binding in state.list("RoleBinding", request.tenant, request.namespace).items:
            if _bound(binding, who, request.tenant):
                yield from _rules(state, binding)


def _rules(state: State, binding: Stored) -> Sequence[Mapping[str, Any]]:
    """Of the role that is bound; none when there is no such role (yet)."""
    role, key = binding.body["roleRef"], binding.key
    tenant = DEFAULT if role["kind"] == "ClusterRole" else key.tenant
    if role["kind"] == "Role" and not key.namespace:
        return ()
    found = state.find(role["kind"], tenant, key.namespace, role["name"])
    return (found.body.get("rules") or ()) if found is not None else ()


def _bound(binding: Stored, who: Subject, tenant: str) -> bool:
    """tenant: of the binding. A name without a tenant is one of that tenant."""
    names, groups = _names(who, tenant), _groups(who, tenant)
    for subject in binding.body.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            if who.tenant == tenant and account_of(who.name) == (subject.get("namespace"), name):
                return True
        elif name in (names if kind == "User" else groups):
            return True
    return False


def _names(who: Subject, tenant: str) -> tuple[str, ...]:
    """A name with a slash could be taken for that of somebody in another tenant."""
    if "/" in who.name:
        return ()
    full = f"{who.tenant}/{who.name}"
    return (who.name, full) if who.tenant == tenant else (full,)


def _groups(who: Subject, tenant: str) -> tuple[str, ...]:
    found = ["system:authenticated", f"tenant:{who.tenant}"]
    account = account_of(who.name)
    if account is not None and who.tenant == tenant:
        found += ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    return tuple(found)


def judge(state: State, who: Subject, request: Request) -> None:
    """Raises PermissionDenied unless a role that is bound allows it."""
    kind = request.kind
    what = f"{request.verb} {request.resource}{f'.{kind.group}' if kind.group else ''}"
    where = f" in namespace {shown(request.namespace)}" if kind.namespaced and request.namespace else ""
    if kind.group == RBAC and request.verb not in READ:
        raise PermissionDenied(f"{who} may not {what}: roles and bindings are an admin's of the whole cluster")
    if not allowed(rules_of(state, who, request), request.verb, kind.group, request.resource, request.name):
        raise PermissionDenied(
            f"{who} may not {what}{where}: no role that is bound to it allows that",
            hint="an admin of the whole cluster writes roles and bindings",
        )
