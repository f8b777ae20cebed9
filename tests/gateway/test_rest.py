"""Objects, sessions and tasks over HTTP: what is there, who may, and what is refused how."""

from __future__ import annotations

import base64
import json
import time

import pytest
from gateway.conftest import CONFIGS, GROUP, SETTINGS, WORKLOADS, Gate, config, workload

from flame.core.model.access import LADDER
from flame.testing.cluster import eventually


def test_an_object_from_its_making_to_its_end(gate: Gate):
    made = gate.ask("POST", CONFIGS, config("rest-life", a="1"))
    assert made.status == 201
    version = made.json["metadata"]["resourceVersion"]
    assert gate.ask("POST", CONFIGS, config("rest-life")).json["reason"] == "AlreadyExists"
    assert gate.get(f"{CONFIGS}/rest-life").json == made.json
    merge = "application/merge-patch+json"
    patched = gate.ask("PATCH", f"{CONFIGS}/rest-life", {"data": {"b": "2"}}, media=merge)
    assert patched.json["data"] == {"a": "1", "b": "2"}
    stale = config("rest-life", a="9")
    stale["metadata"]["resourceVersion"] = version
    conflict = gate.ask("PUT", f"{CONFIGS}/rest-life", stale)
    assert (conflict.status, conflict.json["reason"], conflict.json["kind"]) == (409, "Conflict", "Status")
    operations = [{"op": "remove", "path": "/data/a"}]
    assert gate.ask("PATCH", f"{CONFIGS}/rest-life", operations, media="application/json-patch+json").json["data"] == {
        "b": "2"
    }
    strategic = gate.ask(
        "PATCH", f"{CONFIGS}/rest-life", {"data": {"c": "3"}}, media="application/strategic-merge-patch+json"
    )
    assert strategic.json["data"] == {"b": "2", "c": "3"}
    assert gate.ask("PATCH", f"{CONFIGS}/rest-life", {}, media="text/plain").status == 415
    dry = gate.ask("DELETE", f"{CONFIGS}/rest-life?dryRun=All")
    assert dry.status == 200
    gone = gate.ask("DELETE", f"{CONFIGS}/rest-life", {"preconditions": {"uid": "another"}})
    assert gone.status == 409
    assert gate.ask("DELETE", f"{CONFIGS}/rest-life").json["status"] == "Success"
    missing = gate.get(f"{CONFIGS}/rest-life")
    assert (missing.status, missing.json["reason"]) == (404, "NotFound")
    assert missing.json["details"] == {"group": "", "kind": "configmaps", "name": "rest-life"}


def test_what_is_not_legal_names_its_fields(gate: Gate):
    wrong = workload("rest-wrong")
    wrong["spec"]["replicas"] = -1
    wrong["spec"]["nonsense"] = 1
    refused = gate.ask("POST", WORKLOADS, wrong)
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert {cause["field"] for cause in refused.json["details"]["causes"]} == {"spec.replicas", "spec.nonsense"}
    assert gate.ask("POST", WORKLOADS, b"{no json").status == 422
    assert gate.ask("POST", CONFIGS, workload("rest-wrong")).status == 422  # another kind than the path's
    assert gate.ask("POST", CONFIGS, config("rest-wrong", namespace="flame-system")).status == 422
    assert gate.ask("POST", WORKLOADS, b"<xml/>", media="application/xml").status == 415
    assert gate.get(f"{WORKLOADS}?labelSelector=%3D%3D").status == 400
    assert gate.get(f"{WORKLOADS}?limit=many").status == 400
    assert gate.get(f"{WORKLOADS}?continue=%21%21").status == 400
    assert gate.ask("DELETE", WORKLOADS).status == 405
    assert gate.get("/apis/unknown.group").status == 404
    assert gate.get(f"{WORKLOADS}/rest-wrong").status == 404


