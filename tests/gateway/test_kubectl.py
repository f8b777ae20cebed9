"""The real kubectl, with what `flame kubeconfig` prints, against a real cluster."""

from __future__ import annotations

import json

import pytest
from gateway.conftest import config, workload

from flame.testing.cluster import eventually


def test_it_finds_the_kinds(kubectl):
    lines = kubectl("api-resources").stdout
    assert "flameworkloads" in lines
    assert " fw " in lines
    assert "resourcequotas" in lines


@pytest.mark.ledger("B-039", "B-045")
def test_a_workload_lives_and_goes(kubectl, gate):
    manifest = workload("kubectl-life", "for i in 1 2 3; do echo line $i; done; sleep 600", replicas=2)
    assert "created" in kubectl("apply", "-f", "-", input=json.dumps(manifest)).stdout
    assert "unchanged" in kubectl("apply", "-f", "-", input=json.dumps(manifest)).stdout
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "fw/kubectl-life", "--timeout=20s")
    table = kubectl("get", "fw", "kubectl-life").stdout
    assert table.split("\n")[0].split()[:5] == ["NAME", "TYPE", "PHASE", "REPLICAS", "READY"]
    assert "Running" in table
    assert kubectl("logs", "kubectl-life-0").stdout == "line 1\nline 2\nline 3\n"
    assert kubectl("logs", "kubectl-life-1", "--tail=1").stdout == "line 3\n"
    assert kubectl("logs", "kubectl-life-1", "--timestamps", "--tail=1").stdout.startswith("20")
    for count in (4, 1):
        kubectl("scale", "fw/kubectl-life", f"--replicas={count}")
        running = ("-l", "flame.xflops.cn/workload=kubectl-life", "--field-selector=status.phase=Running")
        eventually(lambda: len(kubectl("get", "pods", *running, "-o", "name").stdout.split()) == count)  # noqa: B023
    manifest["metadata"]["labels"]["environment"] = "production"
    assert "configured" in kubectl("apply", "-f", "-", input=json.dumps(manifest)).stdout
    assert "kubectl-life" in kubectl("get", "fw", "-l", "environment=production", "-o", "name").stdout
    assert not kubectl("get", "fw", "-l", "environment=test", "-o", "name").stdout
    kubectl(
        "patch", "fw", "kubectl-life", "--type=json", "-p", '[{"op": "replace", "path": "/spec/replicas", "value": 1}]'
    )
    kubectl("label", "fw", "kubectl-life", "seen=yes")
    kubectl("delete", "fw", "kubectl-life", "--grace-period=1", "--timeout=20s")
    assert "NotFound" in kubectl("get", "fw", "kubectl-life", ok=False).stderr


@pytest.mark.ledger("B-133")
def test_agents_have_columns(kubectl):
    head, row, *_ = kubectl("get", "flameagents").stdout.splitlines()
    assert head.split() == ["NAME", "STATUS", "CPU", "MEMORY", "GPU", "WORKLOADS", "HEARTBEAT", "AGE"]
    assert row.split()[1] == "Ready" and row.split()[4] == "2"
    body = json.loads(kubectl("get", "flameagents", "-o", "json").stdout)["items"][0]
    assert body["status"]["capacity"]["nvidia.com/gpu"] == "2" and body["status"]["conditions"][0]["type"] == "Ready"


@pytest.mark.ledger("B-148", "B-149", "B-150")
def test_describe_says_what_is_so(kubectl, gate):
    kubectl("apply", "-f", "-", input=json.dumps(workload("kubectl-told")))
    kubectl("apply", "-f", "-", input=json.dumps(workload("kubectl-waits", limits={"nvidia.com/gpu": 64})))
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "fw/kubectl-told", "--timeout=20s")
    told = kubectl("describe", "fw", "kubectl-told").stdout
    assert "Phase:" in told
    assert "rank 0 (attempt 1) on node" in told
    eventually(lambda: "Gpu" in kubectl("describe", "fw", "kubectl-waits").stdout)
    assert "64 asked" in kubectl("describe", "fw", "kubectl-waits").stdout
    pod = kubectl("describe", "pod", "kubectl-told-0").stdout
    assert "Controlled By:  FlameWorkload/kubectl-told" in pod
    assert "rank 0: Running" in pod
    node = kubectl("describe", "nodes").stdout
    assert "nvidia.com/gpu" in node
    assert "kubectl-told-0" in node
    kubectl("delete", "fw", "kubectl-told", "kubectl-waits", "--grace-period=0", "--force")


