"""Settings: what holds, and where it comes from."""

from __future__ import annotations

import re

import pytest
from objects.made import GUIDE, World, config, guide, guide_body, workload

from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.objects.check import named
from flame.core.objects.settings import (
    ClusterSettings,
    Source,
    config_problems,
    config_source,
    effective,
    override_source,
    sources_of,
    values_source,
    view,
)
from flame.core.objects.tree import CONFIG_MAPS
from flame.wire.manifests import checked, embedded_line, parse, read

GI = 1024**3


def from_guide(name: str) -> Source:
    (document,) = guide(name)
    if name == "values":
        return values_source(document.body, document.file, document.lines)
    source = config_source(document.body, parse)
    assert source is not None
    return source


ALL = [from_guide(name) for name in ("values", "flame-config", "gpu-config", "monitoring-config", "logging-config")]

EXPECTED = {
    "global.imageRegistry": "ghcr.io/xflops",
    "global.imagePullPolicy": "IfNotPresent",
    "global.imagePullSecrets": [],
    "resources.limits.cpu": "8",
    "resources.limits.memory": "16Gi",
    "resources.requests.cpu": "2",
    "resources.requests.memory": "4Gi",
    "scheduling.maxConcurrentWorkloads": 20,
    "scheduling.defaultTimeout": "2h",
    "scheduling.maxRetries": 3,
    "scheduling.backoffLimit": 5,
    "storage.defaultStorageClass": "fast-ssd",
    "storage.persistentVolumeSize": "100Gi",
    "storage.accessMode": "ReadWriteMany",
    "networking.serviceType": "ClusterIP",
    "networking.ingressEnabled": False,
    "networking.loadBalancerIP": "",
    "security.enableRBAC": True,
    "security.enableNetworkPolicies": True,
    "security.podSecurityPolicies": True,
    "core.replicaCount": 3,
    "core.resources.limits.memory": "8Gi",
    "core.enableMetrics": True,
    "core.enableTracing": True,
    "agent.replicaCount": 5,
    "agent.resources.requests.cpu": "0.5",
    "agent.heartbeatInterval": "30s",
    "agent.resourceUpdateInterval": "1m",
    "agent.maxConcurrentWorkloads": 10,
    "apiServer.replicaCount": 2,
    "apiServer.enableSwagger": True,
    "apiServer.corsEnabled": True,
    "apiServer.rateLimit.enabled": True,
    "apiServer.rateLimit.requestsPerSecond": 100,
    "gpu.sharing.enabled": True,
    "gpu.sharing.maxWorkloadsPerGPU": 4,
    "gpu.sharing.memoryFraction": 0.25,
    "gpu.monitoring.metrics": ["utilization", "memory_used", "temperature", "power_draw"],
    "gpu.scheduling.strategy": "binpack",
    "gpu.scheduling.gangScheduling": True,
    "metrics.port": 9090,
    "metrics.path": "/metrics",
    "prometheus.scrapeInterval": "15s",
    "prometheus.retention": "30d",
    "grafana.enabled": True,
    "logging.level": "info",
    "logging.format": "json",
    "logging.structured.enabled": True,
}


@pytest.mark.ledger("B-001", "B-020", "B-023", "B-024", "B-092")
def test_every_key_of_the_guide_holds_what_it_says():
    settings = effective(ALL)
    assert {path: settings[path] for path in EXPECTED} == EXPECTED
    assert [metric["name"] for metric in settings["metrics.custom"]] == [
        "workload_duration",
        "gpu_utilization",
        "resource_allocation",
    ]
    assert settings["metrics.custom"][0]["buckets"] == [1, 5, 10, 30, 60, 300, 600, 1800, 3600]
    assert [output["type"] for output in settings["logging.outputs"]] == ["stdout", "file", "fluentd"]
    assert [dashboard["name"] for dashboard in settings["grafana.dashboards"]] == [
        "Flame Overview",
        "Workload Performance",
    ]


