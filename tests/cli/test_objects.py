"""flame get, describe, events, wait, delete, patch, scale, label, annotate, explain, top: the grammar of kubectl."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml
from cli.test_apply import train

from flame.testing.cluster import eventually


@pytest.fixture
def running(flame):
    ran = flame("apply", "-f", "-", stdin=train())
    assert "Where:" in ran.out, ran
    eventually(lambda: flame("get", "fw", "train", "-o", "jsonpath={.status.readyReplicas}").out == "2\n")
    return flame


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_voices_of_get(running):
    table = rows(running("get", "workloads").out)
    assert table[0] == ["Name", "Type", "Phase", "Replicas", "Ready", "Reason", "Age"]
    assert table[1][:6] == ["train", "Training", "Running", "2", "2", "-"]
    assert rows(running("get", "fw", "-o", "wide").out)[0][-3:] == ["Priority", "Strategy", "Age"]
    assert running("get", "fw/train", "-o", "name").out == "flameworkload.flame.xflops.cn/train\n"
    one = json.loads(running("get", "flameworkload", "train", "-o", "json").out)
    assert one["kind"] == "FlameWorkload" and one["status"]["phase"] == "Running"
    many = json.loads(running("get", "pods", "-o", "json").out)
    assert many["kind"] == "List" and [pod["metadata"]["name"] for pod in many["items"]] == ["train-0", "train-1"]
    assert yaml.safe_load(running("get", "pods", "-o", "yaml").out)["items"] == many["items"]
    path = "jsonpath={range}".replace("{range}", "{.items[*].metadata.name}")
    assert running("get", "po", "-o", path).out == "train-0 train-1\n"
    nodes = json.loads(running("get", "nodes", "-o", "json").out)
    assert nodes["items"][0]["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert "pod/train-1" in running("get", "all").out
    assert rows(running("get", "pods,nodes").out)[-1][0].startswith("node/")


@pytest.mark.ledger("B-091")
def test_classes_are_described(flame):
    body = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000
description: For what a person waits for.
"""
    flame("apply", "-f", "-", stdin=body)
    table = flame("get", "priorityclasses").out
    assert rows(table)[0][:2] == ["Name", "Value"] and "For what a person waits for." in table


def test_selectors_sorting_and_names(running):
    label = "flame.xflops.cn/rank=1"
    assert running("get", "pods", "-l", label, "-o", "name").out == "pod/train-1\n"
    assert running("get", "pods", "--field-selector", "metadata.name=train-0", "-o", "name").out == "pod/train-0\n"
    by = running("get", "pods", "--sort-by", ".metadata.labels.flame\\.xflops\\.cn/rank", "-o", "name").out.split()
    assert by == ["pod/train-0", "pod/train-1"]
    assert running("get", "pod", "train-1", "train-0", "-o", "name").out.split() == ["pod/train-1", "pod/train-0"]
    wrong = running("get", "pods", "-l", "a=b=c")
    assert wrong.code == 65 and "label selector" in wrong.err
    assert running("get", "pod", "nobody").code == 68
    typo = running("get", "workloadz")
    assert typo.code == 68 and "did you mean" in typo.err
    empty = running("get", "quota")
    assert (empty.code, empty.out) == (0, "") and "There are no resourcequotas in namespace default." in empty.err


@pytest.mark.ledger("B-148", "B-149", "B-150")
def test_describe(running):
    text = running("describe", "workload", "train").out
    for words in (
        "Phase:             Running",
        "2 wanted, 2 there, 2 ready",
        "Each asks:         cpu 1",
        "Conditions:",
        "Events:",
        "Next:",
    ):
        assert words in text, text
    table = [line.split() for line in text.splitlines() if line.strip().startswith("train-")]
    assert [row[0] for row in table] == ["train-0", "train-1"] and table[0][2:4] == ["1/1", "Running"]
    assert "Scheduled  flameworkload/train" in text and "pod/train-0" in text
    pod = running("describe", "pod", "train-0").out
    assert "Owner:             FlameWorkload/train" in pod and "State:           running" in pod and "Running" in pod
    node = running("describe", "node").out
    line = next(line.split() for line in node.splitlines() if line.split()[:1] == ["cpu"])
    assert line == ["cpu", "4", "4", "2", "50%"], "two replicas of one CPU"
    assert "SIM-nvidia-a100-0" in node and "cpu=1" in node