def test_lists_come_in_pages_and_by_selector(gate: Gate):
    for number in range(5):
        body = config(f"rest-page-{number}", n=str(number))
        body["metadata"]["labels"] = {"page": "yes", "even": str(number % 2 == 0).lower()}
        gate.ask("POST", CONFIGS, body)
    first = gate.get(f"{CONFIGS}?limit=2&fieldSelector=metadata.name!=none&labelSelector=page").json
    assert (first["kind"], len(first["items"])) == ("ConfigMapList", 2)
    found, after = [], ""
    while True:
        page = gate.get(f"{CONFIGS}?limit=2&labelSelector=page&continue={after}").json
        found += [item["metadata"]["name"] for item in page["items"]]
        after = page["metadata"].get("continue", "")
        if not after:
            break
    assert found == [f"rest-page-{number}" for number in range(5)]
    even = gate.get(f"{CONFIGS}?labelSelector=page,even%3Dtrue").json["items"]
    assert len(even) == 3
    table = gate.get(CONFIGS, accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json").json
    assert table["kind"] == "Table"
    assert table["columnDefinitions"][0]["name"] == "Name"
    partial = gate.get(CONFIGS, accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").json
    assert partial["kind"] == "PartialObjectMetadataList"
    assert "data" not in partial["items"][0]


def test_scaling_is_a_resource_of_its_own(gate: Gate):
    gate.ask("POST", WORKLOADS, workload("rest-scale", limits={"nvidia.com/gpu": 64}))
    scale = gate.get(f"{WORKLOADS}/rest-scale/scale").json
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 1})
    scale["spec"]["replicas"] = 3
    del scale["metadata"]["resourceVersion"]  # whatever the scheduler wrote meanwhile
    assert gate.ask("PUT", f"{WORKLOADS}/rest-scale/scale", scale).json["spec"]["replicas"] == 3
    merge = gate.ask(
        "PATCH", f"{WORKLOADS}/rest-scale/scale", {"spec": {"replicas": 2}}, media="application/merge-patch+json"
    )
    assert merge.json["spec"]["replicas"] == 2
    assert gate.get(f"{WORKLOADS}/rest-scale").json["spec"]["replicas"] == 2
    why = gate.get("/flame/v1/workloads/rest-scale/debug").json
    assert (why["ok"], why["causes"][0]["kind"]) == (False, "GPU")
    gate.ask("DELETE", f"{WORKLOADS}/rest-scale")


def test_sessions_and_tasks_can_be_read(gate: Gate):
    from flame.apps.ping import PingService  # noqa: F401

    with gate.client.session("flmping") as session:
        futures = [session.run(b"") for _ in range(30)]
        for future in futures:
            future.result(30)
        shown = gate.get(f"/flame/v1/sessions/{session.id}").json
        assert (shown["id"], shown["state"], shown["succeeded"]) == (session.id, "Open", 30)
        assert session.id in [one["id"] for one in gate.get("/flame/v1/sessions?state=open").json["sessions"]]
        page = gate.get(f"/flame/v1/sessions/{session.id}/tasks?limit=20").json
        assert [task["no"] for task in page["tasks"]] == list(range(1, 21))
        rest = gate.get(f"/flame/v1/sessions/{session.id}/tasks?start={page['next']}").json
        assert (len(rest["tasks"]), rest["next"]) == (10, 0)
        task = gate.get(f"/flame/v1/sessions/{shown['number']}/tasks/1").json
        assert task["state"] == "Succeed"
        assert base64.b64decode(task["output"]) == futures[0].result()
        assert isinstance(gate.get(f"/flame/v1/sessions/{session.id}/explain").json, list)
        assert isinstance(gate.get(f"/flame/v1/sessions/{session.id}/tasks/1/explain").json, list)
        assert isinstance(gate.get(f"/flame/v1/sessions/{session.id}/logs").json, list)
    assert gate.get("/flame/v1/sessions/no-such-session").status == 404
    assert gate.get(f"/flame/v1/sessions/{session.id}/tasks/999").status == 404


def test_the_cluster_says_how_it_is(gate: Gate):
    status = gate.get("/flame/v1/status").json
    assert (status["allocator"], status["storage"], status["nodes_ready"]) == (True, "ok", 1)
    assert gate.get("/flame/v1/nodes").json[0]["devices"][0]["model"] == "A100"
    assert gate.get("/flame/v1/whoami").json["role"] == "admin"
    overview = gate.get("/flame/v1/overview").json
    assert overview["nodes"][0]["gpu"] == 2000
    assert gate.get("/health", token=None).json == {"status": "ok"}
    assert gate.get("/ready", token=None).json == {"ready": True, "problems": []}
    assert gate.get("/version").json["gitVersion"].startswith("v1.")


def test_a_wrong_token_or_none_opens_nothing(gate: Gate):
    for path in ("/", "/flame/v1/status", "/api", WORKLOADS, "/metrics", "/openapi.json", "/docs", "/version"):
        assert gate.get(path, token=None).status == 401
        assert gate.get(path, token="flame_wrong").status == 401
    refused = gate.get(WORKLOADS, token=None)
    assert refused.json["reason"] == "Unauthorized"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert gate.ask("GET", "/flame/v1/status", token=None, authorization="Basic abc").status == 401
    token = gate.client.create_token("rest-revoked", "viewer", "*")
    assert gate.get("/flame/v1/whoami", token=token.token).status == 200
    gate.client.revoke_token(token.info.id)
    eventually(lambda: gate.get("/flame/v1/whoami", token=token.token).status == 401)


ALLOWED = {
    "read": LADDER,
    "workload": ("user", "operator", "admin"),
    "settings": ("operator", "admin"),
    "quota": ("operator", "admin"),
}


