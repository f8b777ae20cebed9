"""Is this text a JSON Schema? The structural rules of the meta-schemas of draft-07 and 2020-12, without a validator library.

Keywords that neither draft knows are allowed, as the meta-schemas allow them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import AppSpec

DEPTH = 64
"""Schemas nested deeper than this are refused."""
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

Found = Iterator[str]
Rule = Callable[[object, str, int], Found]


def check_schemas(spec: AppSpec) -> None:
    """Raises InvalidArgument, which begins "invalid input schema:" or the like, for the first text that is no JSON Schema."""
    for name, text in (
        ("input", spec.schema_input),
        ("output", spec.schema_output),
        ("common data", spec.schema_common_data),
    ):
        if text is not None and (wrong := problem(text)):
            raise InvalidArgument(
                f"invalid {name} schema: {wrong}", hint="give a JSON Schema document, draft-07 or later"
            )


def problem(text: str) -> str | None:
    """What is wrong with a schema document, with a path to the place; None when nothing is."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return next(_schema(document, "#", 0), None)


def _schema(value: object, at: str, depth: int) -> Found:
    if isinstance(value, bool):
        return
    if not isinstance(value, dict):
        yield f"{at} must be an object or a boolean, found {_kind(value)}"
        return
    if depth > DEPTH:
        yield f"{at[:80]}... is nested deeper than {DEPTH} levels"
        return
    for keyword, part in value.items():
        rule = RULES.get(keyword)
        if rule is not None:
            yield from rule(part, f"{at}/{keyword}", depth + 1)


def _schemas(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, list) or not value:
        yield f"{at} must be a non-empty array of schemas"
        return
    for index, part in enumerate(value):
        yield from _schema(part, f"{at}/{index}", depth)


def _items(value: object, at: str, depth: int) -> Found:
    return _schemas(value, at, depth) if isinstance(value, list) else _schema(value, at, depth)


def _map(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, dict):
        yield f"{at} must be an object of schemas, found {_kind(value)}"
        return
    for name, part in value.items():
        yield from _schema(part, f"{at}/{name}", depth)


def _dependencies(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, dict):
        yield f"{at} must be an object, found {_kind(value)}"
        return
    for name, part in value.items():
        rule = _strings if isinstance(part, list) else _schema
        yield from rule(part, f"{at}/{name}", depth)


def _required_by(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, dict):
        yield f"{at} must be an object, found {_kind(value)}"
        return
    for name, part in value.items():
        yield from _strings(part, f"{at}/{name}", depth)


def _type(value: object, at: str, depth: int) -> Found:
    if isinstance(value, list):
        if not value:
            yield f"{at} must name at least one type"
        names = value
    else:
        names = [value]
    for name in names:
        if name not in TYPES:
            yield f"{at}: unknown type {json.dumps(name)[:40]}; known: {', '.join(TYPES)}"
    if isinstance(value, list) and len({str(name) for name in value}) != len(value):
        yield f"{at} names a type twice"


def _strings(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        yield f"{at} must be an array of strings"
    elif len(set(value)) != len(value):
        yield f"{at} has a string twice"


def _string(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, str):
        yield f"{at} must be a string, found {_kind(value)}"


def _boolean(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, bool):
        yield f"{at} must be a boolean, found {_kind(value)}"


def _array(value: object, at: str, depth: int) -> Found:
    if not isinstance(value, list):
        yield f"{at} must be an array, found {_kind(value)}"


def _number(value: object, at: str, depth: int) -> Found:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        yield f"{at} must be a number, found {_kind(value)}"


def _positive(value: object, at: str, depth: int) -> Found:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        yield f"{at} must be a number above 0"


def _count(value: object, at: str, depth: int) -> Found:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 0:  # type: ignore[operator]
        yield f"{at} must be a whole number, 0 or more"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _rules(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_rules(_schema, "additionalItems additionalProperties contains propertyNames if then else not"),
    **_rules(_schema, "unevaluatedItems unevaluatedProperties contentSchema"),
    **_rules(_schemas, "allOf anyOf oneOf prefixItems"),
    **_rules(_items, "items"),
    **_rules(_map, "properties patternProperties definitions $defs dependentSchemas"),
    **_rules(_dependencies, "dependencies"),
    **_rules(_required_by, "dependentRequired"),
    **_rules(_type, "type"),
    **_rules(_strings, "required"),
    **_rules(_array, "enum examples"),
    **_rules(_number, "maximum minimum exclusiveMaximum exclusiveMinimum"),
    **_rules(_positive, "multipleOf"),
    **_rules(_count, "maxLength minLength maxItems minItems maxProperties minProperties maxContains minContains"),
    **_rules(_string, "$id $schema $ref $anchor $dynamicRef $dynamicAnchor $comment title description pattern format"),
    **_rules(_string, "contentEncoding contentMediaType"),
    **_rules(_boolean, "uniqueItems readOnly writeOnly deprecated"),
}
"""Keyword -> what its value must be."""
