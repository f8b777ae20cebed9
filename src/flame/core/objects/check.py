"""Is this document a legal object? And what is said to whom who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame.core.base.errors import FlameError
from flame.core.objects.kinds import Kind, find_kind, of_document
from flame.core.objects.kinds.configuration import HELM_VALUES
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.problems import Problem, invalid
from flame.core.objects.schema import Body, unused_fields
from flame.core.objects.tree import VALUES

VALUES_NAME = "flame"


def named(body: Body) -> Body:
    """The document as an object: a values file, which has no kind, becomes the FlameValues object named `flame`."""
    if "kind" in body or "apiVersion" in body or not set(body) & set(VALUES.fields):
        return body
    head = {"apiVersion": HELM_VALUES.api_version, "kind": HELM_VALUES.name, "metadata": {"name": VALUES_NAME}}
    return {**head, **body}


def kind_of_body(body: Body, file: str = "", lines: Mapping[str, int] | None = None) -> Kind:
    """The kind a document says it is. Raises InvalidArgument when it says none, NotFound for one that nobody knows."""
    missing = [
        Problem(key, "is missing", "an object has apiVersion, kind and metadata")
        for key in ("apiVersion", "kind")
        if not isinstance(body.get(key), str) or not body[key]
    ]
    if missing:
        raise invalid(missing, file=file, lines=lines)
    try:
        return of_document(body["apiVersion"], body["kind"])
    except FlameError as error:
        line = (lines or {}).get("kind", 0)
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        raise type(error)(place + error.message, hint=error.hint) from None


def validate(kind: Kind | str, body: Any) -> list[Problem]:
    """Everything wrong with an object of this kind, in the order of the document. Raises NotFound for a kind nobody knows."""
    found = find_kind(kind) if isinstance(kind, str) else kind
    return list(found.schema.problems(body, ""))


def check(body: Body, file: str = "", lines: Mapping[str, int] | None = None) -> Kind:
    """The kind of a legal object. Raises InvalidArgument with every problem and its line, NotFound for an unknown kind."""
    kind = kind_of_body(body, file, lines)
    problems = validate(kind, body)
    if problems:
        raise invalid(problems, "" if file else shown(kind, body), file, lines)
    return kind


def shown(kind: Kind, body: Body) -> str:
    """How an error names it: `FlameWorkload default/train`."""
    about = body.get("metadata")
    about = about if isinstance(about, Mapping) else {}
    name = str(about.get("name") or about.get("generateName") or "without a name")
    return f"{kind.name} {about.get('namespace') or 'default'}/{name}" if kind.namespaced else f"{kind.name} {name}"


def ignored_fields(kind: Kind, body: Body) -> list[str]:
    """Paths of accepted fields that Flame does not act upon."""
    return list(unused_fields(kind.schema, body))


def warnings(kind: Kind, body: Body) -> list[str]:
    """What whoever writes the object should know."""
    found: list[str] = []
    if kind.only_kubernetes:
        found.append(f"{kind.name} is stored and checked; it has a meaning on Kubernetes only")
    ignored: Sequence[str] = ignored_fields(kind, body) if kind is WORKLOAD else ()
    if ignored:
        found.append(f"accepted, and not acted upon: {', '.join(ignored[:20])}{', ...' if len(ignored) > 20 else ''}")
    return found
