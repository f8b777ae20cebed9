"""All objects there are, in order, and what changed lately. Changed by records only, so that a journal of them is the state."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from flame.core.base.errors import Expired, InvalidArgument, NotFound
from flame.core.base.ids import shard_of
from flame.core.model import messages as m
from flame.core.model.rules import LabelSelector
from flame.core.objects.kinds import KINDS, Kind
from flame.core.objects.records import AnyRecord, ObjectGone, ObjectKept, ObjectsSeen
from flame.core.objects.selectors import FieldSelector, parse_fields, parse_labels

BUILT_IN = ("default", "flame-system")
"""Namespaces that every tenant has from the start and that stay."""
MAX_CHANGES = 10_000
MAX_CHANGES_BYTES = 64 * 1024 * 1024
_NO_LABELS: Mapping[str, str] = {}


class Key(NamedTuple):
    """kind: its name; namespace: empty for kinds without."""

    kind: str
    tenant: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Stored:
    """An object as it is kept. `body` belongs to the store: never change it. `data`: the same as JSON."""

    key: Key
    body: Mapping[str, Any]
    data: bytes
    version: int

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.body["metadata"]  # type: ignore[no-any-return]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or _NO_LABELS

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.body.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        return self.body.get("status") or {}


class Page(NamedTuple):
    """`after`: where to go on, empty at the end; `remaining`: how many come then (0 under a selector: nobody counted)."""

    items: tuple[Stored, ...]
    version: int
    after: str
    remaining: int


@dataclass
class _Space:
    """Objects of one kind of one tenant: by (namespace, name), which are kept sorted."""

    order: list[tuple[str, str]] = field(default_factory=list)
    by: dict[tuple[str, str], Stored] = field(default_factory=dict)


class _Changed(NamedTuple):
    version: int
    key: Key
    old: Stored | None
    new: Stored | None
    gone: bytes  # of a deletion: the last body under the version of the deletion


class State:
    """Reads are O(result); nothing here decides anything."""

    def __init__(self) -> None:
        self.version = 1
        """The newest resourceVersion that was given out."""
        self._spaces: dict[tuple[str, str], _Space] = {}
        self._tenants: set[str] = set()
        self._changes: deque[_Changed] = deque()
        self._changes_bytes = 0
        self._floor = 1  # changes up to this version are forgotten

    # -- reading ------------------------------------------------------------------------------------------------------

    def find(self, kind: str, tenant: str, namespace: str, name: str) -> Stored | None:
        """The object, or None. namespace: ignored for kinds without; empty: default."""
        return self._space(kind, tenant).by.get((place(KINDS[kind], namespace), name))

    def get(self, kind: str, tenant: str, namespace: str, name: str) -> Stored:
        """Raises NotFound."""
        found = self.find(kind, tenant, namespace, name)
        if found is None:
            where = f" in namespace {place(KINDS[kind], namespace)}" if KINDS[kind].namespaced else ""
            hint = f"flame get {KINDS[kind].plural}{' -A' if where else ''} lists what there is"
            raise NotFound(f"there is no {kind} {name[:80]!r}{where}", hint=hint)
        return found

    def list(
        self,
        kind: str,
        tenant: str,
        namespace: str = "",
        labels: str | LabelSelector = "",
        fields: str = "",
        limit: int = 0,
        after: str = "",
    ) -> Page:
        """Objects by namespace and name. namespace: empty: all; limit 0: no limit; after: `Page.after` of the page before.

        Raises InvalidArgument for a selector or `after` that is not legal."""
        wanted = parse_labels(labels) if isinstance(labels, str) else labels
        chosen = parse_fields(fields)
        space = self._space(kind, tenant)
        namespace = namespace if KINDS[kind].namespaced else ""
        begin = bisect_left(space.order, (namespace, "")) if namespace else 0
        end = bisect_left(space.order, (namespace + "\0", "")) if namespace else len(space.order)
        if after:
            first, slash, last = after.partition("/")
            if not slash:
                raise InvalidArgument(f"not a continue token: {after[:80]!r}", hint="give the one of the page before")
            begin = max(begin, bisect_right(space.order, (first, last)))
        items: list[Stored] = []
        for at in range(begin, end):
            item = space.by[space.order[at]]
            if wanted.matches(item.labels) and chosen.matches(item.body):
                if limit and len(items) == limit:
                    last_key = items[-1].key
                    remaining = 0 if wanted.requirements or chosen.claims else end - at
                    return Page(tuple(items), self.version, f"{last_key.namespace}/{last_key.name}", remaining)
                items.append(item)
        return Page(tuple(items), self.version, "", 0)

    def each(self, kind: str, tenant: str = "") -> Iterator[Stored]:
        """All objects of a kind; tenant: empty: of all tenants, by name."""
        for tenant_name in [tenant] if tenant else sorted({owner for _, owner in self._spaces} | {"default"}):
            space = self._space(kind, tenant_name)
            for place_of in list(space.order):
                yield space.by[place_of]

    def changes_since(
        self,
        kind: str,
        since: int,
        tenant: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 1000,
    ) -> tuple[tuple[m.ObjectChange, ...], int]:
        """What changed after version `since`, oldest first, and the version to ask from next. An object that the selectors matched before
        and do not match now is DELETED to who watches.

        Raises Expired when that far back is forgotten, or was never known here: list again.
        """
        if since < self._floor or since > self.version:
            raise Expired(
                f"changes since {since} are not known; {self._floor} to {self.version} are",
                hint="list again and go on from there",
            )
        wanted, chosen = parse_labels(labels), parse_fields(fields)
        found: list[m.ObjectChange] = []
        at = bisect_right(self._changes, since, key=lambda changed: changed.version)
        for index in range(at, len(self._changes)):
            changed = self._changes[index]
            key = changed.key
            if key.kind != kind or key.tenant != tenant or (namespace and key.namespace not in ("", namespace)):
                continue
            change = _seen(changed, wanted, chosen)
            if change is not None:
                found.append(change)
                if len(found) == limit:
                    return tuple(found), changed.version
        return tuple(found), self.version

    # -- writing ------------------------------------------------------------------------------------------------------

    def commit(self, record: AnyRecord) -> None:
        """Let a record be so. Versions grow; a record of an older version (a replay) changes nothing that is newer."""
        if isinstance(record, ObjectsSeen):
            self.version = max(self.version, record.version)
            self._floor = max(self._floor, self.version)
            self._forget(0)
            return
        key = Key(record.kind, record.tenant, record.namespace, record.name)
        space = self._space(key.kind, key.tenant)
        at = (key.namespace, key.name)
        old = space.by.get(at)
        if old is not None and old.version >= record.version:
            return
        new: Stored | None = None
        gone = b""
        if isinstance(record, ObjectGone):
            if old is not None:
                gone = _with_version(old.body, record.version)
                del space.by[at]
                del space.order[bisect_left(space.order, at)]
        else:
            new = Stored(key, msgspec.json.decode(record.body), record.body, record.version)
            if old is None:
                insort(space.order, at)
            space.by[at] = new
        self.version = max(self.version, record.version)
        if old is not None or new is not None:
            self._remember(_Changed(record.version, key, old, new, gone))

    def records(self) -> Iterator[AnyRecord]:
        """A snapshot: committing these to an empty state gives this one, save for the changes, which are forgotten."""
        for (kind, tenant), space in self._spaces.items():
            for at in space.order:
                kept = space.by[at]
                if kept.version > 1:  # built-in objects are there anyway
                    yield ObjectKept(kind, tenant, at[0], at[1], kept.data, kept.version)
        yield ObjectsSeen(self.version)

    def _space(self, kind: str, tenant: str) -> _Space:
        if tenant not in self._tenants:
            self._tenants.add(tenant)
            namespaces = self._spaces.setdefault(("Namespace", tenant), _Space())
            for name in BUILT_IN:
                namespaces.by[("", name)] = _built_in(tenant, name)
                namespaces.order.append(("", name))
        return self._spaces.setdefault((kind, tenant), _Space())

    def _remember(self, changed: _Changed) -> None:
        self._changes.append(changed)
        self._changes_bytes += _size(changed)
        self._forget(MAX_CHANGES)

    def _forget(self, most: int) -> None:
        while self._changes and (len(self._changes) > most or self._changes_bytes > MAX_CHANGES_BYTES):
            dropped = self._changes.popleft()
            self._changes_bytes -= _size(dropped)
            self._floor = dropped.version


def place(kind: Kind, namespace: str) -> str:
    """The namespace part of a key."""
    return (namespace or "default") if kind.namespaced else ""


def _size(changed: _Changed) -> int:
    return len(changed.new.data) if changed.new is not None else len(changed.gone)


def _seen(changed: _Changed, wanted: LabelSelector, chosen: FieldSelector) -> m.ObjectChange | None:
    def matches(stored: Stored | None) -> bool:
        return stored is not None and wanted.matches(stored.labels) and chosen.matches(stored.body)

    before, after = matches(changed.old), matches(changed.new)
    if after:
        assert changed.new is not None
        return m.ObjectChange("MODIFIED" if before else "ADDED", changed.version, changed.new.data)
    if not before:
        return None
    return m.ObjectChange("DELETED", changed.version, changed.gone or (changed.new.data if changed.new else b""))


def _with_version(body: Mapping[str, Any], version: int) -> bytes:
    return msgspec.json.encode({**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}})


def _built_in(tenant: str, name: str) -> Stored:
    number = shard_of(f"{tenant}.{name}", 2**32)
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": f"00000000-0000-4000-8000-0000{number:08x}",
            "resourceVersion": "1",
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "generation": 1,
            "labels": {"kubernetes.io/metadata.name": name, "name": name},
        },
        "status": {"phase": "Active"},
    }
    return Stored(Key("Namespace", tenant, "", name), body, msgspec.json.encode(body), 1)


__all__ = ["BUILT_IN", "Key", "Page", "State", "Stored", "place"]
