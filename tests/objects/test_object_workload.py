"""A workload, read: defaults, resources, GPUs, references."""

from __future__ import annotations

import base64

import pytest
from objects.made import config, workload

from flame.core.model.messages import EnvVar
from flame.core.model.rules import NodeTerm, Requirement
from flame.core.objects.check import check
from flame.core.objects.settings import ClusterSettings
from flame.core.objects.workload import config_names, read_workload

GI = 1024**3
SETTINGS = ClusterSettings(
    default_limits={"cpu": 8000, "memory": 16 * GI}, default_requests={"cpu": 2000, "memory": 4 * GI}
)


def read(settings=SETTINGS, configs=None, **changes):
    body = workload(**changes.pop("spec", {}))
    body["metadata"] |= changes.pop("metadata", {})
    pod = body["spec"]["template"]["spec"]
    pod |= changes.pop("pod", {})
    pod["containers"][0] |= changes
    check(body)
    return read_workload(body, settings, configs)


@pytest.mark.ledger("B-005", "B-006")
@pytest.mark.parametrize(
    ("resources", "requests", "limits"),
    [
        ({}, {"cpu": 2000, "memory": 4 * GI}, {"cpu": 8000, "memory": 16 * GI}),
        ({"limits": {"cpu": "1"}}, {"cpu": 1000, "memory": 4 * GI}, {"cpu": 1000, "memory": 16 * GI}),
        (
            {"requests": {"cpu": "500m", "memory": "1e9"}},
            {"cpu": 500, "memory": 10**9},
            {"cpu": 8000, "memory": 16 * GI},
        ),
        (
            {"limits": {"memory": "2Gi", "x.io/fpga": 2}},
            {"cpu": 2000, "memory": 2 * GI, "x.io/fpga": 2},
            {"cpu": 8000, "memory": 2 * GI, "x.io/fpga": 2},
        ),
    ],
)
def test_resources_with_the_clusters_defaults(resources, requests, limits):
    found = read(resources=resources)
    assert (found.requests, found.limits) == (requests, limits)


def test_without_configured_defaults_there_are_none():
    assert read(ClusterSettings()).requests == {} == read(ClusterSettings()).limits


@pytest.mark.parametrize(
    ("changes", "gpu"),
    [
        ({"resources": {"limits": {"nvidia.com/gpu": 2}}}, 2000),
        ({"resources": {"limits": {"nvidia.com/gpu": 1}}, "spec": {"scheduling": {"gpu": {"fraction": 0.25}}}}, 250),
        ({"spec": {"scheduling": {"gpu": {"fraction": 0.5}}}}, 500),
        ({"metadata": {"annotations": {"flame.xflops.cn/gpu-fraction": "0.1"}}}, 100),
        ({}, None),
    ],
)
def test_gpus_and_parts_of_one(changes, gpu):
    found = read(ClusterSettings(), **changes)
    assert found.requests.get("gpu") == found.limits.get("gpu") == gpu
    assert found.containers[0].requests.get("gpu") == gpu


def test_init_containers_count_where_they_need_more():
    found = read(
        ClusterSettings(),
        resources={"limits": {"cpu": 2, "memory": "1Gi"}},
        pod={"initContainers": [{"name": "init", "resources": {"limits": {"cpu": 1, "memory": "3Gi"}}}]},
    )
    assert found.requests == {"cpu": 2000, "memory": 3 * GI}
    assert [c.name for c in found.init] == ["init"]


@pytest.mark.parametrize(
    ("spec", "restart", "gang", "timeout"),
    [
        ({}, "OnFailure", True, 7200.0),
        ({"type": "Inference"}, "Always", False, None),
        ({"type": "Hybrid"}, "Always", False, None),
        ({"timeout": "90s"}, "OnFailure", True, 90.0),
        ({"type": "Inference", "timeout": "1h", "scheduling": {"gang": True}}, "Always", True, 3600.0),
        ({"scheduling": {"gang": False}}, "OnFailure", False, 7200.0),
    ],
)
def test_defaults_follow_the_type(spec, restart, gang, timeout):
    found = read(spec=spec)
    assert (found.restart, found.gang, found.timeout) == (restart, gang, timeout)
    assert (found.retries, found.backoff_limit, found.grace) == (3, 5, 30.0)


