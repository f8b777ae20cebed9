from __future__ import annotations

import json

import pytest

from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import AppSpec
from flame.manager.schema import check_schemas, problem

GOOD = [
    True,
    {},
    {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}},
        "required": ["a"],
        "additionalProperties": False,
    },
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"type": "integer"}],
        "minItems": 1,
    },
    {"$defs": {"x": {"enum": [1, "a", None]}}, "$ref": "#/$defs/x", "x-own": 5},
    {"dependencies": {"a": ["b"], "c": {"minimum": 0.5}}, "if": {"const": 1}, "then": True, "multipleOf": 0.1},
    {"prefixItems": [{"type": "string"}], "maxLength": 5.0, "uniqueItems": True},
]
BAD = [
    ([], "an object or a boolean"),
    ({"type": "objekt"}, "unknown type"),
    ({"type": ["string", "string"]}, "twice"),
    ({"type": []}, "at least one"),
    ({"properties": []}, "object of schemas"),
    ({"properties": {"a": 1}}, "#/properties/a"),
    ({"required": "a"}, "array of strings"),
    ({"required": ["a", "a"]}, "twice"),
    ({"minLength": -1}, "0 or more"),
    ({"minLength": True}, "0 or more"),
    ({"maximum": "9"}, "a number"),
    ({"multipleOf": 0}, "above 0"),
    ({"anyOf": []}, "non-empty"),
    ({"items": {"pattern": 3}}, "#/items/pattern"),
    ({"enum": 1}, "an array"),
]


@pytest.mark.parametrize("document", GOOD)
def test_schemas_pass(document):
    assert problem(json.dumps(document)) is None


@pytest.mark.parametrize(("document", "words"), BAD)
def test_what_is_no_schema_is_refused_with_the_place(document, words):
    assert words in (problem(json.dumps(document)) or "")


@pytest.mark.parametrize("text", ["", "{", "nope", "[" * 100_000])
def test_text_that_is_not_json_is_refused(text):
    assert (problem(text) or "").startswith("not JSON")


def test_bottomless_nesting_is_refused():
    assert "nested deeper" in (problem('{"not":' * 200 + "true" + "}" * 200) or "")


def test_the_error_names_the_schema():
    with pytest.raises(InvalidArgument, match=r"^invalid common data schema: "):
        check_schemas(AppSpec(schema_input="{}", schema_common_data="[]"))
