"""The registry of kinds, and how one is found by any of its names."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.base.errors import NotFound
from flame.core.objects.kinds import configuration, platform, policy, views
from flame.core.objects.kinds.common import Column, Kind
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.problems import closest

KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (WORKLOAD, *views.KINDS, *policy.KINDS, *configuration.KINDS, *platform.KINDS)
}
"""Name -> kind."""


def _spellings(kind: Kind) -> tuple[str, ...]:
    """All lower case."""
    bare = (kind.singular, kind.plural, *kind.short)
    grouped = (
        f"{kind.plural}.{kind.group}",
        f"{kind.plural}.{kind.version}.{kind.group}",
        f"{kind.singular}.{kind.group}",
    )
    return (*bare, *grouped) if kind.group else bare


_BY_SPELLING: Mapping[str, Kind] = {word: kind for kind in KINDS.values() for word in _spellings(kind)}


def find_kind(word: str) -> Kind:
    """The kind by its name, singular, plural, short name or full resource name, in any case. Raises NotFound with the nearest one."""
    found = _BY_SPELLING.get(word.strip().lower())
    if found is not None:
        return found
    near = closest(word, _BY_SPELLING)
    meant = f"did you mean {near}? " if near else ""
    raise NotFound(f"there is no kind {word[:80]!r}", hint=f"{meant}known: {', '.join(sorted(KINDS))}")


def of_document(api_version: str, name: str) -> Kind:
    """The kind of a document. Raises NotFound for a kind nobody knows, and for a known one in a version nobody knows."""
    kind = KINDS.get(name)
    if kind is None:
        near = closest(name, KINDS)
        meant = f"did you mean {near}? " if near else ""
        raise NotFound(f"there is no kind {name[:80]!r}", hint=f"{meant}known: {', '.join(sorted(KINDS))}")
    if api_version != kind.api_version:
        raise NotFound(f"{name} is not known in {api_version[:80]!r}", hint=f"write apiVersion: {kind.api_version}")
    return kind


__all__ = ["KINDS", "Column", "Kind", "find_kind", "of_document"]