def test_nothing_given_is_not_zero():
    found = read(spec={"maxRetries": 0, "backoffLimit": 0, "replicas": 0}, pod={"terminationGracePeriodSeconds": 0})
    assert (found.retries, found.backoff_limit, found.grace, found.replicas) == (0, 0, 0.0, 0)


@pytest.mark.ledger("B-040")
def test_priority_by_name_goes_before_the_annotation():
    note = {"annotations": {"flame.xflops.cn/priority": "low"}}
    assert read(metadata=note).priority_class == "flame-low-priority"
    assert read(metadata=note, pod={"priorityClassName": "p"}).priority_class == "p"
    assert (
        read(
            metadata=note, pod={"priorityClassName": "p"}, spec={"scheduling": {"priorityClassName": "q"}}
        ).priority_class
        == "q"
    )
    assert read().priority_class == ""


def required(*keys):
    terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in keys]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def test_scheduling_and_template_both_bind():
    found = read(
        spec={"scheduling": {"affinity": required("a", "b"), "nodeSelector": {"x": "1"}}},
        pod={"affinity": required("c"), "nodeName": "n1", "nodeSelector": {"x": "2"}},
    )
    name = (Requirement("metadata.name", "In", ("n1",)),)
    c = Requirement("c", "Exists")
    assert found.rules.required_nodes == (
        NodeTerm((Requirement("a", "Exists"), c), name),
        NodeTerm((Requirement("b", "Exists"), c), name),
    )
    assert found.rules.node_selector == (("x", "1"), ("x", "2"))


def test_affinity_and_spread_are_read_whole():
    term = {"labelSelector": {"matchLabels": {"app": "w"}}, "topologyKey": "zone"}
    found = read(
        spec={
            "scheduling": {
                "affinity": {
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "podAffinityTerm": term}]
                    },
                },
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 2,
                        "topologyKey": "zone",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {},
                        "minDomains": 3,
                    }
                ],
                "gpu": {"model": "H100", "memory": "80Gi"},
            }
        }
    ).rules
    assert found.near[0].weight == 0 and found.apart[0].weight == 7
    assert found.required_near == found.near and found.required_apart == ()
    spread = found.spread[0]
    assert (spread.max_skew, spread.hard, spread.min_domains) == (2, True, 3)
    assert (found.gpu_model, found.gpu_memory) == ("H100", 80 * GI)


def test_environment_and_files_from_config_maps():
    changes = {
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
            {"name": "SPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
            {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a", "optional": True}}},
            {"name": "P_a", "value": "mine"},
        ],
        "pod": {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "b", "path": "x/b"}]}}]},
        "metadata": {"labels": {"team": "red"}},
    }
    known = {"c": {**config(a="1"), "binaryData": {"b": base64.b64encode(b"\0\1").decode()}}}
    found = read(configs=known, **changes)
    assert found.containers[0].env == (
        EnvVar("P_a", "mine"),
        EnvVar("A", "1"),
        EnvVar("NODE", "$(NODE_NAME)"),
        EnvVar("ACCOUNT", "default"),
        EnvVar("SPACE", "default"),
        EnvVar("TEAM", "red"),
    )
    assert found.volumes[0].files == {"x/b": b"\0\1"} and found.missing == ()
    body = workload()
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = changes["envFrom"]
    assert config_names(body) == ("c",)
    assert read(**changes).missing == ("ConfigMap c",)
    assert read(configs={"c": config()}, **changes).missing == ("key a of ConfigMap c", "key b of ConfigMap c")


@pytest.mark.parametrize(
    ("probe", "kind", "port"),
    [
        ({"tcpSocket": {"port": 80}}, "tcp", "80"),
        ({"exec": {"command": ["true"]}, "timeoutSeconds": 5, "failureThreshold": 1}, "exec", ""),
        ({"httpGet": {"port": 80, "httpHeaders": [{"name": "A", "value": "b"}]}}, "http", "80"),
    ],
)
def test_probes(probe, kind, port):
    found = read(startupProbe=probe).containers[0].startup
    assert found and (found.kind, found.port) == (kind, port)
    assert found.timeout == probe.get("timeoutSeconds", 1) and found.failure == probe.get("failureThreshold", 3)
