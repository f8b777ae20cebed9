"""Schemas: what is wrong is told with the place and what was probably meant."""

from __future__ import annotations

import json
import math
import re
from copy import deepcopy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from objects.made import guide_body, smallest, workload

from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.base.quantity import parse_duration, parse_quantity, quantity_milli, quantity_units
from flame.core.objects.check import check, ignored_fields, validate
from flame.core.objects.describe import explain, find_field, openapi, show_defaults, with_defaults
from flame.core.objects.kinds import KINDS, find_kind
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.paths import dig, join, parts
from flame.core.objects.stamps import seconds, stamp
from flame.wire.manifests import checked, read


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_smallest_object_of_every_kind_is_legal(kind):
    assert validate(KINDS[kind], smallest(kind)) == [] == validate(kind.lower(), smallest(kind))


@pytest.mark.ledger("B-001", "B-038")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_misspelt_key_in_every_kind_gives_file_line_and_nearest_key(kind):
    body = smallest(kind)
    body["metadata"]["anotations"] = {"a": "b"}
    text = "# a comment\n" + yaml.safe_dump(body, sort_keys=False)
    line = next(n for n, words in enumerate(text.splitlines(), 1) if "anotations" in words)
    (document,) = read(text, "it.yaml")
    with pytest.raises(InvalidArgument) as caught:
        check(document.body, document.file, document.lines)
    assert caught.value.message.startswith(f"it.yaml:{line}: metadata.anotations: unknown field 'anotations'")
    assert "did you mean annotations?" in caught.value.message


WRONG = [
    ("spec.replicas", "four", "must be a whole number, found text 'four'"),
    ("spec.replicas", "4", "leave the quotes out"),
    ("spec.replicas", True, "found boolean true"),
    ("spec.replicas", -1, "must be at least 0"),
    ("spec.type", "Trainig", "did you mean Training?"),
    ("spec.timeout", "2 hours", "not a duration"),
    ("spec.timeout", "0s", "more than nothing"),
    ("spec.scheduling", {"gangs": True}, "did you mean gang?"),
    ("spec.scheduling", {"minAvailable": 2}, "more than replicas (1)"),
    ("spec.scheduling", {"gpu": {"fraction": 1.5}}, "at most 1"),
    ("spec.scheduling", {"nodeSelector": {"a b": "c"}}, "a key has"),
    ("spec.scheduling", {"tolerations": [{"operator": "Exists", "value": "x"}]}, "takes no value"),
    ("spec.scheduling", {"tolerations": [{"operator": "Equal"}]}, "without a key only Exists"),
    (
        "spec.strategy",
        {"type": "Canary", "canary": {"initialReplicas": 5, "maxReplicas": 2}},
        "fewer than initialReplicas (5)",
    ),
    ("spec.strategy", {"type": "Canary", "canary": {"stepWeight": 0}}, "at least 1"),
    ("spec.strategy", {"type": "Canary", "canary": {"stepWeight": 101}}, "at most 100"),
    ("spec.strategy", {"type": "BlueGreen", "canary": {}}, "no meaning with type BlueGreen"),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}, "no replica could ever be replaced"),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": "many"}}, "is no percentage"),
    ("spec.sessions", {"application": "a"}, "has a meaning with type Hybrid only"),
    ("spec.template.spec.restartPolicy", "Always", "never let Training complete"),
    ("spec.template.spec.containers", [], "at least 1"),
    ("spec.template.spec.container", [], "did you mean containers?"),
    ("metadata.labels", {"app": "no spaces please"}, "is no label value"),
    ("metadata.name", "Not_A_Name", "is no name"),
    ("metadata.namespace", "a.b", "63 lower case letters"),
    ("metadata.annotations", {"flame.xflops.cn/priority": "hihg"}, "legal: high, normal, low"),
    ("metadata.annotations", {"flame.xflops.cn/auto-scaling": "yes"}, 'must be "true" or "false"'),
    ("metadata.annotations", {"flame.xflops.cn/gpu-fraction": "2"}, "at most 1"),
]


def put_at(body, path, value):
    *holders, last = parts(path)
    for holder in holders:
        body = body[holder]
    body[last] = value


@pytest.mark.ledger("B-040")
@pytest.mark.parametrize(("path", "value", "words"), WRONG)
def test_what_is_wrong_with_a_workload_is_told(path, value, words):
    body = workload()
    body["metadata"].setdefault("labels", {})
    put_at(body, path, value)
    with pytest.raises(InvalidArgument) as caught:
        check(body)
    assert words in caught.value.message


