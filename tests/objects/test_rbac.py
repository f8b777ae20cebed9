"""Roles and bindings as objects: what a rule allows, and who has which rules."""

from __future__ import annotations

import pytest
from objects.made import World, guide

from flame.core.base.errors import PermissionDenied
from flame.core.model.access import account_name, account_of
from flame.core.objects.kinds import find_kind
from flame.core.objects.rbac import Request, Subject, allowed, judge

ROLES = {body["metadata"]["name"]: body["rules"] for body in (one.body for one in guide("rbac")) if "rules" in body}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
READ = VERBS[:3]
FLAME, RBAC = "flame.xflops.cn", "rbac.authorization.k8s.io"
API = {"apiVersion": f"{RBAC}/v1"}


def may(role, group, resource):
    return tuple(verb for verb in VERBS if allowed(ROLES[role], verb, group, resource))


@pytest.mark.ledger("B-131", "B-132")
@pytest.mark.parametrize(
    ("group", "resource", "admin", "user"),
    [
        (FLAME, "flameworkloads", VERBS, VERBS[:-1]),
        (FLAME, "flameagents", VERBS, VERBS[:-1]),
        (FLAME, "flameworkloads/scale", VERBS, ()),
        (FLAME, "flamequotas", VERBS, ()),
        (FLAME, "flamevalues", VERBS, ()),
        ("", "pods", VERBS, READ),
        ("", "services", VERBS, READ),
        ("", "configmaps", VERBS, ()),
        ("", "secrets", VERBS, ()),
        ("", "pods/log", (), ()),
        ("", "resourcequotas", (), ()),
        ("", "namespaces", (), ()),
        ("", "serviceaccounts", (), ()),
        ("scheduling.k8s.io", "priorityclasses", (), ()),
        (RBAC, "clusterroles", (), ()),
        ("other.group", "flameworkloads", (), ()),
    ],
)
def test_the_guides_roles_allow_what_they_say(group, resource, admin, user):
    assert (may("flame-admin", group, resource), may("flame-user", group, resource)) == (admin, user)


@pytest.mark.parametrize(
    ("rule", "asked", "answer"),
    [
        ({}, ("get", "", "pods"), False),
        ({"verbs": ["*"], "resources": ["*"]}, ("get", "", "pods"), False),  # no group is named
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, ("get", "any", "things/status"), True),
        ({"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}, ("get", "", "pods/status"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/status"]}, ("get", "", "pods"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/status"]}, ("get", "", "pods/status"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/status"]}, ("get", "", "pods"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, ("get", "", "pods"), False),
    ],
)
def test_rules_are_read_as_kubernetes_reads_them(rule, asked, answer):
    assert allowed([rule], *asked) is answer


def test_a_rule_with_names_is_about_those_and_about_nothing_without_a_name():
    rules = [{"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a", "b"]}]
    assert allowed(rules, "update", "", "configmaps", "a")
    assert not allowed(rules, "update", "", "configmaps", "c")
    assert not allowed(rules, "list", "", "configmaps") and not allowed(rules, "create", "", "configmaps")


def test_names_of_service_accounts():
    assert account_of(account_name("flame-system", "flame-admin")) == ("flame-system", "flame-admin")
    for name in (
        "ann",
        "system:serviceaccount:x",
        "system:serviceaccount::x",
        "system:serviceaccount:a:b:c",
        "system:a:b:c",
    ):
        assert account_of(name) is None


RULE = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]


@pytest.fixture
def world():
    found = World()
    for tenant in ("default", "acme"):
        for name in ("lab", "other"):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            found.put("apply", body, tenant=tenant)
    return found


def a_role(name="writers", namespace="", rules=RULE):
    kind = "Role" if namespace else "ClusterRole"
    return API | {"kind": kind, "metadata": {"name": name} | _in(namespace), "rules": rules}


def a_binding(subject, namespace="", role="writers", kind="ClusterRole"):
    return API | {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": "b"} | _in(namespace),
        "subjects": [subject],
        "roleRef": {"kind": kind, "name": role, "apiGroup": RBAC},
    }


def _in(namespace):
    return {"namespace": namespace} if namespace else {}


def may_make(world, tenant, name, namespace="lab", in_tenant="", kind="ConfigMap"):
    request = Request("create", find_kind(kind), in_tenant or tenant, namespace)
    try:
        judge(world.objects, Subject(tenant, name), request)
    except PermissionDenied:
        return False
    return True


