"""Service accounts over HTTP: the guide's two roles, verb by verb and kind by kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from gateway.conftest import CONFIGS, GROUP, WORKLOADS, Gate, config, workload
from objects.made import guide

from flame.testing.cluster import eventually

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
READ, NONE = VERBS[:3], ()
CORE = "/api/v1/namespaces/default"
SYSTEM = "/api/v1/namespaces/flame-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Row(NamedTuple):
    path: str
    body: dict[str, Any] | None
    admin: tuple[str, ...]
    user: tuple[str, ...]


def an_object(kind: str, api: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "account-x"}, **more}


FLAME = "flame.xflops.cn/v1alpha1"
ROWS = {
    "flameworkloads": Row(WORKLOADS, workload("account-x", suspend=True), VERBS, VERBS[:-1]),
    "flameagents": Row(f"{GROUP}/flameagents", an_object("FlameAgent", FLAME), VERBS, VERBS[:-1]),
    "flamequotas": Row(f"{GROUP}/flamequotas", an_object("FlameQuota", FLAME, spec={"tenant": "nobody"}), VERBS, NONE),
    "pods": Row(f"{CORE}/pods", an_object("Pod", spec={"containers": [{"name": "a"}]}), VERBS, READ),
    "services": Row(f"{CORE}/services", an_object("Service", spec={}), VERBS, READ),
    "configmaps": Row(CONFIGS, config("account-x", a="1"), VERBS, NONE),
    "claims": Row(f"{CORE}/persistentvolumeclaims", an_object("PersistentVolumeClaim", spec={}), NONE, NONE),
    "resourcequotas": Row(
        f"{CORE}/resourcequotas", an_object("ResourceQuota", spec={"hard": {"pods": 999}}), NONE, NONE
    ),
    "clusterroles": Row(
        f"{RBAC}/clusterroles", an_object("ClusterRole", "rbac.authorization.k8s.io/v1", rules=[]), NONE, NONE
    ),
}


@pytest.fixture(scope="module")
def accounts(gate: Gate) -> dict[str, str]:
    """Tokens of three service accounts: bound to flame-admin, bound to flame-user, bound to nothing."""
    for document in guide("rbac"):
        gate.client.objects.apply(dict(document.body))
    found = {}
    for name in ("flame-admin", "flame-user", "stranger"):
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "flame-system"}}
        gate.client.objects.apply(body)
        found[name] = gate.client.create_account_token("flame-system", name).token
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "flame-users"},
        "subjects": [{"kind": "ServiceAccount", "name": "flame-user", "namespace": "flame-system"}],
        "roleRef": {"kind": "ClusterRole", "name": "flame-user"},
    }
    gate.client.objects.apply(binding)
    return found


def denied(gate: Gate, verb: str, row: Row, token: str) -> bool:
    """Is it forbidden? Whether it makes sense is another matter: nobody writes an agent."""
    one, merge = f"{row.path}/account-x", "application/merge-patch+json"
    match verb:
        case "create":
            answer = gate.ask("POST", row.path, row.body, token=token)
        case "update":
            answer = gate.ask("PUT", one, row.body, token=token)
        case "patch":
            answer = gate.ask("PATCH", one, {"metadata": {"labels": {"a": "b"}}}, token=token, media=merge)
        case "delete":
            answer = gate.ask("DELETE", one, token=token)
        case "get":
            answer = gate.get(one, token=token)
        case "list":
            answer = gate.get(row.path, token=token)
        case _:
            version = gate.get(row.path).json["metadata"]["resourceVersion"]
            answer = gate.get(f"{row.path}?watch=1&timeoutSeconds=1&resourceVersion={version}", token=token)
    assert answer.status < 500, (verb, answer.text)
    if answer.status == 403:
        assert answer.json["reason"] == "Forbidden"
    return answer.status == 403


@pytest.mark.ledger("B-131", "B-132", "B-134")
@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_service_account_may_what_is_bound_to_it_and_nothing_else(gate: Gate, accounts: dict[str, str], name: str):
    row = ROWS[name]
    for account, may in (("stranger", NONE), ("flame-user", row.user), ("flame-admin", row.admin)):
        found = tuple(verb for verb in VERBS if not denied(gate, verb, row, accounts[account]))
        assert found == may, account
        gate.ask("DELETE", f"{row.path}/account-x")  # what an account that may not delete has made


@pytest.mark.ledger("B-134")
def test_a_service_account_has_no_role_of_the_table(gate: Gate, accounts: dict[str, str]):
    token = accounts["flame-admin"]
    for path in ("/flame/v1/sessions", "/flame/v1/tokens", "/flame/v1/nodes"):
        assert gate.get(path, token=token).status in (403, 404), path
    assert gate.get("/flame/v1/sessions", token=token).status == 403
    assert gate.get(f"{CORE}/pods/account-x/log", token=token).status in (403, 404)
    assert gate.ask("POST", f"{SYSTEM}/configmaps", config("account-y", "flame-system"), token=token).status == 201
    assert gate.ask("DELETE", f"{SYSTEM}/configmaps/account-y", token=token).status == 200
    scale = gate.ask(
        "PATCH", f"{WORKLOADS}/none/scale", {"spec": {"replicas": 1}}, token=accounts["flame-user"],
        media="application/merge-patch+json",
    )  # fmt: skip
    assert scale.status == 403  # flameworkloads/scale is a resource of its own


@pytest.mark.ledger("B-134")
def test_logs_are_for_who_may_get_them(gate: Gate):
    """`get` of `pods/log`, in the namespace of the binding; to get pods is not enough."""
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    gate.ask("POST", WORKLOADS, workload("account-log", "echo hello; sleep 600"))
    tokens = {}
    for name, resource in (("of-pods", "pods"), ("of-logs", "pods/log")):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}
        role = api | {"kind": "Role", "metadata": {"name": name, "namespace": "default"}}
        rule = {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}
        binding = api | {"kind": "RoleBinding", "metadata": {"name": name, "namespace": "default"}}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        gate.client.objects.apply(account)
        gate.client.objects.apply(role | {"rules": [rule]})
        gate.client.objects.apply(binding | {"subjects": [subject], "roleRef": ref})
        tokens[name] = gate.client.create_account_token("default", name).token
    log = f"{CORE}/pods/account-log-0/log"
    eventually(lambda: "hello" in gate.get(log).text)
    assert gate.get(log, token=tokens["of-logs"]).text == "hello\n"
    refused = gate.get(log, token=tokens["of-pods"])
    assert refused.status == 403
    assert "may not get pods/log" in refused.json["message"]
    nowhere = "/api/v1/namespaces/flame-system/pods/account-log-0/log"
    assert gate.get(nowhere, token=tokens["of-logs"]).status == 403, "before anything is said about what is there"
    assert gate.get(f"{CORE}/pods/account-log-0", token=tokens["of-logs"]).status == 403
    gate.ask("DELETE", f"{WORKLOADS}/account-log")