CONTAINER_WRONG = [
    ({"resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}}, "more than its limit of 2"),
    ({"resources": {"requests": {"cpu": "-1"}}}, "must not be negative"),
    ({"resources": {"requests": {"cpus": "1"}}}, "unknown resource 'cpus'"),
    ({"resources": {"limits": {"nvidia.com/gpu": "0.5"}}}, "must be whole"),
    ({"resources": {"requests": {"nvidia.com/gpu": 1}}}, "needs a limit"),
    ({"resources": {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}}, "must be equal"),
    ({"volumeMounts": [{"name": "date", "mountPath": "/d"}]}, "did you mean data?"),
    ({"ports": [{"containerPort": 1}, {"containerPort": 1}]}, "is given twice"),
    ({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}, "'a' is given twice"),
    ({"ports": [{"containerPort": 70000}]}, "at most 65535"),
    ({"livenessProbe": {"periodSeconds": 3}}, "needs one of httpGet"),
    ({"livenessProbe": {"httpGet": {"port": 1}, "exec": {"command": ["a"]}}}, "exclude each other"),
    ({"livenessProbe": {"httpGet": {"port": "web"}}}, "no port is named 'web'"),
    (
        {"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        "exclude each other",
    ),
    ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nam"}}}]}, "did you mean metadata.name?"),
    ({"env": [{"name": "A", "value": 1}]}, "put it in quotes"),
    ({"name": "Main"}, "63 lower case"),
    ({"comand": ["x"]}, "did you mean command?"),
]


@pytest.mark.parametrize(("more", "words"), CONTAINER_WRONG)
def test_what_is_wrong_with_a_container_is_told(more, words):
    body = workload()
    pod = body["spec"]["template"]["spec"]
    pod["containers"][0] |= more
    pod["volumes"] = [{"name": "data", "emptyDir": {}}]
    with pytest.raises(InvalidArgument) as caught:
        check(body)
    assert words in caught.value.message
    assert "spec.template.spec.containers[0]" in caught.value.message


def test_containers_volumes_and_operators_are_checked_across():
    body = workload()
    pod = body["spec"]["template"]["spec"]
    pod["containers"] *= 2
    pod["volumes"] = [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}, {"name": "w"}]
    expression = {"key": "a", "operator": "In"}
    term = {
        "matchExpressions": [
            expression,
            {"key": "a", "operator": "Exists", "values": ["x"]},
            {"key": "a", "operator": "Gt", "values": ["x"]},
        ]
    }
    body["spec"]["scheduling"] = {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term, {}]}}
        }
    }
    messages = [problem.message for problem in validate(WORKLOAD, body)]
    for words in (
        "'main' is given twice",
        "exactly one source, found emptyDir and hostPath",
        "exactly one source, found none",
    ):
        assert any(words in message for message in messages)
    for words in ("In needs at least one", "Exists takes no values", "Gt compares whole numbers", "matches no node"):
        assert any(words in message for message in messages)


def test_all_problems_come_in_one_error_with_their_lines():
    text = "apiVersion: flame.xflops.cn/v1alpha1\nkind: FlameWorkload\nmetadata:\n  name: w\nspec:\n  replicas: x\n  tipe: Hybrid\n"
    (document,) = read(text, "w.yaml")
    with pytest.raises(InvalidArgument) as caught:
        check(document.body, document.file, document.lines)
    for words in (
        "w.yaml:6: spec.replicas: must be",
        "w.yaml:7: spec.tipe: unknown",
        "w.yaml:5: spec.template: is missing",
    ):
        assert words in caught.value.message


def test_every_field_of_a_pod_is_known_and_what_is_not_acted_upon_is_listed():
    body = workload()
    pod = body["spec"]["template"]["spec"]
    pod |= {"hostNetwork": True, "dnsConfig": {"nameservers": ["1.1.1.1"]}, "securityContext": {"runAsUser": 1}}
    pod["containers"][0] |= {"securityContext": {"privileged": True}, "tty": True}
    pod["volumes"] = [{"name": "s", "secret": {"secretName": "x"}}]
    assert validate(WORKLOAD, body) == []
    assert set(ignored_fields(WORKLOAD, body)) == {
        f"spec.template.spec.{path}"
        for path in (
            "hostNetwork",
            "dnsConfig",
            "securityContext",
            "containers[0].securityContext",
            "containers[0].tty",
            "volumes[0].secret",
        )
    }


@pytest.mark.parametrize(
    "word", ["fw", "FlameWorkload", "flameworkload", "flameworkloads", "flameworkloads.flame.xflops.cn", "FW"]
)
def test_a_kind_is_found_by_any_of_its_names(word):
    assert find_kind(word) is WORKLOAD


