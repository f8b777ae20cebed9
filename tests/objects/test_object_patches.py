"""Merge patch, JSON patch and the three-way merge of apply."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects.made import workload

from flame.core.base.errors import Conflict, InvalidArgument
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.patch import json_patch, merge_patch, three_way, without_nulls

KEYS = st.sampled_from("abcd")
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["x", "y"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, JSON, max_size=4).map(without_nulls)

RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7386)
def test_the_cases_of_rfc_7386(target, patch, result):
    assert merge_patch(target, patch) == result


@given(DOCUMENTS, st.dictionaries(KEYS, JSON, max_size=4))
def test_a_merge_patch_twice_is_once_and_changes_nothing_in_place(target, patch):
    before = deepcopy((target, patch))
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert (target, patch) == before
    assert merge_patch(target, {}) == target


RFC_6902 = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    ({"a": {"w": 1}, "q": {}}, [{"op": "move", "from": "/a/w", "path": "/q/t"}], {"a": {}, "q": {"t": 1}}),
    ({"foo": [1, 2, 3]}, [{"op": "move", "from": "/foo/0", "path": "/foo/2"}], {"foo": [2, 3, 1]}),
    ({"a": [1, {"x": 2}]}, [{"op": "copy", "from": "/a/1", "path": "/a/-"}], {"a": [1, {"x": 2}, {"x": 2}]}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_6902)
def test_the_cases_of_rfc_6902(target, patch, result):
    before = deepcopy(target)
    assert json_patch(target, patch) == result
    assert target == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "replace", "path": "/no", "value": 1},
        {"op": "remove", "path": "/no"},
        {"op": "remove", "path": "/list/-"},
        {"op": "remove", "path": ""},
        {"op": "move", "from": "/o", "path": "/o/x"},
        {"op": "jump", "path": "/a"},
        "remove",
    ],
)
def test_operations_without_a_place_are_refused(operation):
    with pytest.raises(InvalidArgument):
        json_patch({"a": 1, "list": [1], "o": {}}, [operation])


def test_a_failed_test_is_a_conflict_and_true_is_not_one():
    with pytest.raises(Conflict):
        json_patch({"a": 1}, [{"op": "test", "path": "/a", "value": True}])
    with pytest.raises(InvalidArgument, match="list of operations"):
        json_patch({}, {"op": "add"})


def test_copies_of_copies_do_not_grow_without_bound():
    grow = [{"op": "copy", "from": "", "path": "/a"} for _ in range(60)]
    with pytest.raises(InvalidArgument, match="copies more than"):
        json_patch(
            {"a": 1, "b": 2, "c": {"d": [1, 2, 3]}},
            [{"op": "copy", "from": "/c", "path": "/x"}]
            + [op for n in range(60) for op in ({"op": "copy", "from": "", "path": f"/k{n}"},)]
            + grow,
        )


# -- apply -------------------------------------------------------------------------------------------------------------


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS)
def test_apply_is_idempotent_and_ends_as_it_says(last, live, new):
    once = three_way(last, live, new, None)
    assert three_way(new, once, new, None) == once
    for key in last:
        assert key in new or key not in once
    for key in live:
        assert key in once or key in last


NAMES = st.sampled_from(["a", "b", "c"])
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES}, optional={"image": st.sampled_from(["i", "j"]), "workingDir": st.just("/w")}
    ),
    max_size=3,
    unique_by=lambda item: item["name"],
)


@given(CONTAINERS, CONTAINERS, CONTAINERS)
def test_lists_of_named_things_are_merged_by_name(last, live, new):
    def body(containers):
        found = workload()
        found["spec"]["template"]["spec"]["containers"] = containers
        return found

    def containers(found):
        return found["spec"]["template"]["spec"]["containers"]

    once = containers(three_way(body(last), body(live), body(new), WORKLOAD.schema))
    assert containers(three_way(body(new), body(once), body(new), WORKLOAD.schema)) == once
    names = [item["name"] for item in once]
    applied = [item["name"] for item in new]
    assert names[: len(applied)] == applied
    before = {item["name"] for item in last}
    assert names[len(applied) :] == [i["name"] for i in live if i["name"] not in before and i["name"] not in applied]


def test_what_somebody_else_added_to_a_container_stays():
    last, new = workload(), workload()
    live = workload()
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "theirs"
    live["spec"]["template"]["spec"]["containers"].append({"name": "sidecar"})
    merged = three_way(last, live, new, WORKLOAD.schema)
    assert merged["spec"]["template"]["spec"]["containers"] == [
        {"name": "main", "command": ["true"], "image": "theirs"},
        {"name": "sidecar"},
    ]