def test_every_key_knows_where_it_comes_from():
    settings = effective(ALL)
    assert settings.origin("scheduling.maxRetries") == "ConfigMap flame-system/flame-config config.yaml:20"
    assert re.fullmatch(r"values\.yaml:\d+", settings.origin("agent.heartbeatInterval"))
    assert effective().origin("scheduling.maxRetries") == "default"
    assert {s.path.split(".")[0] for s in settings.show("gpu")} == {"gpu"} and len(settings.show("gpu")) == 8
    with pytest.raises(NotFound) as caught:
        settings.origin("scheduling.maxRetrys")
    assert "did you mean scheduling.maxRetries?" in caught.value.hint


@pytest.mark.ledger("B-020")
def test_the_order_is_defaults_config_maps_values_overrides():
    text = "flame: {core: {config: {maxConcurrentWorkloads: 7, defaultTimeout: 1h}}, agent: {config: {heartbeatInterval: 5s}}}"
    (document,) = read(text, "v.yaml")
    values = values_source(document.body, "v.yaml", document.lines)
    maps = from_guide("flame-config")
    assert effective([values])["scheduling.maxConcurrentWorkloads"] == 7
    assert effective([maps])["scheduling.maxConcurrentWorkloads"] == 20
    for order in ([values, maps], [maps, values]):
        settings = effective(order)
        assert settings["scheduling.maxConcurrentWorkloads"] == 7
        assert settings.origin("agent.heartbeatInterval") == "v.yaml:1"
        assert settings.origin("scheduling.maxRetries").startswith("ConfigMap flame-system/flame-config")
    settings = effective([override_source({"scheduling.maxConcurrentWorkloads": 1}), values, maps])
    assert (settings["scheduling.maxConcurrentWorkloads"], settings.origin("scheduling.maxConcurrentWorkloads")) == (
        1,
        "override",
    )


@pytest.mark.ledger("B-020")
@pytest.mark.parametrize(("key", "word"), [("imageRegistry", "registry.example/team"), ("imagePullPolicy", "Never")])
def test_global_keys_mean_the_same_in_both_and_the_values_file_wins(key, word):
    world = World()
    path = f"global.{key}"
    maps = {"metadata": {"name": "flame-config", "namespace": "flame-system"}}
    world.apply({**config(**{"config.yaml": f"global: {{{key}: {word}}}"}), **maps})
    assert effective(sources_of(world.objects, parse))[path] == word
    other = "Always" if key == "imagePullPolicy" else "registry.example/other"
    world.apply({**config(**{"config.yaml": f"global: {{{key}: {other}}}"}), **maps})
    world.apply(named({"global": {key: word}}))
    settings = effective(sources_of(world.objects, parse))
    assert (settings[path], settings.origin(path)) == (word, "FlameValues flame")
    world.apply(named({"flame": {}}))
    assert effective(sources_of(world.objects, parse))[path] == other


def test_without_any_source_containers_get_no_defaults():
    assert view(effective()) == ClusterSettings()
    found = view(effective(ALL))
    assert found.default_limits == {"cpu": 8000, "memory": 16 * GI}
    assert found.default_requests == {"cpu": 2000, "memory": 4 * GI}
    assert (found.agent_max_workloads, found.rate_limit, found.cors) == (10, 100, True)
    assert view(effective([override_source({"apiServer.rateLimit.enabled": False})])).rate_limit == 0


MISSPELT = {
    "flame-config": "maxRetries",
    "gpu-config": "memoryFraction",
    "monitoring-config": "retention",
    "logging-config": "maxBackups",
}