def test_a_values_file_with_a_misspelt_key_is_still_one():
    (document,) = read("global: {}\nflmae: {}\n", "values.yaml")
    with pytest.raises(InvalidArgument, match=r"values\.yaml:2: flmae: unknown field 'flmae' \(did you mean flame\?"):
        checked(document)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_columns_show_fields_that_the_kind_has(kind):
    assert len({column.name for column in KINDS[kind].columns}) == len(KINDS[kind].columns)
    for column in KINDS[kind].columns:
        at = KINDS[kind].schema
        for part in parts(column.path):
            inner = at.child(str(part)) if hasattr(at, "child") else None
            assert inner is not None or getattr(at, "open", False), column.path
            if inner is None:
                break
            at = inner
        assert column.json_path.startswith(".") and column.kind in ("string", "integer", "number", "boolean", "date")
    gpu = next(column for column in KINDS["FlameAgent"].columns if column.name == "GPU")
    assert gpu.json_path == ".status.capacity.nvidia\\.com/gpu"


def test_a_kind_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(NotFound) as caught:
        find_kind("flameworklod")
    assert "did you mean flameworkload?" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        check({**smallest("PriorityClass"), "apiVersion": "scheduling.k8s.io/v1beta1"})
    assert "scheduling.k8s.io/v1" in caught.value.hint
    with pytest.raises(InvalidArgument, match="kind: is missing"):
        check({"apiVersion": "v1"})


def test_explain_and_defaults_read_the_same_table():
    text = explain("workload.spec.strategy.canary")
    assert "stepWeight" in text and "default 25" in text
    assert "One of: Training, Inference, Hybrid." in explain("fw.spec.type")
    assert "<list of object>, required" in explain("fw.spec.template.spec.containers")
    with pytest.raises(NotFound) as caught:
        explain("fw.spec.strategie")
    assert "did you mean strategy?" in caught.value.hint
    assert show_defaults("fw")["spec"]["replicas"] == 1
    assert find_field("priorityclass.value")[0].name == "PriorityClass"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_defaults_are_legal_and_filling_them_in_twice_is_once(kind):
    for body in (smallest(kind), guide_body("workload") if kind == "FlameWorkload" else smallest(kind)):
        before = deepcopy(body)
        once = with_defaults(KINDS[kind].schema, body)
        assert body == before
        assert with_defaults(KINDS[kind].schema, once) == once
        assert validate(KINDS[kind], once) == []


def structural(schema, path=""):
    """What JSON schema and Kubernetes ask: a type everywhere save where anything or int-or-string may be, and keywords that are right."""
    loose = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    assert schema.get("type") in ("object", "array", "string", "integer", "number", "boolean") or loose, path
    assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path
    for bound in ("minimum", "maximum", "minItems", "minLength", "maxLength"):
        assert isinstance(schema.get(bound, 0), int | float), path
    assert "(?" not in schema.get("pattern", ""), f"{path}: Kubernetes' patterns know no looking around"
    re.compile(schema.get("pattern", ""))
    for name, inner in schema.get("properties", {}).items():
        structural(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            structural(schema[key], f"{path}.{key}")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_openapi_is_a_structural_schema(kind):
    schema = openapi(kind)
    structural(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("text", "milli"),
    [
        ("500m", 500),
        ("0.5", 500),
        (0.5, 500),
        ("2", 2000),
        (2, 2000),
        ("1e3", 1_000_000),
        ("1k", 1_000_000),
        ("100u", 1),
    ],
)
def test_quantities_in_thousandths(text, milli):
    assert quantity_milli(text) == milli


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("16Gi", 16 * 2**30),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1E", 10**18),
        ("1E2", 100),
        ("100m", 1),
    ],
)
def test_quantities_in_units(text, units):
    assert quantity_units(text) == units


@pytest.mark.parametrize(
    "text", ["", "1 Gi", "1gi", "Gi", "1e", "1e99999", "1Zi", "0x10", "nan", "inf", "1_000", "9" * 50, "10E"]
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(InvalidArgument):
        parse_quantity(text)


def test_go_durations():
    assert parse_duration("1h30m") == 5400
    assert math.isclose(parse_duration("1.5s200ms3us4ns"), 1.700003004)
    assert parse_duration("7µs") == 7e-6


@given(st.integers(-(2**40), 2**38))
def test_stamps_read_back(at):
    if 0 <= at < 253_402_300_800:
        assert seconds(stamp(at)) == at


def test_stamps_that_are_known():
    assert stamp(951_782_399) == "2000-02-28T23:59:59Z"
    assert stamp(951_868_799) == "2000-02-29T23:59:59Z"
    assert seconds("2026-01-01T01:00:00.5+01:00") == 1_767_225_600.5


@given(st.lists(st.one_of(st.integers(0, 9), st.text("ab.c/-_", min_size=1, max_size=6)), max_size=4))
def test_paths_read_back(keys):
    path = ""
    for key in keys:
        path = join(path, key)
    assert parts(path) == keys


def test_dig_finds_what_is_there_and_nothing_else():
    body = {"a": [{"b/c": 1}]}
    assert dig(body, "a[0][b/c]") == 1
    assert dig(body, "a[1].x") is None and dig(body, "a.b") is None
