"""Claims and services under quotas: the one too many waits and says for what, and comes in when another goes."""

from __future__ import annotations

import json

import pytest
from core.test_jobs import Desk, a_workload

from flame.core.model import messages as m

RESOURCE = {"PersistentVolumeClaim": "persistentvolumeclaims", "Service": "services"}
ADMITTED = {"PersistentVolumeClaim": "Bound", "Service": "Active"}
KINDS = [
    pytest.param("PersistentVolumeClaim", marks=pytest.mark.ledger("B-085")),
    pytest.param("Service", marks=pytest.mark.ledger("B-086")),
]


def a_quota(name="q", kind="ResourceQuota", **hard):
    api = "v1" if kind == "ResourceQuota" else "flame.xflops.cn/v1alpha1"
    bounds = {"hard": {key.replace("__", "/"): str(most) for key, most in hard.items()}}
    more = {"tenant": "default"} if kind == "FlameQuota" else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": bounds | more}


def an_object(kind, name, namespace="default"):
    spec = {"accessModes": ["ReadWriteOnce"]} if kind == "PersistentVolumeClaim" else {"ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def phases(desk, kind):
    return {
        body["metadata"]["name"]: body["status"]["phase"]
        for body in map(json.loads, desk.ask(m.ListObjects(kind)).bodies)
    }


def condition(desk, kind, name):
    (found,) = desk.get(name, kind)["status"]["conditions"]
    return found["type"], found["status"], found["reason"], found["message"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["{}", "count__{}"])
def test_the_one_too_many_waits_and_comes_in_when_another_goes(kind, form):
    desk, resource = Desk(), form.format(RESOURCE[kind])
    desk.apply(a_quota(**{resource: 2}))
    for name in "abcd":
        put = desk.apply(an_object(kind, name))
        assert json.loads(put.body)["status"]["phase"] == (ADMITTED[kind] if name in "ab" else "Pending")
        assert any("asked 1" in warning for warning in put.warnings) == (name in "cd")
        desk.world.wait(1)
    text = f"quota default/q: {resource.replace('__', '/')} used 2, hard 2, asked 1"
    assert condition(desk, kind, "c") == ("Admitted", "False", "QuotaExceeded", text)
    (event,) = desk.ask(m.ListObjects("Event", fields="involvedObject.name=c")).bodies
    said = json.loads(event)
    assert (said["reason"], said["type"], said["message"]) == ("QuotaExceeded", "Warning", text)
    assert said["involvedObject"]["uid"] == desk.get("c", kind)["metadata"]["uid"]
    key = resource.replace("__", "/")
    assert desk.get("q", "ResourceQuota")["status"]["used"] == {key: "2"}
    desk.ask(m.DeleteObject(kind, name="d"))  # one that waits: nobody's turn comes by that
    assert phases(desk, kind)["c"] == "Pending"
    desk.apply(an_object(kind, "d"))
    desk.ask(m.DeleteObject(kind, name="a"))
    admitted = ADMITTED[kind]
    assert phases(desk, kind) == {"b": admitted, "c": admitted, "d": "Pending"}  # the oldest
    assert condition(desk, kind, "c")[:3] == ("Admitted", "True", "WithinQuota")
    assert desk.get("q", "ResourceQuota")["status"]["used"] == {key: "2"}


@pytest.mark.ledger("B-085")
def test_a_workload_waits_for_a_claim_that_waits_and_starts_when_that_does():
    desk, kind = Desk(), "PersistentVolumeClaim"
    desk.apply(a_quota(persistentvolumeclaims=1))
    desk.apply(an_object(kind, "other"))
    desk.apply(an_object(kind, "data"))
    pod = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    desk.apply(a_workload(pod=pod))
    assert not desk.orders()
    status = desk.status()
    assert (status["phase"], status["reason"]) == ("Pending", "QuotaExceeded")
    text = "PersistentVolumeClaim data waits: quota default/q: persistentvolumeclaims used 1, hard 1, asked 1"
    assert status["message"] == text
    assert desk.diagnosis()["summary"] == f"job: quota: {text}"
    desk.ask(m.DeleteObject(kind, name="other"))
    assert len(desk.orders()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_quota_admits_a_smaller_one_turns_nobody_out(kind):
    desk, resource, admitted = Desk(), RESOURCE[kind], ADMITTED[kind]
    desk.apply(a_quota(**{resource: 1}))
    for name in "abc":
        desk.apply(an_object(kind, name))
        desk.world.wait(1)
    desk.apply(a_quota(**{resource: 2}))
    assert phases(desk, kind) == {"a": admitted, "b": admitted, "c": "Pending"}
    desk.apply(a_quota(**{resource: 1}))
    assert phases(desk, kind) == {"a": admitted, "b": admitted, "c": "Pending"}
    assert condition(desk, kind, "c")[3].endswith("used 2, hard 1, asked 1")
    desk.ask(m.DeleteObject("ResourceQuota", name="q"))
    assert phases(desk, kind)["c"] == admitted


@pytest.mark.ledger("B-085")
def test_what_a_client_writes_into_the_status_admits_nobody():
    desk, kind = Desk(), "PersistentVolumeClaim"
    desk.apply(a_quota(persistentvolumeclaims=1))
    desk.apply(an_object(kind, "a"))
    desk.apply({**an_object(kind, "b"), "status": {"phase": "Bound"}})
    assert phases(desk, kind) == {"a": "Bound", "b": "Pending"}
    for name, phase in (("a", "Pending"), ("b", "Bound")):
        patch = json.dumps({"status": {"phase": phase}}).encode()
        answer = desk.ask(m.PutObject("merge", kind, name=name, body=patch, subresource="status"))
        assert isinstance(answer, m.ObjectPut)
    assert phases(desk, kind) == {"a": "Bound", "b": "Pending"}


@pytest.mark.parametrize("conditions", ["nonsense", [1, None, "x"], {"a": 1}, [{"type": "Admitted", "status": "True"}]])
def test_nonsense_in_a_status_hurts_nobody(conditions):
    desk, kind = Desk(), "PersistentVolumeClaim"
    desk.apply(a_quota(persistentvolumeclaims=0))
    desk.apply(an_object(kind, "a"))
    patch = json.dumps({"status": {"phase": [], "conditions": conditions}}).encode()
    desk.ask(m.PutObject("merge", kind, name="a", body=patch, subresource="status"))
    assert phases(desk, kind) == {"a": "Pending"}
    assert condition(desk, kind, "a")[:3] == ("Admitted", "False", "QuotaExceeded")


@pytest.mark.ledger("B-085", "B-086")
def test_a_restart_changes_neither_who_is_admitted_nor_whose_turn_it_is():
    desk = Desk()
    desk.apply(a_quota(persistentvolumeclaims=1, services=1))
    for kind in RESOURCE:
        for name in ("z", "y", "x"):  # the order of age is not that of names
            desk.apply(an_object(kind, name))
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    for kind in RESOURCE:
        assert phases(desk, kind) == {"z": ADMITTED[kind], "y": "Pending", "x": "Pending"}
        desk.ask(m.DeleteObject(kind, name="z"))
        assert phases(desk, kind) == {"y": ADMITTED[kind], "x": "Pending"}


@pytest.mark.ledger("B-085")
def test_namespaces_count_by_themselves_and_the_tenants_quota_counts_them_together():
    desk, kind = Desk(), "PersistentVolumeClaim"
    desk.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
    desk.apply(a_quota(persistentvolumeclaims=1))
    desk.apply(a_quota("tree", "FlameQuota", persistentvolumeclaims=3))
    for name in "abc":
        desk.apply(an_object(kind, name))
    for name in "def":
        desk.apply(an_object(kind, name, "lab"), namespace="lab")
    assert phases(desk, kind) == {
        "a": "Bound", "b": "Pending", "c": "Pending", "d": "Bound", "e": "Bound", "f": "Pending"
    }  # fmt: skip
    (found,) = [json.loads(body) for body in desk.ask(m.ListObjects(kind, fields="metadata.name=f")).bodies]
    assert found["status"]["conditions"][0]["message"] == "quota tree: persistentvolumeclaims used 3, hard 3, asked 1"
    desk.ask(m.DeleteObject(kind, name="d", namespace="lab"))  # not b, which is older: its own namespace is full
    assert phases(desk, kind)["f"] == "Bound" and phases(desk, kind)["b"] == "Pending"


def a_claim(name, storage):
    body = an_object("PersistentVolumeClaim", name)
    body["spec"]["resources"] = {"requests": {"storage": storage}}
    return body


@pytest.mark.ledger("B-085")
def test_the_storage_of_claims_is_added_up():
    desk, kind = Desk(), "PersistentVolumeClaim"
    desk.apply(a_quota(**{"requests.storage": "100Gi"}))
    for name, storage in (("a", "60Gi"), ("b", "50Gi"), ("c", "40Gi")):
        desk.apply(a_claim(name, storage))
        desk.world.wait(1)
    assert phases(desk, kind) == {"a": "Bound", "b": "Pending", "c": "Bound"}  # c fits beside a, and b does not
    assert condition(desk, kind, "b")[3] == "quota default/q: requests.storage used 60Gi, hard 100Gi, asked 50Gi"
    assert desk.get("q", "ResourceQuota")["status"]["used"] == {"requests.storage": "100Gi"}
    refused = desk.apply(a_claim("a", "61Gi"))
    assert (refused.code, desk.get("a", kind)["spec"]["resources"]["requests"]["storage"]) == (
        "permission_denied",
        "60Gi",
    )
    assert "requests.storage used 100Gi, hard 100Gi, asked 1Gi" in refused.message
    desk.apply(a_claim("a", "50Gi"))
    assert desk.get("q", "ResourceQuota")["status"]["used"] == {"requests.storage": "90Gi"}
    desk.ask(m.DeleteObject(kind, name="c"))
    assert phases(desk, kind) == {"a": "Bound", "b": "Bound"}


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        ("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}),
        ("count/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}),
        ("count/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount"}),
        (
            "count/roles.rbac.authorization.k8s.io",
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": []},
        ),
        ("count/flameworkloads.flame.xflops.cn", a_workload(replicas=0)),
    ],
)
def test_what_cannot_wait_is_refused_when_there_is_one_too_many(resource, body):
    desk, kind = Desk(), body["kind"]

    def make(name, **more):
        return desk.apply(body | {"metadata": {"name": name, "namespace": "default"}}, **more)

    assert isinstance(make("before"), m.ObjectPut)
    desk.apply(a_quota(**{resource: 2}))
    assert isinstance(make("second"), m.ObjectPut)
    for dry in (True, False):
        refused = make("third", dry_run=dry)
        assert refused.code == "permission_denied"
        assert refused.message == f"{kind} third is too much: quota default/q: {resource} used 2, hard 2, asked 1"
    assert isinstance(desk.get("third", kind), m.Failure)
    assert isinstance(make("second"), m.ObjectPut), "what is there may be written again"
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    assert make("third").code == "permission_denied"
    desk.ask(m.DeleteObject(kind, name="before"))
    assert isinstance(make("third"), m.ObjectPut)
    assert make("fourth").code == "permission_denied"
    desk.apply(a_quota(**{resource: 3}))
    assert isinstance(make("fourth"), m.ObjectPut)