@pytest.mark.parametrize("name", sorted(MISSPELT))
def test_an_unknown_key_inside_of_a_config_map_names_its_line_in_the_file(name):
    word = MISSPELT[name]
    path = CONFIG_MAPS[name][0]
    text = (GUIDE / f"{name}.yaml").read_text().replace(f"{word}:", f"{word}x:")
    line = next(n for n, words in enumerate(text.splitlines(), 1) if f"{word}x:" in words)
    (document,) = read(text, "cm.yaml")
    (problem,) = [
        p
        for p in config_problems(document.body, parse, lambda at, inner: embedded_line(document, at, inner))
        if "unknown" in p.message
    ]
    assert problem.line == line and problem.path == f"data[{path}]"
    assert f"did you mean {word}?" in problem.hint
    with pytest.raises(InvalidArgument) as caught:
        checked(document)
    assert caught.value.message.startswith(f"cm.yaml:{line}: data[{path}]: {path}:")
    world = World()
    with pytest.raises(InvalidArgument) as caught:
        world.apply(document.body)
    assert f"{path}:" in caught.value.message and f"did you mean {word}?" in caught.value.message
    assert world.objects.version == 1


@pytest.mark.ledger("B-095")
def test_sharers_that_need_more_memory_than_there_is_are_refused_at_load():
    body = guide_body("gpu-config")
    body["data"] = {"gpu-config.yaml": body["data"]["gpu-config.yaml"].replace("0.25", "0.30")}
    with pytest.raises(InvalidArgument, match=r"4 workloads x 0\.3 of the memory is 1\.2"):
        World().apply(body)
    with pytest.raises(InvalidArgument, match="more than one GPU has"):
        effective([from_guide("gpu-config"), override_source({"gpu.sharing.maxWorkloadsPerGPU": 8})])
    ten = effective([override_source({"gpu.sharing.maxWorkloadsPerGPU": 10, "gpu.sharing.memoryFraction": 0.1})])
    assert ten["gpu.sharing.memoryFraction"] == 0.1


def test_values_that_are_not_legal_with_the_defaults_are_refused_before_they_are_stored():
    world = World()
    (document,) = read("flame: {core: {resources: {requests: {cpu: 9}}}}\n", "values.yaml")
    for write in (lambda: checked(document), lambda: world.apply(named(document.body))):
        with pytest.raises(InvalidArgument, match="asks for 9, more than its limit of 4"):
            write()
    assert effective(sources_of(world.objects, parse))["core.resources.requests.cpu"] == "1"


@pytest.mark.ledger("B-003")
def test_a_value_that_is_not_legal_is_refused_with_the_legal_ones():
    with pytest.raises(InvalidArgument, match="known: Always, IfNotPresent, Never"):
        effective([override_source({"global.imagePullPolicy": "Sometimes"})])
    with pytest.raises(InvalidArgument) as caught:
        effective(
            [override_source({"resources.requests.cpu": "9", "scheduling.maxRetries": "3"}), from_guide("flame-config")]
        )
    assert "leave the quotes out" in caught.value.message
    with pytest.raises(InvalidArgument, match="more than its limit of 8"):
        effective([override_source({"resources.requests.cpu": "9"}), from_guide("flame-config")])


@pytest.mark.ledger("B-005", "B-006")
def test_containers_are_bounded_by_what_the_cluster_allows():
    world = World()
    world.apply(guide_body("flame-config"))
    world.apply(guide_body("workload"))  # 8 CPUs and 16Gi are just allowed
    body = workload()
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "9"}}
    with pytest.raises(
        InvalidArgument, match=r"containers\[0\].resources.limits.cpu: is 9, more than this cluster allows: 8"
    ):
        world.apply(body)


def test_config_maps_elsewhere_are_nobodys_settings():
    world = World()
    world.apply(
        {**config(**{"config.yaml": "nonsense: ["}), "metadata": {"name": "flame-config", "namespace": "default"}}
    )
    assert world.settings() == ClusterSettings()
    with pytest.raises(InvalidArgument, match=r"data\[config.yaml\] is missing"):
        world.apply({**config(), "metadata": {"name": "flame-config", "namespace": "flame-system"}})
    with pytest.raises(InvalidArgument, match="not YAML"):
        world.apply(
            {**config(**{"config.yaml": "a: ["}), "metadata": {"name": "flame-config", "namespace": "flame-system"}}
        )
    with pytest.raises(InvalidArgument, match=r"did you mean config\.yaml"):
        world.apply(
            {**config(**{"config.yml": "a: 1"}), "metadata": {"name": "flame-config", "namespace": "flame-system"}}
        )
