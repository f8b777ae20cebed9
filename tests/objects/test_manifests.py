"""Text -> documents: lines, traps and bounds."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flame.core.base.errors import InvalidArgument, PayloadTooLarge
from flame.wire.manifests import MAX_TEXT, embedded_line, parse, read


def body(text):
    (document,) = read(text)
    return document.body


def test_several_documents_know_their_lines():
    first, second = read("# hello\na: 1\n---\nb:\n  - c: 2\n  - d\n", "f.yaml")
    assert (first.body, second.body) == ({"a": 1}, {"b": [{"c": 2}, "d"]})
    assert first.lines["a"] == 2
    assert (second.lines["b"], second.lines["b[0].c"], second.lines["b[1]"]) == (4, 5, 6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("089", 89.0),
        ("1e3", 1000.0),
        ("-7", -7),
        ("'7'", "7"),
        ("1.5Gi", "1.5Gi"),
        ("!!str 7", "7"),
        ("!!float 7", 7.0),
    ],
)
def test_scalars_are_what_they_look_like(text, value):
    found = body(f"a: {text}\n")["a"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3: a is given twice (first in line 1)"),
        ("a:\n  b: 1\n  b: 2\n", "f:3: a.b is given twice"),
        ("a: [1\n", "not YAML"),
        ("a: &x [*x]\n", "inside of itself"),
        ("a: *x\n", "f:1"),
        ("a: !!python/object/apply:os.system [x]\n", "is not allowed"),
        ("a: !!int x\n", "!!int cannot be"),
        ("a: .nan\n", "no number of JSON"),
        ("a: 1e999\n", "too large a number"),
        ("- a\n", "must be a mapping"),
        ("? [a]\n: b\n", "a key must be a text"),
        ("a: " + "[" * 80 + "]" * 80, "deeper than 64"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": NaN}', "no number of JSON"),
        ('{"a": 1e999}', "too large"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "deeper than"),
        ("a: \x00", "not YAML"),
    ],
)
def test_what_is_not_legal_is_refused_with_its_line(text, words):
    with pytest.raises(InvalidArgument) as caught:
        read(text, "f")
    assert words in caught.value.message and caught.value.message.startswith("f")


def test_a_small_text_cannot_become_a_huge_value():
    lines = ["a: &a [1,2,3,4,5,6,7,8,9]"]
    lines += [f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(InvalidArgument, match="aliases counted"):
        read("\n".join(lines))
    with pytest.raises(PayloadTooLarge):
        read("#" * (MAX_TEXT + 1))


def test_anchors_and_merge_keys():
    assert body("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\ne: *x\n") == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 3},
        "e": {"b": 1, "c": 2},
    }


def test_json_with_tabs_and_several_json_documents():
    (document,) = read('{\n\t"a": {"b": "\\ud83d\\ude00"}\n}', "f.json")
    assert document.body == {"a": {"b": "😀"}}
    assert [d.body for d in read('{"a": 1}\n---\n{"a": 2}\n')] == [{"a": 1}, {"a": 2}]
    (document,) = read('{\n  "a": {\n    "b": 1}}')
    assert document.lines["a.b"] == 3


def test_a_list_is_taken_apart():
    found = read("kind: List\nitems:\n- kind: A\n  x:\n    y: 1\n- kind: BList\n  items:\n  - kind: C\n")
    assert [d.body["kind"] for d in found] == ["A", "C"]
    assert found[0].lines["x.y"] == 5 and found[1].lines["kind"] == 8


def test_a_line_inside_of_a_text_is_found():
    (document,) = read('# c\ndata:\n  k.yaml: |\n    # inner 1\n    x: 1\n  other: "a: 1"\n')
    assert embedded_line(document, "data[k.yaml]", 2) == 5
    assert embedded_line(document, "data.other", 1) == 6
    assert parse(document.body["data"]["k.yaml"]) == ({"x": 1}, {"": 2, "x": 2})
    assert parse("") == (None, {})
    with pytest.raises(InvalidArgument, match="second document"):
        parse("a: 1\n---\nb: 1\n")


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff", exclude_categories=["Cc", "Cs"]),
    max_size=8,
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS.filter(bool), VALUES, min_size=1, max_size=3))
def test_json_is_read_as_json_is(value):
    if str(value.get("kind", "")).endswith("List"):
        return
    (document,) = read(json.dumps(value))
    assert document.body == value


@given(st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), VALUES, min_size=1, max_size=3))
def test_what_yaml_writes_is_read_back(value):
    if str(value.get("kind", "")).endswith("List"):
        return
    (document,) = read(yaml.safe_dump(value, allow_unicode=True, default_style='"'))
    assert set(document.body) == set(value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        read(text)
    except InvalidArgument:
        pass