ACCOUNT = {"kind": "ServiceAccount", "namespace": "lab", "name": "robot"}
ROBOT = account_name("lab", "robot")


@pytest.mark.ledger("B-134")
def test_a_service_account_is_who_its_namespace_and_tenant_say(world):
    world.apply(a_role())
    world.apply(a_binding(ACCOUNT))
    assert may_make(world, "default", ROBOT) and may_make(world, "default", ROBOT, "other")
    for tenant, name in (
        ("default", account_name("lab", "other")), ("default", account_name("other", "robot")), ("default", "robot"),
        ("acme", ROBOT), ("default", "lab/robot"),
    ):  # fmt: skip
        assert not may_make(world, tenant, name)


@pytest.mark.parametrize(
    ("subject", "tenant", "name", "answer"),
    [
        ({"kind": "User", "name": "ann"}, "default", "ann", True),
        ({"kind": "User", "name": "ann"}, "default", "bob", False),
        ({"kind": "User", "name": "ann"}, "acme", "ann", False),
        ({"kind": "User", "name": "ann"}, "*", "ann", False),
        ({"kind": "User", "name": "acme/ann"}, "acme", "ann", True),
        ({"kind": "User", "name": "acme/ann"}, "default", "acme/ann", False),
        ({"kind": "Group", "name": "system:authenticated"}, "acme", "ann", True),
        ({"kind": "Group", "name": "tenant:acme"}, "acme", "ann", True),
        ({"kind": "Group", "name": "tenant:acme"}, "default", "ann", False),
        ({"kind": "Group", "name": "system:serviceaccounts"}, "default", ROBOT, True),
        ({"kind": "Group", "name": "system:serviceaccounts:lab"}, "default", ROBOT, True),
        ({"kind": "Group", "name": "system:serviceaccounts:lab"}, "default", account_name("other", "robot"), False),
        ({"kind": "Group", "name": "system:serviceaccounts"}, "acme", ROBOT, False),
        ({"kind": "Group", "name": "ann"}, "default", "ann", False),
    ],
)
def test_users_and_groups(world, subject, tenant, name, answer):
    world.apply(a_role())
    world.apply(a_binding(subject))
    assert may_make(world, tenant, name) is answer


def test_a_role_binding_is_good_for_its_namespace_of_its_tenant(world):
    world.put("apply", a_role(namespace="lab"), tenant="acme")
    world.put("apply", a_binding({"kind": "User", "name": "ann"}, "lab", kind="Role"), tenant="acme")
    assert may_make(world, "acme", "ann")
    assert not may_make(world, "acme", "ann", "other") and not may_make(world, "acme", "ann", "")
    assert not may_make(world, "default", "ann")
    assert not may_make(world, "acme", "ann", in_tenant="default")


def test_a_role_binding_may_bind_a_cluster_role_but_for_its_namespace_only(world):
    world.apply(a_role(rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]))
    world.apply(a_binding(ACCOUNT, "lab"))
    assert may_make(world, "default", ROBOT)
    assert not may_make(world, "default", ROBOT, "other")
    assert not may_make(world, "default", ROBOT, "", kind="PriorityClass")


def test_what_is_not_there_allows_nothing_and_what_is_taken_away_no_more(world):
    world.apply(a_binding(ACCOUNT))
    assert not may_make(world, "default", ROBOT)
    world.apply(a_role())
    assert may_make(world, "default", ROBOT)
    world.apply(a_role(rules=[]))
    assert not may_make(world, "default", ROBOT)
    world.apply(a_binding(ACCOUNT, "lab", role="here", kind="Role"))
    assert not may_make(world, "default", ROBOT)
    world.apply(a_role("here", "lab"))
    assert may_make(world, "default", ROBOT)


@pytest.mark.parametrize("kind", ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"])
@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete"])
def test_no_rule_lets_anybody_write_roles_and_bindings(world, kind, verb):
    world.apply(a_role(rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]))
    world.apply(a_binding(ACCOUNT))
    who = Subject("default", ROBOT)
    judge(world.objects, who, Request("get", find_kind(kind), "default", "lab", "x"))
    with pytest.raises(PermissionDenied, match="an admin's of the whole cluster"):
        judge(world.objects, who, Request(verb, find_kind(kind), "default", "lab", "x"))