@pytest.mark.ledger("B-151")
def test_describe_quota(running):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"requests.cpu": "3", "pods": "9"}},
    }
    try:
        assert running("apply", "-f", "-", stdin=json.dumps(quota)).code == 0

        def lines():
            return [
                line.split() for line in running("describe", "resourcequota", "team", "-n", "default").out.splitlines()
            ]

        eventually(lambda: ["requests.cpu", "2", "3"] in lines() and ["pods", "2", "9"] in lines(), 10, str(lines()))
    finally:
        running("delete", "quota", "team")


@pytest.mark.ledger("B-085", "B-086")
def test_what_a_quota_keeps_waiting_is_shown(flame):
    space = ("-n", "counted")
    assert flame("create", "namespace", "counted").code == 0
    spec = {"hard": {"persistentvolumeclaims": "1", "services": "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}
    claims = [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {}} for name in "ab"
    ]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}}
    try:
        for body in (quota, *claims, service):
            ran = flame("apply", "-f", "-", *space, stdin=json.dumps(body))
            assert ran.code == 0, ran
        assert "it waits: quota counted/few: services used 0, hard 0, asked 1" in ran.err
        table = rows(flame("get", "pvc", *space).out)
        assert [(line[0], line[1]) for line in table] == [("Name", "Status"), ("a", "Bound"), ("b", "Pending")]
        assert "Pending" in flame("get", "svc", "web", *space).out
        text = "quota counted/few: persistentvolumeclaims used 1, hard 1, asked 1"
        told = flame("describe", "pvc", "b", *space).out
        assert text in told.partition("Conditions:")[2].partition("Events:")[0]
        assert text in told.partition("Events:")[2] and "QuotaExceeded" in told.partition("Events:")[2]
        pod = "      volumes: [{name: data, persistentVolumeClaim: {claimName: b}}]\n"
        assert flame("apply", "-f", "-", *space, stdin=train() + pod).code == 0
        why = flame("debug", "workload", "train", *space).out
        assert why.splitlines()[0] == f"train: quota: PersistentVolumeClaim b waits: {text}"
        assert flame("delete", "pvc", "a", *space).code == 0
        assert flame("get", "pvc", "b", *space, "-o", "jsonpath={.status.phase}").out == "Bound\n"
        eventually(lambda: flame("get", "fw", "train", *space, "-o", "jsonpath={.status.readyReplicas}").out == "2\n")
    finally:
        for words in (("quota", "few"), ("pvc", "a"), ("pvc", "b"), ("svc", "web")):
            flame("delete", *words, *space, "--ignore-not-found")


@pytest.mark.ledger("B-161")
def test_events(running):
    items = json.loads(running("events", "-o", "json").out)["items"]
    for event in items:
        assert event["metadata"]["creationTimestamp"] and event["count"] >= 1 and event["reason"]
    stamps = [event["lastTimestamp"] for event in items]
    assert stamps == sorted(stamps)
    mine = rows(running("events", "--for", "workload/train").out)
    assert {row[3] for row in mine[1:]} == {"flameworkload/train", "pod/train-0", "pod/train-1"}
    assert running("events", "--for", "workload/nobody").code == 68
    by = running("get", "events", "--sort-by=.metadata.creationTimestamp")
    assert by.code == 0 and "Scheduled" in by.out


def test_scale_patch_label_annotate(flame):
    flame("apply", "-f", "-", stdin=train().replace("Training", "Inference").replace("Never", "Always"))
    assert flame("scale", "train", "--replicas", "1").out == "flameworkload.flame.xflops.cn/train scaled\n"
    eventually(lambda: flame("get", "pods", "-o", "name").out == "pod/train-0\n")
    assert flame("patch", "fw", "train", "-p", '{"spec": {"replicas": 2}}').out.endswith("patched\n")
    change = '[{"op": "replace", "path": "/spec/replicas", "value": 1}]'
    assert (
        json.loads(flame("patch", "fw/train", "--type", "json", "-p", change, "-o", "json").out)["spec"]["replicas"]
        == 1
    )
    assert flame("patch", "fw", "train", "-p", "[1]").code == 65
    assert flame("patch", "fw", "train", "-p", '{"spec": {"replics": 2}}').code == 65
    assert flame("label", "fw", "train", "tier=gold").out.endswith("labeled\n")
    refused = flame("label", "fw", "train", "tier=lead")
    assert refused.code == 65 and "--overwrite" in refused.err
    assert flame("label", "fw", "train", "tier=lead", "--overwrite").code == 0
    assert flame("get", "fw", "-l", "tier=lead", "-o", "name").out
    assert flame("label", "fw", "train", "tier-").code == 0
    assert not flame("get", "fw", "-l", "tier", "-o", "name").out
    assert flame("annotate", "fw", "train", "note=a b").code == 0
    assert "note=a b" in flame("describe", "fw", "train").out
    assert flame("scale", "nobody", "--replicas", "1").code == 68


