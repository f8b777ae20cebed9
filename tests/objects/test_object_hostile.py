"""Whatever is sent, there is a typed error or a legal object, and nothing half done."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st
from objects.made import NOW, World, guide_body, smallest, workload

from flame.core.base.errors import FlameError
from flame.core.model import messages as m
from flame.core.objects.check import check, validate
from flame.core.objects.describe import with_defaults
from flame.core.objects.kinds import KINDS
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.settings import ClusterSettings
from flame.core.objects.workload import config_names, read_workload

EXAMPLE = guide_body("workload")
EXAMPLE["spec"]["strategy"] = guide_body("canary")["spec"]["strategy"]

WORDS = st.sampled_from(
    [
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "resourceVersion",
        "uid",
        "replicas",
        "type",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.just("default"),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = [path for path in places(EXAMPLE) if path]


def changed(body, path, value):
    found = deepcopy(body)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return found


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.one_of(LEAVES, st.just({}), st.just([]), JSON)), min_size=1, max_size=2
    )
)
def test_any_change_of_the_example_is_told_or_can_be_read(changes):
    body = EXAMPLE
    for path, value in changes:
        try:
            body = changed(body, path, value)
        except (KeyError, IndexError, TypeError):
            continue  # the first change took the place of the second away
    problems = validate(WORKLOAD, body)
    if problems:
        assert all(problem.message for problem in problems)
        return
    read_workload(body, ClusterSettings())
    config_names(body)
    assert validate(WORKLOAD, with_defaults(WORKLOAD.schema, body)) == []


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["create", "replace", "apply", "merge", "json"]),
    st.sampled_from(["", "status", "scale"]),
    st.sampled_from(["FlameWorkload", "ConfigMap", "PriorityClass", "Namespace"]),
    st.booleans(),
    JSON,
)
def test_any_request_is_answered_or_refused(mode, subresource, kind, deleting, sent):
    world = World()
    world.apply({**smallest(kind), "metadata": {"name": "it", "finalizers": ["x/y"]}})
    if deleting:
        world.delete(kind, "it")
    before = list(world.objects.records())
    if isinstance(sent, dict) and mode != "merge":
        sent = {**smallest(kind), **sent}
    if mode == "json":
        sent = [{"op": "replace", "path": "/metadata", "value": sent}]
    request = m.PutObject(mode, kind, name="it", subresource=subresource, body=json.dumps(sent).encode())
    try:
        change = world.objects.plan_put(request, NOW, "uid")
    except FlameError:
        change = None
    assert list(world.objects.records()) == before  # a plan is only a plan
    for record in change.records if change else ():
        world.objects.commit(record)
    stored = world.objects.find(kind, "default", "", "it")
    if stored is not None:
        assert stored.metadata["name"] == "it" and stored.metadata["uid"] == "uid-1"
        assert validate(KINDS[kind], dict(stored.body)) == []


@given(JSON)
def test_any_document_is_checked(body):
    for document in (body, {**workload(), "spec": body}):
        if isinstance(document, dict):
            with suppress(FlameError):
                check(document, "f", {})
