"""Selectors, as texts and as documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import Taint
from flame.core.model.rules import (
    LabelSelector,
    NodeTerm,
    PlacementRules,
    PodTerm,
    PreferredNodes,
    Requirement,
    Toleration,
    affinity_refusal,
    node_preference,
    selector_refusal,
    taint_refusal,
)
from flame.core.objects.selectors import parse_fields, parse_labels, read_labels

WEB = {"app": "web", "tier": "front", "size": "4"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier!=back", True),
        ("app!=web", False),
        ("other!=web", True),
        ("app in (web, api), tier notin (back)", True),
        ("app notin (web)", False),
        ("app,!other", True),
        ("!app", False),
        ("size>3,size<5", True),
        ("size>4", False),
        ("other>1", False),
        ("empty=", False),
    ],
)
def test_label_selectors(text, matches):
    assert parse_labels(text).matches(WEB) is matches


@pytest.mark.parametrize(
    "text", ["a=b=c", "a in b", "a in (b", "=x", "a,,b", "a in ()b", "a b", "a>x", "-a=b", "a=b c", "a/b/c=d"]
)
def test_texts_that_are_no_label_selector(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_labels(text)
    assert "label selector" in caught.value.message


LABELS = st.dictionaries(st.sampled_from(["a", "b", "c.d/e"]), st.sampled_from(["x", "y", "7"]))
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from(["a", "b", "c.d/e"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["x", "y", "7"]), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Requirement, st.sampled_from(["a", "b"]), st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(Requirement, st.just("a"), st.sampled_from(["Gt", "Lt"]), st.just(("5",))),
)


@given(st.lists(REQUIREMENTS, max_size=4).map(lambda found: LabelSelector(tuple(found))), LABELS)
def test_a_selector_reads_back_from_its_text(selector, labels):
    assert parse_labels(str(selector)) == selector
    assert parse_labels(str(selector)).matches(labels) is all(r.matches(labels) for r in selector.requirements)


@given(LABELS, st.sampled_from(["a", "b"]), st.lists(st.sampled_from(["x", "y"]), min_size=1).map(tuple))
def test_in_and_notin_are_opposites(labels, key, values):
    assert Requirement(key, "In", values).matches(labels) is not Requirement(key, "NotIn", values).matches(labels)
    assert Requirement(key, "Exists").matches(labels) is not Requirement(key, "DoesNotExist").matches(labels)


def test_documents_become_selectors():
    found = read_labels({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]})
    assert found and found.matches(WEB) and not found.matches({"app": "web"})
    assert read_labels(None) is None
    with pytest.raises(InvalidArgument, match="unknown operator"):
        read_labels({"matchExpressions": [{"key": "a", "operator": "Is"}]})


def test_field_selectors():
    body = {
        "metadata": {"name": "a", "namespace": "n"},
        "status": {"phase": "Running"},
        "involvedObject": {"kind": "Pod"},
        "reason": "R",
    }
    assert parse_fields("metadata.name=a,status.phase!=Failed,involvedObject.kind==Pod,reason=R").matches(body)
    assert not parse_fields("status.phase=Failed").matches(body)
    assert parse_fields("spec.nodeName=").matches(body)
    for text, words in (
        ("status.phas=Running", "did you mean status.phase?"),
        ("metadata.labels=x", "did you mean"),
        ("a", ""),
    ):
        with pytest.raises(InvalidArgument) as caught:
            parse_fields(text)
        assert words in caught.value.hint


# -- rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("B-046", "B-047", "B-048")
def test_a_node_is_refused_with_what_it_lacks():
    rules = PlacementRules(
        node_selector=(("node-type", "gpu"), ("zone", "a")),
        required_nodes=(
            NodeTerm((Requirement("gpus", "Gt", ("3",)),)),
            NodeTerm(fields=(Requirement("metadata.name", "In", ("n1",)),)),
        ),
        preferred_nodes=(PreferredNodes(30, NodeTerm((Requirement("fast", "Exists"),))),),
        tolerations=(Toleration("dedicated", "Equal", "ml", "NoSchedule"),),
    )
    assert selector_refusal(rules, {"zone": "a"}) == "node-type=gpu"
    assert affinity_refusal(rules, {"gpus": "2"}, "n2") == "gpus>3 or metadata.name=n1"
    assert affinity_refusal(rules, {"gpus": "4"}, "n2") == "" == affinity_refusal(rules, {}, "n1")
    assert taint_refusal(rules, [Taint("dedicated", "ml"), Taint("x", "y", "PreferNoSchedule")]) == ""
    assert taint_refusal(rules, [Taint("dedicated", "web")]) == "dedicated=web:NoSchedule"
    assert taint_refusal(rules, [Taint("gone", "", "NoExecute")]) == "gone:NoExecute"
    assert node_preference(rules, {"fast": ""}, [Taint("x", "y", "PreferNoSchedule")]) == -70


@pytest.mark.parametrize(
    ("toleration", "taint", "bears"),
    [
        (Toleration(operator="Exists"), Taint("a", "b"), True),
        (Toleration("a", "Exists"), Taint("a", "b", "NoExecute"), True),
        (Toleration("a", "Exists", effect="NoExecute"), Taint("a", "b"), False),
        (Toleration("a", "Equal", "b"), Taint("a", "b"), True),
        (Toleration("a", "Equal", "c"), Taint("a", "b"), False),
        (Toleration("b", "Exists"), Taint("a", "b"), False),
    ],
)
def test_tolerations(toleration, taint, bears):
    assert toleration.matches(taint) is bears


def test_pods_are_looked_for_in_the_own_namespace_unless_said_otherwise():
    selector = LabelSelector((Requirement("app", "In", ("web",)),))
    own = PodTerm(selector, "zone")
    assert own.matches(WEB, "a", "a", {}) and not own.matches(WEB, "b", "a", {})
    assert PodTerm(selector, "zone", ("b",)).matches(WEB, "b", "a", {})
    assert PodTerm(selector, "zone", (), LabelSelector()).matches(WEB, "z", "a", {})
    assert not PodTerm(None, "zone").matches(WEB, "a", "a", {})