@pytest.mark.parametrize("role", LADDER)
def test_a_role_may_what_it_may_elsewhere(gate: Gate, role: str):
    token = gate.tokens[f"{role}@*"]
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": f"rest-{role}"},
        "spec": {"hard": {"pods": 99}},
    }
    tries = [
        ("read", gate.get(WORKLOADS, token=token)),
        ("read", gate.get("/flame/v1/sessions", token=token)),
        ("read", gate.get("/api/v1/nodes", token=token)),
        ("workload", gate.ask("POST", CONFIGS, config(f"rest-{role}"), token=token)),
        ("workload", gate.ask("PUT", f"{CONFIGS}/rest-{role}", config(f"rest-{role}", x="1"), token=token)),
        ("workload", _merge(gate, f"{CONFIGS}/rest-{role}", token)),
        ("workload", gate.ask("DELETE", f"{CONFIGS}/rest-{role}", token=token)),
        ("settings", gate.ask("POST", SETTINGS, config(f"rest-{role}", "flame-system"), token=token)),
        ("quota", gate.ask("POST", "/api/v1/namespaces/default/resourcequotas", quota, token=token)),
    ]
    for what, answer in tries:
        if role in ALLOWED[what]:
            assert answer.status in (200, 201), f"{role} {what}: {answer.text}"
        else:
            assert (answer.status, answer.json["reason"]) == (403, "Forbidden"), f"{role} {what}"


def _merge(gate: Gate, path: str, token: str):
    return gate.ask("PATCH", path, {"data": {"y": "1"}}, token=token, media="application/merge-patch+json")


def test_a_tenant_sees_its_own_only(gate: Gate):
    mine = gate.ask("POST", CONFIGS, config("rest-acme", secret="1"), token=gate.tokens["user@acme"])
    assert mine.status == 201
    assert gate.get(f"{CONFIGS}/rest-acme").status == 404
    assert "rest-acme" not in gate.get(CONFIGS, token=gate.tokens["viewer@*"]).text
    assert gate.get(f"{CONFIGS}/rest-acme", token=gate.tokens["viewer@acme"]).status == 200


def test_bodies_have_a_limit(gate: Gate):
    large = config("rest-large", data="x" * (1 << 20))
    assert gate.ask("POST", CONFIGS, large).status == 413
    huge = json.dumps(config("rest-huge", data="x" * (4 << 20))).encode()
    try:
        assert gate.ask("POST", CONFIGS, huge).status == 413
    except OSError:
        pass  # the connection was closed while we were still sending, which is legal
    assert gate.get(f"{CONFIGS}/rest-huge").status == 404


def test_the_access_log_says_who_did_what_and_no_secret(gate: Gate):
    gate.get("/flame/v1/whoami?rest=access-log", token=gate.tokens["viewer@acme"])

    def lines() -> list[dict]:
        found = [line.partition("flame.gateway.access: ")[2] for line in gate.cluster.log("gateway").splitlines()]
        return [json.loads(line) for line in found if line]

    def mine() -> list[dict]:
        return [line for line in lines() if line["who"] == "viewer-acme" and line["route"] == "whoami"]

    eventually(mine)
    line = mine()[0]
    assert (line["status"], line["role"], line["tenant"]) == (200, "viewer", "acme")
    assert not any(token in gate.cluster.log("gateway") for token in (*gate.tokens.values(), gate.token))


def test_metrics_count_what_was_asked(gate: Gate):
    gate.get(f"{GROUP}/flameworkloads")
    text = gate.get("/metrics").text
    assert 'flame_gateway_requests_total{code="200",method="GET",route="flameworkloads"}' in text
    assert "flame_gateway_request_seconds_bucket" in text
    assert "flame_gateway_rate_limit 100.0" in text
    names = {line.split("{")[0] for line in text.splitlines() if line.startswith("flame_gateway_requests_total")}
    assert names == {"flame_gateway_requests_total"}


def test_a_log_streams_as_events(gate: Gate):
    gate.ask("POST", WORKLOADS, workload("rest-log", "echo hello; sleep 600"))
    eventually(lambda: gate.get("/flame/v1/workloads/rest-log/logs?follow=false").status == 200)
    eventually(lambda: "hello" in gate.get("/flame/v1/workloads/rest-log/logs?follow=false").text)
    with gate.stream("/flame/v1/workloads/rest-log/logs") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [stream.readline() for _ in range(4)]
        assert b"event: line\n" in lines
        assert any(b"hello" in line for line in lines)
    began = time.monotonic()
    with gate.stream("/flame/v1/events") as stream:
        while b"data: " not in stream.readline():
            assert time.monotonic() - began < 10
    gate.ask("DELETE", f"{WORKLOADS}/rest-log?gracePeriodSeconds=0")
