"""What a Kubernetes-style path means: a pure function from text to kind, namespace, name and subresource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flame.core.base.errors import NotFound
from flame.core.objects.kinds import KINDS, Kind

BY_PLACE: Mapping[tuple[str, str, str], Kind] = {
    (kind.group, kind.version, kind.plural): kind for kind in KINDS.values()
}
"""(group, version, plural) -> kind."""
GROUPS: Mapping[str, str] = {kind.group: kind.version for kind in KINDS.values() if kind.group}
"""Group -> its only version."""
SUBRESOURCES = ("status", "scale", "log")


@dataclass(frozen=True)
class Place:
    """`what`: groups (what `/api` and `/apis` answer), group, resources (of a version), collection or object."""

    what: str
    group: str = ""
    version: str = ""
    kind: Kind | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def core(self) -> bool:
        return not self.group

    def of(self) -> Kind:
        assert self.kind is not None, f"{self.what} has no kind"
        return self.kind


def locate(path: str) -> Place:
    """Raises NotFound for a path that leads nowhere."""
    top, *rest = [part for part in path.split("/") if part]
    if top == "api":
        return _in_group(path, "", rest) if rest else Place("groups")
    if not rest:
        return Place("groups", "*")
    group, *rest = rest
    if group not in GROUPS:
        raise _nowhere(path)
    return _in_group(path, group, rest) if rest else Place("group", group, GROUPS[group])


def _in_group(path: str, group: str, rest: list[str]) -> Place:
    version, *rest = rest
    if version != (GROUPS[group] if group else "v1"):
        raise _nowhere(path)
    if not rest:
        return Place("resources", group, version)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in SUBRESOURCES:
        _, namespace, *rest = rest
    plural, *rest = rest
    kind = BY_PLACE.get((group, version, plural))
    if kind is None or len(rest) > 2 or (namespace and not kind.namespaced):
        raise _nowhere(path)
    if not rest:
        return Place("collection", group, version, kind, namespace)
    name, *sub = rest
    if (kind.namespaced and not namespace) or (sub and sub[0] not in subresources(kind)):
        raise _nowhere(path)
    return Place("object", group, version, kind, namespace, name, sub[0] if sub else "")


def subresources(kind: Kind) -> tuple[str, ...]:
    return (*kind.subresources, "log") if kind.name == "Pod" else kind.subresources


def _nowhere(path: str) -> NotFound:
    return NotFound(f"there is nothing at {path[:200]}", hint="/apis lists what there is")
