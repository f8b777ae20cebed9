"""What the API says about itself is what it does: Schemathesis asks everything that the document describes, and much that it does not."""

from __future__ import annotations

import json

import pytest
from gateway.conftest import Gate

schemathesis = pytest.importorskip("schemathesis")


@pytest.mark.ledger("B-034")
def test_what_is_served_is_what_is_described(gate: Gate, tmp_path):
    """Bounded: some examples of each operation, both legal and not. Streams have no end and are tried elsewhere."""
    import subprocess
    import sys

    with gate.client.session("flmping") as session:
        session.run(b"").result(30)
    document = gate.get("/openapi.json").json
    assert {"/flame/v1/sessions", "/flame/v1/sessions/{id}/tasks", "/flame/v1/nodes"} <= set(document["paths"])
    # Examples that are there, so that not every answer is 404.
    for item in document["paths"].values():
        for parameter in item["get"].get("parameters", ()):
            if parameter["name"] == "id":
                parameter["schema"]["examples"] = [session.id]
            if parameter["name"] == "no":
                parameter["schema"]["examples"] = [1]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    gate.ask("POST", "/apis/flame.xflops.cn/v1alpha1/flamevalues", {
        "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameValues", "metadata": {"name": "flame"},
        "flame": {"apiServer": {"config": {"rateLimit": {"enabled": False}}}},
    })  # fmt: skip
    try:
        run = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", str(tmp_path / "openapi.json"), f"--url={gate.url}",
                "-H", f"Authorization: Bearer {gate.token}", "--max-examples=15", "--exclude-path-regex=(events|logs|stream)$",
                "--phases=examples,coverage,fuzzing", "--generation-deterministic", "--request-timeout=10", "--no-color",
            ],
            capture_output=True, text=True, timeout=110, cwd=tmp_path,
        )  # fmt: skip
    finally:
        gate.ask("DELETE", "/apis/flame.xflops.cn/v1alpha1/flamevalues/flame")
    assert run.returncode == 0, (run.stdout + run.stderr)[-6000:]


def test_the_schemas_of_kinds_are_served(gate: Gate):
    index = gate.get("/openapi/v3").json["paths"]
    group = "apis/flame.xflops.cn/v1alpha1"
    document = gate.get(index[group]["serverRelativeURL"]).json
    schema = document["components"]["schemas"]["cn.xflops.flame.v1alpha1.FlameWorkload"]
    assert schema["x-kubernetes-group-version-kind"][0]["kind"] == "FlameWorkload"
    assert gate.get("/openapi/v2").json["swagger"] == "2.0"
    assert gate.get("/openapi/v2", accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf").status == 406
    assert gate.get("/openapi/v3/apis/unknown/v1").status == 404


def test_discovery_comes_in_both_forms(gate: Gate):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    found = gate.get("/apis", accept=accept)
    assert found.headers["content-type"].endswith("as=APIGroupDiscoveryList")
    kinds = {r["responseKind"]["kind"] for g in found.json["items"] for v in g["versions"] for r in v["resources"]}
    assert {"FlameWorkload", "FlameQuota", "PriorityClass", "NetworkPolicy"} <= kinds
    assert gate.get("/apis").json["kind"] == "APIGroupList"
    assert {r["name"] for r in gate.get("/api/v1").json["resources"]} >= {"pods", "pods/log", "nodes", "events"}


def test_paths_of_others_are_not_taken(gate: Gate):
    """They are kept free under /api/v1."""
    for name in ("intents", "resources", "auth"):
        assert gate.get(f"/api/v1/{name}").status == 404


def test_nothing_that_is_served_comes_from_elsewhere(gate: Gate):
    for path in ("/", "/login", "/docs", "/static/flame.js", "/static/flame.css"):
        text = gate.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
