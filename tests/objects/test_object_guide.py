"""Every YAML block of the documented system is accepted as it is, and means what it says."""

from __future__ import annotations

import pytest
from objects.made import GUIDE, World, guide, guide_body

from flame.core.model.rules import LabelSelector, Requirement, Toleration
from flame.core.objects.check import check, ignored_fields, named
from flame.core.objects.kinds import KINDS
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.settings import ClusterSettings
from flame.core.objects.workload import read_workload

BLOCKS = sorted(path.stem for path in GUIDE.glob("*.yaml"))
GI = 1024**3


def test_all_blocks_are_here():
    assert len(BLOCKS) == 13


@pytest.mark.ledger("B-038")
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_accepted_twice_and_changes_nothing_the_second_time(name):
    world = World()
    for expected in ("created", "unchanged"):
        version = world.objects.version
        for document in guide(name):
            body = named(document.body)
            check(body, document.file, document.lines)
            assert world.apply(body).change == expected
        assert expected == "created" or world.objects.version == version


@pytest.mark.parametrize("name", BLOCKS)
def test_a_dry_run_answers_the_same_and_keeps_nothing(name):
    world = World()
    for document in guide(name):
        change = world.apply(named(document.body), dry_run=True)
        assert change.change == "created" and not change.records
    assert world.objects.version == 1


@pytest.mark.ledger(
    "B-042", "B-045", "B-046", "B-047", "B-048", "B-049", "B-050", "B-055", "B-056", "B-057", "B-062", "B-063"
)
def test_the_example_workload_means_what_it_says():
    found = read_workload(guide_body("workload"), ClusterSettings())
    assert (found.type, found.replicas, found.gang, found.min_available) == ("Training", 4, True, 4)
    assert found.rules.node_selector == (("node-type", "gpu"),)
    assert found.rules.tolerations == (Toleration("nvidia.com/gpu", "Exists", "", "NoSchedule"),)
    assert found.rules.required_nodes[0].expressions == (Requirement("nvidia.com/gpu", "Exists"),)
    assert found.requests == {"gpu": 1000, "memory": 8 * GI, "cpu": 4000}
    assert found.limits == {"gpu": 1000, "memory": 16 * GI, "cpu": 8000}
    assert (found.restart, found.grace, found.claims) == ("Never", 60.0, ("data-pvc", "models-pvc"))
    assert found.priority_class == "flame-high-priority" and found.auto_scaling
    main = found.containers[0]
    assert main.command + main.args == (
        "python",
        "train.py",
        "--epochs=100",
        "--batch-size=64",
        "--learning-rate=0.001",
    )
    assert [(p.name, p.port) for p in main.ports] == [("http", 8080), ("metrics", 9090)]
    assert [(v.volume, v.path) for v in main.mounts] == [("data", "/data"), ("models", "/models"), ("logs", "/logs")]
    assert [v.kind for v in found.volumes] == ["claim", "claim", "empty"]
    live, ready = main.liveness, main.readiness
    assert live and (live.kind, live.path, live.port, live.initial_delay, live.period) == (
        "http",
        "/health",
        "8080",
        60,
        30,
    )
    assert ready and (ready.path, ready.initial_delay, ready.period) == ("/ready", 30, 10)
    assert {e.name: e.value for e in main.env}["FLAME_RANK"] == "$(FLAME_RANK)"
    assert found.labels == {"app": "example", "environment": "production", "workload": "example-workload"}
    assert found.missing == () and not ignored_fields(WORKLOAD, guide_body("workload"))


def test_default_timeout_binds_training_and_not_what_serves():
    assert read_workload(guide_body("workload"), ClusterSettings()).timeout == 7200
    served = read_workload(guide_body("canary"), ClusterSettings())
    assert served.timeout is None and served.restart == "Always" and not served.gang


def test_the_priority_classes_stand_in_order():
    world = World()
    for number in range(3):
        world.apply(guide_body("priority-classes", number))
    found = {
        s.key.name: (s.body["value"], s.body["globalDefault"])
        for s in world.objects.list("PriorityClass", "default").items
    }
    assert found == {
        "flame-high-priority": (1_000_000, False),
        "flame-normal-priority": (100_000, True),
        "flame-low-priority": (10_000, False),
    }


def test_what_has_a_meaning_on_kubernetes_only_says_so():
    assert "on Kubernetes only" in World().apply(guide_body("network-policy")).warnings[0]
    assert not World().apply(guide_body("rbac")).warnings
    assert not World().apply(guide_body("workload")).warnings


def test_labels_of_the_example_select_it():
    world = World()
    world.apply(guide_body("workload"))
    assert [
        s.key.name for s in world.objects.list("FlameWorkload", "default", labels="environment=production").items
    ] == ["example-workload"]
    assert not world.objects.list("FlameWorkload", "default", labels="environment!=production").items
    selector = LabelSelector((Requirement("app", "In", ("example",)),))
    assert len(world.objects.list("FlameWorkload", "default", labels=selector).items) == 1


def test_the_quota_names_every_resource_of_the_guide():
    hard = guide_body("quota")["spec"]["hard"]
    assert len(hard) == 9
    assert not list(KINDS["ResourceQuota"].schema.problems(guide_body("quota"), ""))
