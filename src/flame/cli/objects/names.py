"""Which objects a command names: `KIND NAME...`, `KIND/NAME...`, `KIND,KIND`, `all`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flame.cli.objects.options import DEFAULT
from flame.core.base.errors import InvalidArgument
from flame.core.objects.describe import find_kind_of_word
from flame.core.objects.kinds import KINDS, Kind

ALL = ("FlameWorkload", "Pod", "Service")
"""What `all` means."""


class Named(NamedTuple):
    """`name`: empty: all of the kind."""

    kind: Kind
    name: str = ""


def kinds_of(word: str) -> list[Kind]:
    """`pods,nodes` or `all`. Raises NotFound with the nearest kind."""
    found: list[Kind] = []
    for part in word.split(","):
        found += [KINDS[name] for name in ALL] if part.lower() == "all" else [find_kind_of_word(part)]
    return found


def named(words: Sequence[str], need_name: bool = False) -> list[Named]:
    """What the words of a command name. Raises InvalidArgument, NotFound for a kind nobody knows."""
    if not words:
        raise InvalidArgument("name a kind, or files with -f", hint="such as: flame get workloads")
    if any("/" in word for word in words):
        return [_slashed(word) for word in words]
    kinds, names = kinds_of(words[0]), words[1:]
    if not names:
        if need_name:
            raise InvalidArgument(f"which {kinds[0].name}?", hint=f"flame ... {kinds[0].singular} NAME")
        return [Named(kind) for kind in kinds]
    return [Named(kind, name) for kind in kinds for name in names]


def one(words: Sequence[str]) -> Named:
    """Exactly one object. Raises InvalidArgument."""
    found = named(words, need_name=True)
    if len(found) != 1:
        raise InvalidArgument(f"one object is needed, {len(found)} are named")
    return found[0]


def _slashed(word: str) -> Named:
    kind, slash, name = word.partition("/")
    if not slash or not kind or not name or "/" in name:
        raise InvalidArgument(
            f"{word[:80]!r} is no KIND/NAME", hint="there are slashes in other words, so in all of them"
        )
    return Named(find_kind_of_word(kind), name)


def space(kind: Kind, namespace: str | None) -> str:
    """The namespace to ask for, for one object; empty for kinds that have none."""
    return (namespace or DEFAULT) if kind.namespaced else ""


def shown(body: Mapping[str, Any]) -> str:
    """`flameworkload.flame.xflops.cn/train`, `pod/train-0`."""
    return full(Named(KINDS[body["kind"]], body["metadata"]["name"]))


def full(item: Named) -> str:
    group = f".{item.kind.group}" if item.kind.group else ""
    return f"{item.kind.singular}{group}/{item.name}"
