"""Selectors as texts and as documents: `app=web,tier in (a,b),!old` of labels, `status.phase=Running` of fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.model.rules import LabelSelector, NodeTerm, Requirement
from flame.core.objects.kinds.common import wrong_values
from flame.core.objects.paths import dig
from flame.core.objects.problems import closest
from flame.core.objects.syntax import wrong_key, wrong_label_value

_SET = re.compile(r"(?P<key>[^\s!=,()<>]+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s!=,()<>]+)\s*(?P<word>==|=|!=|>|<)\s*(?P<value>[^\s!=,()<>]*)")
_EXISTS = re.compile(r"(?P<no>!?)\s*(?P<key>[^\s!=,()<>]+)")
_WORDS = {"=": "In", "==": "In", "!=": "NotIn", "in": "In", "notin": "NotIn", ">": "Gt", "<": "Lt"}
_HINT = "write something like app=web, app!=web, app in (a,b), app notin (a,b), app or !app, with commas between"

EVERYTHING = LabelSelector()


def parse_labels(text: str) -> LabelSelector:
    """The selector of a text; the empty text selects everything. Raises InvalidArgument with the part that is not legal."""
    return LabelSelector(tuple(_requirement(part, text) for part in _parts(text))) if text.strip() else EVERYTHING


def _parts(text: str) -> list[str]:
    """Between the commas outside of parentheses."""
    parts, depth, last = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[last:at])
            last = at + 1
    return [*parts, text[last:]]


def _requirement(part: str, text: str) -> Requirement:
    word = part.strip()
    if match := _SET.fullmatch(word):
        values = tuple(value.strip() for value in match["values"].split(","))
        return _checked(Requirement(match["key"], _WORDS[match["word"]], values), text)
    if match := _EQUAL.fullmatch(word):
        return _checked(Requirement(match["key"], _WORDS[match["word"]], (match["value"],)), text)
    if match := _EXISTS.fullmatch(word):
        return _checked(Requirement(match["key"], "DoesNotExist" if match["no"] else "Exists"), text)
    raise InvalidArgument(f"label selector {text[:128]!r}: {word[:64]!r} is none", hint=_HINT)


def _checked(requirement: Requirement, text: str) -> Requirement:
    wrong = wrong_key(requirement.key) or next(filter(None, map(wrong_label_value, requirement.values)), "")
    if not wrong and requirement.operator in ("Gt", "Lt") and not requirement.values[0].lstrip("-").isdigit():
        wrong = f"{requirement.values[0]!r} is no whole number"
    if wrong:
        raise InvalidArgument(f"label selector {text[:128]!r}: {wrong}", hint=_HINT)
    return requirement


def read_expression(value: Mapping[str, Any]) -> Requirement:
    """One item of `matchExpressions`. Raises InvalidArgument."""
    operator, values = str(value.get("operator")), tuple(str(v) for v in value.get("values") or ())
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"):
        near = closest(operator, ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
        hint = f"did you mean {near}?" if near else "known: In, NotIn, Exists, DoesNotExist, Gt, Lt"
        raise InvalidArgument(f"unknown operator {operator[:40]!r}", hint=hint)
    if wrong := wrong_values(operator, len(values)):
        raise InvalidArgument(wrong)
    return Requirement(str(value["key"]), operator, values)


def read_labels(value: Mapping[str, Any] | None) -> LabelSelector | None:
    """A LabelSelector document; None stays None: it selects nothing. Raises InvalidArgument."""
    if value is None:
        return None
    equal = tuple(Requirement(key, "In", (str(word),)) for key, word in (value.get("matchLabels") or {}).items())
    return LabelSelector((*equal, *(read_expression(item) for item in value.get("matchExpressions") or ())))


def read_term(value: Mapping[str, Any]) -> NodeTerm:
    """A NodeSelectorTerm document. Raises InvalidArgument."""
    return NodeTerm(
        tuple(read_expression(item) for item in value.get("matchExpressions") or ()),
        tuple(read_expression(item) for item in value.get("matchFields") or ()),
    )


# -- fields ------------------------------------------------------------------------------------------------------------

FIELDS = ("metadata.name", "metadata.namespace", "status.phase", "spec.nodeName", "spec.type", "reason", "type")
"""Fields that may be selected by, besides those of involvedObject."""


@dataclass(frozen=True)
class FieldSelector:
    """All of (path, equal?, value) together."""

    claims: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, body: Mapping[str, Any]) -> bool:
        """A field that is missing is the empty text."""
        return all((_field(body, path) == value) is equal for path, equal, value in self.claims)


def parse_fields(text: str) -> FieldSelector:
    """`status.phase=Running,metadata.name!=a`; the empty text selects everything. Raises InvalidArgument."""
    claims: list[tuple[str, bool, str]] = []
    for part in text.split(",") if text.strip() else ():
        match = re.fullmatch(r"\s*([A-Za-z.]+)\s*(==|=|!=)\s*([^=!]*?)\s*", part)
        if match is None:
            raise InvalidArgument(
                f"field selector {text[:128]!r}: {part.strip()[:64]!r} is none",
                hint="write something like status.phase=Running or metadata.name!=a, with commas between",
            )
        path, word, value = match.groups()
        if path not in FIELDS and not re.fullmatch(r"involvedObject\.[A-Za-z]+", path):
            near = closest(path, FIELDS)
            known = f"known: {', '.join(FIELDS)}, involvedObject.*"
            raise InvalidArgument(
                f"field selector {text[:128]!r}: cannot select by {path!r}",
                hint=f"did you mean {near}?" if near else known,
            )
        claims.append((path, word != "!=", value))
    return FieldSelector(tuple(claims))


def _field(body: Mapping[str, Any], path: str) -> str:
    found = dig(body, path)
    return "" if found is None else str(found)