def test_delete(running, tmp_path):
    (tmp_path / "t.yaml").write_text(train() + "---\n" + train("other"))
    running("apply", "-f", "t.yaml")
    assert running("delete", "fw", "train", "--dry-run=server").code == 0 and "train" in running("get", "fw").out
    done = running("delete", "-f", "t.yaml", "--grace-period", "0")
    assert done.code == 0 and done.out.splitlines() == [
        f"flameworkload.flame.xflops.cn/{name} deleted" for name in ("other", "train")
    ]
    assert running("get", "all", "-o", "name").out == "", "it waited until they were gone"
    assert running("delete", "fw", "train").code == 68
    assert running("delete", "fw", "train", "--ignore-not-found").code == 0
    assert running("delete", "fw").code == 65
    assert running("delete", "pods", "--all").code == 65


def test_delete_by_selector(running):
    running("apply", "-f", "-", stdin=train("other", cpu="2"))
    assert running("delete", "fw", "-l", "app=other", "--force").code == 0
    assert running("get", "fw", "-o", "name").out == "flameworkload.flame.xflops.cn/train\n"


def test_wait(flame):
    quick = train().replace('[sleep, "600"]', '[sh, -c, "sleep 0.5"]')
    flame("apply", "-f", "-", stdin=quick)
    done = flame("wait", "workload/train", "--for=condition=Complete", "--timeout=20s")
    assert (done.code, done.out) == (0, "flameworkload/train condition met\n")
    assert flame("wait", "workload/train", "--for=jsonpath={.status.phase}=Succeeded").code == 0
    never = flame("wait", "workload/train", "--for=condition=Ready", "--timeout=60s")
    assert never.code == 66 and "will not be Ready" in never.err, "it says so at once"
    assert flame("wait", "fw", "train", "--for=condition=Failed=False").code == 0
    assert flame("wait", "fw", "train", "--for=delete", "--timeout", "0").code == 75
    flame("delete", "fw", "train")
    assert flame("wait", "fw", "train", "--for=delete").code == 0
    assert flame("wait", "fw", "train", "--for=condition=Ready").code == 68
    late = flame("wait", "fw", "train", "--for=create", "--timeout", "100ms")
    assert late.code == 75
    assert flame("wait", "fw", "train", "--for=happiness").code == 65


@pytest.mark.parametrize("words", [("get", "fw", "-w"), ("get", "fw", "-w", "-o", "json"), ("events", "-w")])
def test_watching(flame, words):
    flame("apply", "-f", "-", stdin=train("first"))
    process = subprocess.Popen(["flame", *words], env=flame.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        seen = ""
        while "first" not in seen:
            seen += process.stdout.readline()
        flame("apply", "-f", "-", stdin=train("second"))
        while "second" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
    finally:
        process.kill()
        process.communicate()


def test_explain_says_what_a_field_is(flame):
    text = flame("explain", "workload.spec.strategy").out
    assert "KIND:     FlameWorkload" in text and "FIELD:    spec.strategy <object>" in text and "rollingUpdate" in text
    assert flame("explain", "pods").code == 0
    wrong = flame("explain", "fw.spec.stratgy")
    assert wrong.code == 68 and "did you mean strategy?" in wrong.err


@pytest.mark.ledger("B-154")
def test_top(running):
    ran = running("top", "nodes")
    assert "2/4 (50%)" in ran.out and "not measured" in ran.err
    assert json.loads(running("top", "workloads", "-o", "json").out)[0]["cpu"] == "2"
    assert [one["name"] for one in json.loads(running("top", "pods", "-o", "json").out)] == ["train-0", "train-1"]
    assert running("top", "models").code == 65


def test_completion_knows_kinds_and_names(running):
    def complete(*words):
        line = " ".join(("flame", *words))
        env = {"_FLAME_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        return running(**env).out.split()

    assert "flameworkloads" in complete("get", "flamew")
    assert complete("get", "fw", "tr") == ["train"]
    assert complete("debug", "workload", "tr") == ["train"]
    assert "flame-system" in complete("get", "fw", "-n", "flame-")