@pytest.mark.ledger("B-151")
def test_describe_of_a_quota(kubectl):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "kubectl-quota"},
        "spec": {"hard": {"pods": "50"}},
    }
    kubectl("apply", "-f", "-", input=json.dumps(quota))
    eventually(lambda: "50" in kubectl("describe", "resourcequota", "kubectl-quota", "-n", "default").stdout)
    assert "Used  Hard" in kubectl("describe", "resourcequota", "kubectl-quota").stdout
    kubectl("delete", "resourcequota", "kubectl-quota")


@pytest.mark.ledger("B-161", "B-152")
def test_events_and_nodes(kubectl):
    events = json.loads(kubectl("get", "events", "--sort-by=.metadata.creationTimestamp", "-o", "json").stdout)["items"]
    assert events
    assert all(event["metadata"]["creationTimestamp"] and event["reason"] and event["count"] for event in events)
    assert "LAST SEEN" in kubectl("get", "events").stdout
    nodes = json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
    assert nodes[0]["status"]["capacity"]["nvidia.com/gpu"] == "2"


def test_kinds_of_kubernetes_are_merged_by_its_own_patch(kubectl):
    """kubectl sends a strategic merge for kinds that it knows itself."""
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubectl-svc"},
        "spec": {"selector": {"app": "x"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
    }  # fmt: skip
    kubectl("apply", "-f", "-", input=json.dumps(service))
    service["spec"]["ports"][1] = {"name": "c", "port": 82}
    assert "configured" in kubectl("apply", "-f", "-", input=json.dumps(service)).stdout
    found = json.loads(kubectl("get", "svc", "kubectl-svc", "-o", "json").stdout)["spec"]["ports"]
    assert sorted(port["port"] for port in found) == [80, 82]
    kubectl("apply", "-f", "-", input=json.dumps(config("kubectl-cm", a="1", b="2")))
    kubectl("apply", "-f", "-", input=json.dumps(config("kubectl-cm", a="1")))
    assert json.loads(kubectl("get", "cm", "kubectl-cm", "-o", "json").stdout)["data"] == {"a": "1"}
    kubectl("apply", "--server-side", "-f", "-", input=json.dumps(config("kubectl-ssa", a="1")))
    kubectl("delete", "svc/kubectl-svc", "cm/kubectl-cm", "cm/kubectl-ssa")


def test_what_is_wrong_is_said_by_field(kubectl):
    wrong = workload("kubectl-wrong")
    wrong["spec"]["replcas"] = 3
    said = kubectl("apply", "-f", "-", input=json.dumps(wrong), ok=False).stderr
    assert "is invalid" in said
    assert "spec.replcas" in said
    assert "did you mean replicas?" in said


def test_explain_knows_the_fields(kubectl):
    assert "KIND:       FlameWorkload" in kubectl("explain", "fw.spec.replicas").stdout
    assert "Replicas; the ranks of a Training." in kubectl("explain", "fw.spec.replicas").stdout


def test_a_dry_run_keeps_nothing(kubectl):
    kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(config("kubectl-dry", a="1")))
    assert "NotFound" in kubectl("get", "cm", "kubectl-dry", ok=False).stderr


def test_a_log_is_followed_to_its_end(kubectl):
    job = workload("kubectl-follow", "echo one; sleep 6; echo two", type="Training")
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    kubectl("apply", "-f", "-", input=json.dumps(job))
    eventually(lambda: kubectl("get", "pod", "kubectl-follow-0", ok=False).returncode == 0)
    eventually(lambda: "one" in kubectl("logs", "kubectl-follow-0", ok=False).stdout)
    assert kubectl("logs", "-f", "kubectl-follow-0").stdout == "one\ntwo\n"
    kubectl("delete", "fw", "kubectl-follow")
