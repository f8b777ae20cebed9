"""The store: what a write does, what a deletion does, and what watchers see of it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objects.made import NOW, World, config, guide_body, smallest, workload

from flame.core.base.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    InvalidArgument,
    InvalidState,
    NotFound,
    PayloadTooLarge,
)
from flame.core.model import messages as m
from flame.core.objects import state as state_module
from flame.core.objects.conditions import condition, with_condition
from flame.core.objects.kinds import KINDS
from flame.core.objects.records import AnyRecord
from flame.core.objects.store import FOREGROUND, Objects
from flame.core.objects.writing import KUBECTL_APPLIED, LAST_APPLIED


@pytest.fixture
def world():
    return World()


def test_a_created_object_knows_who_and_when(world):
    change = world.put("create", workload())
    about = json.loads(change.body)["metadata"]
    assert change.change == "created"
    assert (about["uid"], about["generation"], about["creationTimestamp"]) == ("uid-1", 1, "2026-01-01T00:00:01Z")
    assert about["resourceVersion"] == str(world.objects.version) == "2"
    assert about["managedFields"][0]["manager"] == "tester"
    assert "type" not in world.body("FlameWorkload", "w")["spec"]  # defaults are shown, not stored


def test_generation_counts_changes_of_spec_only(world):
    world.apply(workload())
    world.put("merge", {"metadata": {"labels": {"a": "b"}}}, "fw", name="w")
    assert world.body("FlameWorkload", "w")["metadata"]["generation"] == 1
    world.put("merge", {"spec": {"replicas": 3}}, "fw", name="w")
    assert world.body("FlameWorkload", "w")["metadata"]["generation"] == 2
    world.put("merge", {"status": {"phase": "Running"}}, "fw", name="w", subresource="status")
    found = world.body("FlameWorkload", "w")
    assert (found["metadata"]["generation"], found["status"]) == (2, {"phase": "Running"})


def test_status_and_spec_do_not_touch_each_other(world):
    world.apply({**workload(), "status": {"phase": "Lies"}})
    assert "status" not in world.body("FlameWorkload", "w")
    world.put("replace", {**workload(replicas=9), "status": {"phase": "Running"}}, subresource="status")
    found = world.body("FlameWorkload", "w")
    assert found["status"] == {"phase": "Running"} and "replicas" not in found["spec"]
    world.put("replace", workload(replicas=2))
    found = world.body("FlameWorkload", "w")
    assert found["status"] == {"phase": "Running"} and found["spec"]["replicas"] == 2


@pytest.mark.parametrize("mode", ["apply", "replace", "merge", "json"])
def test_writing_the_same_again_changes_nothing(world, mode):
    world.apply(workload(replicas=2))
    version = world.objects.version
    body = {"merge": {"spec": {"replicas": 2}}, "json": [{"op": "replace", "path": "/spec/replicas", "value": 2}]}.get(
        mode
    )
    if mode == "replace":
        body = world.body("FlameWorkload", "w")
    change = world.put(mode, body or workload(replicas=2), "fw", name="w")
    assert (change.change, change.records, world.objects.version) == ("unchanged", (), version)


def test_a_stale_write_is_a_conflict(world):
    world.apply(workload())
    read = world.body("FlameWorkload", "w")
    world.put("merge", {"spec": {"replicas": 3}}, "fw", name="w")
    for mode, body in (
        ("replace", {**read, "spec": {**read["spec"], "replicas": 4}}),
        (
            "apply",
            {**workload(replicas=4), "metadata": {"name": "w", "resourceVersion": read["metadata"]["resourceVersion"]}},
        ),
        ("merge", {"metadata": {"resourceVersion": "2"}, "spec": {"replicas": 4}}),
        ("json", [{"op": "test", "path": "/spec/replicas", "value": 1}]),
    ):
        with pytest.raises(Conflict):
            world.put(mode, body, "fw", name="w")
    with pytest.raises(Conflict):
        world.put("merge", {"metadata": {"uid": "another"}}, "fw", name="w")
    with pytest.raises(Conflict):
        world.put(
            "replace",
            {"metadata": {"resourceVersion": "2"}, "spec": {"replicas": 7}},
            "fw",
            name="w",
            subresource="scale",
        )
    with pytest.raises(Conflict):
        world.delete("fw", "w", version=2)
    assert world.body("FlameWorkload", "w")["spec"]["replicas"] == 3


def test_what_never_changes_is_refused(world):
    world.apply(workload())
    for patch in (
        {"spec": {"type": "Inference"}},
        {"metadata": {"namespace": "flame-system"}},
        {"metadata": {"name": "v"}},
    ):
        with pytest.raises(InvalidArgument):
            world.put("merge", patch, "fw", name="w", namespace="default")
    assert (
        world.put("merge", {"spec": {"type": "Training"}}, "fw", name="w").change == "configured"
    )  # the default, said aloud
    world.apply(guide_body("priority-classes"))
    with pytest.raises(InvalidArgument, match="never changes"):
        world.put("merge", {"value": 5}, "pc", name="flame-high-priority")
    world.apply({**config(a="b"), "immutable": True})
    with pytest.raises(InvalidArgument, match="never changes"):
        world.put("merge", {"data": {"a": "c"}}, "cm", name="c")


def test_each_mode_knows_when_it_may_be_used(world):
    with pytest.raises(NotFound):
        world.put("replace", workload())
    with pytest.raises(NotFound):
        world.put("merge", {"spec": {}}, "fw", name="w")
    with pytest.raises(Conflict, match="any more"):
        world.put("apply", {**workload(), "metadata": {"name": "w", "resourceVersion": "7"}})
    world.put("create", workload())
    with pytest.raises(AlreadyExists):
        world.put("create", workload())
    for bad in (
        {"mode": "upsert"},
        {"subresource": "logs"},
        {"name": "other"},
        {"kind": "ConfigMap"},
    ):
        with pytest.raises(InvalidArgument):
            world.put(bad.pop("mode", "apply"), workload(), **bad)
    with pytest.raises(InvalidArgument, match="is in no namespace"):
        world.apply({**smallest("PriorityClass"), "metadata": {"name": "p", "namespace": "default"}})
    with pytest.raises(NotFound, match="no namespace 'nowhere'"):
        world.apply({**workload(), "metadata": {"name": "w", "namespace": "nowhere"}})
    for kind in ("Node", "Pod", "Event", "FlameAgent"):
        with pytest.raises(InvalidArgument, match="cannot be written"):
            world.apply(smallest(kind))


def test_a_name_can_be_completed(world):
    change = world.put("create", {**workload(), "metadata": {"generateName": "run-"}})
    assert change.key.name == "run-uid1"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", b'"x"', b"{}"])
def test_bodies_that_are_none_are_refused_and_leave_nothing(world, body):
    with pytest.raises(InvalidArgument):
        world.objects.plan_put(m.PutObject("apply", "fw", body=body), NOW, "u")
    with pytest.raises(PayloadTooLarge):
        world.objects.plan_put(m.PutObject("apply", "fw", body=b" " * (1 << 20) + b"{}"), NOW, "u")
    assert world.objects.version == 1


# -- apply -------------------------------------------------------------------------------------------------------------


def test_apply_removes_what_it_applied_and_keeps_what_others_set(world):
    world.apply(workload(replicas=3, maxRetries=1))
    world.put("merge", {"spec": {"backoffLimit": 7}, "metadata": {"labels": {"theirs": "x"}}}, "fw", name="w")
    world.apply(workload(replicas=5))
    found = world.body("FlameWorkload", "w")
    assert (found["spec"]["replicas"], found["spec"]["backoffLimit"], found["metadata"]["labels"]) == (
        5,
        7,
        {"theirs": "x"},
    )
    assert "maxRetries" not in found["spec"]
    assert json.loads(found["metadata"]["annotations"][LAST_APPLIED])["spec"]["replicas"] == 5


def test_apply_goes_on_from_what_kubectl_applied(world):
    first = workload(maxRetries=1)
    note = {KUBECTL_APPLIED: json.dumps(first)}
    world.put("create", {**first, "metadata": {**first["metadata"], "annotations": note}})
    world.apply(workload())
    found = world.body("FlameWorkload", "w")
    assert "maxRetries" not in found["spec"]
    assert set(found["metadata"]["annotations"]) == {KUBECTL_APPLIED}


def test_a_status_is_kept_even_where_the_spec_would_not_be_admitted_now(world):
    body = workload()
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "64"}}
    world.apply(body)
    world.apply(guide_body("flame-config"))
    world.put("merge", {"status": {"phase": "Running"}}, "fw", name="w", subresource="status")
    world.put("merge", {"metadata": {"labels": {"a": "b"}}}, "fw", name="w")
    with pytest.raises(InvalidArgument, match="more than this cluster allows"):
        world.put("merge", {"spec": {"replicas": 2}}, "fw", name="w")
    with pytest.raises(InvalidArgument, match=r"status\.replicas: must be a whole number"):
        world.put("merge", {"status": {"replicas": "x"}}, "fw", name="w", subresource="status")


# -- scale, classes ----------------------------------------------------------------------------------------------------


@pytest.mark.ledger("B-045")
def test_scale(world):
    world.apply(guide_body("workload"))
    for mode, body, replicas in (
        ("merge", {"spec": {"replicas": 6}}, 6),
        ("replace", {"spec": {"replicas": 2}}, 2),
        ("json", [{"op": "replace", "path": "/spec/replicas", "value": 3}], 3),
    ):
        change = world.put(mode, body, "fw", name="example-workload", subresource="scale")
        assert json.loads(change.body)["kind"] == "Scale" and json.loads(change.body)["spec"] == {"replicas": replicas}
        assert world.body("FlameWorkload", "example-workload")["spec"]["replicas"] == replicas
    for bad in (-1, "4", True, None):
        with pytest.raises(InvalidArgument):
            world.put("replace", {"spec": {"replicas": bad}}, "fw", name="example-workload", subresource="scale")
    with pytest.raises(InvalidArgument, match="has no 'scale'"):
        world.put("merge", {"spec": {"replicas": 1}}, "quota", name="q", subresource="scale")


@pytest.mark.ledger("B-089")
def test_a_second_global_default_is_refused(world):
    for number in range(3):
        world.apply(guide_body("priority-classes", number))
    with pytest.raises(InvalidArgument, match="flame-normal-priority is the default already"):
        world.put("merge", {"globalDefault": True}, "pc", name="flame-low-priority")
    assert world.apply(guide_body("priority-classes", 1)).change == "unchanged"
    world.apply(guide_body("priority-classes", 1), tenant="other")  # another tenant has its own


# -- deletion ----------------------------------------------------------------------------------------------------------


def test_a_workload_goes_when_the_engine_lets_go(world):
    world.apply(guide_body("workload"))
    change = world.delete("fw", "example-workload")
    about = json.loads(change.body)["metadata"]
    assert (about["deletionGracePeriodSeconds"], about["finalizers"]) == (60, [FOREGROUND])
    assert world.delete("fw", "example-workload").change == "unchanged"
    assert (
        json.loads(world.delete("fw", "example-workload", grace=0.0).body)["metadata"]["deletionGracePeriodSeconds"]
        == 0
    )
    body = world.body("FlameWorkload", "example-workload")
    body["metadata"] = {k: v for k, v in body["metadata"].items() if k != "finalizers"}
    world.put("replace", body)  # nobody but the engine takes its finalizer away
    assert FOREGROUND in world.body("FlameWorkload", "example-workload")["metadata"]["finalizers"]
    with pytest.raises(InvalidArgument, match="no finalizer can be added"):
        world.put("merge", {"metadata": {"finalizers": [FOREGROUND, "x/y"]}}, "fw", name="example-workload")
    change = world.objects.apply(
        world.objects.plan_finalized("FlameWorkload", "default", "default", "example-workload")
    )
    assert change.change == "deleted"
    with pytest.raises(NotFound, match="no FlameWorkload 'example-workload' in namespace default"):
        world.delete("fw", "example-workload")


def test_an_object_with_finalizers_goes_with_the_last_of_them(world):
    world.apply({**config(a="b"), "metadata": {"name": "c", "finalizers": ["x/one", "x/two"]}})
    assert world.delete("cm", "c").change == "configured"
    world.objects.apply(world.objects.plan_finalized("ConfigMap", "default", "default", "c", "x/one"))
    assert world.put("merge", {"metadata": {"finalizers": None}}, "cm", name="c").change == "deleted"
    assert world.objects.find("ConfigMap", "default", "default", "c") is None


def test_dry_runs_leave_everything(world):
    world.apply(config(a="b"))
    before = list(world.objects.records())
    assert world.delete("cm", "c", dry_run=True).change == "deleted"
    assert json.loads(world.apply(config(a="c"), dry_run=True).body)["data"] == {"a": "c"}
    assert list(world.objects.records()) == before


def test_namespaces(world):
    assert [s.key.name for s in world.objects.list("Namespace", "default").items] == ["default", "flame-system"]
    with pytest.raises(InvalidState, match="built in"):
        world.delete("ns", "default")
    world.apply({**smallest("Namespace"), "metadata": {"name": "team"}})
    world.apply({**workload(), "metadata": {"name": "w", "namespace": "team"}})
    with pytest.raises(InvalidState, match="not empty: FlameWorkload w"):
        world.delete("ns", "team")
    world.delete("fw", "w", namespace="team")
    world.objects.apply(world.objects.plan_finalized("FlameWorkload", "default", "team", "w"))
    assert world.delete("ns", "team").change == "deleted"


# -- reading -----------------------------------------------------------------------------------------------------------


def test_lists_are_in_order_by_page_and_by_namespace(world):
    for space in ("flame-system", "default"):
        for name in ("b", "c", "a"):
            world.apply({**config(), "metadata": {"name": name, "namespace": space, "labels": {"name": name}}})
    listed = [(s.key.namespace, s.key.name) for s in world.objects.list("ConfigMap", "default").items]
    assert listed == sorted(listed) and len(listed) == 6
    after, pages = "", []
    while True:
        page = world.objects.list("ConfigMap", "default", limit=4, after=after)
        pages.append([(s.key.namespace, s.key.name) for s in page.items])
        after = page.after
        if not after:
            break
        assert page.remaining == 2
    assert [place for page in pages for place in page] == listed
    assert [
        s.key.name for s in world.objects.list("ConfigMap", "default", "default", labels="name in (a,c)").items
    ] == ["a", "c"]
    assert not world.objects.list("ConfigMap", "other").items
    with pytest.raises(InvalidArgument, match="continue token"):
        world.objects.list("ConfigMap", "default", after="nonsense")


def test_a_namespace_that_begins_like_another_is_not_listed_with_it(world):
    for space in ("team", "team-a"):
        world.apply({**smallest("Namespace"), "metadata": {"name": space}})
        world.apply({**config(), "metadata": {"name": "c", "namespace": space}})
    assert [s.key.namespace for s in world.objects.list("ConfigMap", "default", "team").items] == ["team"]


def test_watchers_see_what_enters_and_leaves_their_selector(world):
    def labelled(value):
        return {**config(a=value), "metadata": {"name": "c", "labels": {"v": value}}}

    start = world.objects.version
    for value in ("1", "2", "2", "1"):
        world.apply(labelled(value))
    world.delete("cm", "c")
    seen, version = world.objects.changes_since("ConfigMap", start, "default", labels="v=1")
    assert [c.change for c in seen] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    assert version == world.objects.version
    seen, _ = world.objects.changes_since("ConfigMap", start, "default")
    assert [c.change for c in seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert json.loads(seen[-1].body)["metadata"]["resourceVersion"] == str(seen[-1].version)
    seen, version = world.objects.changes_since("ConfigMap", start, "default", limit=1)
    assert len(seen) == 1 and version == seen[0].version
    assert world.objects.changes_since("ConfigMap", start, "other")[0] == ()
    with pytest.raises(Expired):
        world.objects.changes_since("ConfigMap", version + 100, "default")


def test_too_far_back_has_expired(world, monkeypatch):
    monkeypatch.setattr(state_module, "MAX_CHANGES", 3)
    versions = [world.objects.version]
    for number in range(6):
        world.apply(config(a=str(number)))
        versions.append(world.objects.version)
    with pytest.raises(Expired):
        world.objects.changes_since("ConfigMap", versions[2], "default")
    assert len(world.objects.changes_since("ConfigMap", versions[3], "default")[0]) == 3


def test_changes_in_memory_are_bounded_in_bytes(world, monkeypatch):
    monkeypatch.setattr(state_module, "MAX_CHANGES_BYTES", 4000)
    start = world.objects.version
    for number in range(6):
        world.apply(config(a="x" * 600 + str(number)))
    with pytest.raises(Expired):
        world.objects.changes_since("ConfigMap", start, "default")
    assert world.objects.changes_since("ConfigMap", world.objects.version - 1, "default")[0]


# -- any history -------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["apply", "apply", "merge", "delete", "finish"]),
        st.sampled_from(["ConfigMap", "FlameWorkload", "PriorityClass"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3),
        st.sampled_from(["default", "other"]),
    ),
    max_size=25,
)


def step(world, action, kind, name, number, tenant):
    body = {**smallest(kind), "metadata": {"name": name, "labels": {"n": str(number)}}}
    if action == "apply":
        world.apply(body, tenant=tenant)
    elif action == "merge":
        world.put("merge", {"metadata": {"labels": {"n": str(number)}}}, kind, name=name, tenant=tenant)
    elif action == "delete":
        world.delete(kind, name, tenant=tenant)
    else:
        world.objects.apply(world.objects.plan_finalized(kind, tenant, "default", name))


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_records_and_changes_tell_the_whole_story(steps):
    """Replaying the records, committing a snapshot, and following the changes all give the same objects."""
    world = World()
    journal: list[AnyRecord] = []
    commit = world.objects.commit
    world.objects.commit = lambda record: (journal.append(record), commit(record))[1]  # type: ignore[method-assign]
    for action in steps:
        try:
            step(world, *action)
        except NotFound:
            pass
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(AnyRecord)
    replayed, restored = Objects(), Objects()
    for record in journal:
        replayed.commit(decoder.decode(encoder.encode(record)))
    for record in journal:  # a journal that is read twice changes nothing more
        replayed.commit(record)
    snapshot = list(world.objects.records())
    for record in snapshot:
        restored.commit(record)
    key = sorted
    assert key(map(repr, replayed.records())) == key(map(repr, snapshot)) == key(map(repr, restored.records()))
    assert replayed.version == restored.version == world.objects.version
    for kind in ("ConfigMap", "FlameWorkload", "PriorityClass"):
        for tenant in ("default", "other"):
            followed = {}
            for change in world.objects.changes_since(kind, 1, tenant)[0]:
                about = json.loads(change.body)["metadata"]
                place = (about.get("namespace", ""), about["name"])
                if change.change == "DELETED":
                    del followed[place]
                else:
                    assert (change.change == "ADDED") is (place not in followed)
                    followed[place] = change.body
            listed = {(s.key.namespace, s.key.name): s.data for s in world.objects.list(kind, tenant).items}
            assert followed == listed


def test_a_restored_store_knows_no_old_changes(world):
    world.apply(config())
    world.delete("cm", "c")
    restored = Objects()
    for record in world.objects.records():
        restored.commit(record)
    assert restored.version == world.objects.version == 3
    with pytest.raises(Expired):
        restored.changes_since("ConfigMap", 2, "default")
    assert restored.changes_since("ConfigMap", 3, "default") == ((), 3)


def test_conditions_move_when_their_status_does():
    once = with_condition([], "Ready", True, "Up", "", 10.0, 1)
    again = with_condition(once, "Ready", True, "Up", "", 20.0, 1)
    assert again == once
    other = with_condition(again, "Ready", None, "Lost", "", 30.0)
    found = condition({"conditions": other}, "Ready")
    assert found and (found["status"], found["lastTransitionTime"]) == ("Unknown", "1970-01-01T00:00:30Z")


def test_every_writable_kind_is_stored_and_read_back():
    world = World()
    for name, kind in KINDS.items():
        if kind.writable:
            world.apply(smallest(name))
            assert world.objects.get(name, "default", "", "it").body["kind"] == name
