"""What a write would do to one object: the decision, without doing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from flame.core.base.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from flame.core.model import messages as m
from flame.core.objects import check
from flame.core.objects.bodies import decode, encode, scale_bytes, scale_of
from flame.core.objects.kinds import Kind, find_kind
from flame.core.objects.kinds.configuration import CONFIG_MAP
from flame.core.objects.kinds.policy import NAMESPACE, PRIORITY_CLASS
from flame.core.objects.patch import json_patch, merge_patch, three_way, without_nulls
from flame.core.objects.paths import dig
from flame.core.objects.problems import Problem, invalid
from flame.core.objects.records import AnyRecord, ObjectGone, ObjectKept
from flame.core.objects.schema import Body, kind_of
from flame.core.objects.stamps import stamp
from flame.core.objects.state import Key, State, Stored, place

LAST_APPLIED = "flame.xflops.cn/last-applied"
KUBECTL_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FOREGROUND = "foregroundDeletion"
"""Finalizer of an object whose deletion waits for the engine to stop what it started; only the engine takes it away."""
_OWNED = (
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
"""Metadata that only the server sets."""
_MANAGERS = 10
MODES = ("create", "replace", "apply", "merge", "json")

Admit = Callable[[Kind, Body], Iterable[Problem]]
"""What else may be wrong with an object, from what its kind does not know: settings, texts inside of texts."""


@dataclass(frozen=True)
class Change:
    """What a write would do. records: to be committed, none when nothing changes or it was a dry run; body: the object (or its scale) as it
    is then, as JSON; change: created, configured, unchanged or deleted."""

    key: Key
    records: tuple[AnyRecord, ...]
    body: bytes
    change: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Writer:
    """One write: who, when, and what it may draw from."""

    state: State
    now: float
    uid: str
    who: str
    admit: Admit | None = None
    views: bool = False  # may it write kinds that clients may not?

    def put(self, request: m.PutObject) -> Change:
        kind = find_kind(request.kind)
        if not kind.writable and not self.views:
            raise InvalidArgument(f"a {kind.name} cannot be written", hint="it shows what the engine knows")
        if request.mode not in MODES:
            raise InvalidArgument(f"unknown mode {request.mode[:40]!r}", hint=f"known: {', '.join(MODES)}")
        if request.subresource not in ("", *kind.subresources):
            known = ", ".join(kind.subresources) or "none"
            raise InvalidArgument(f"a {kind.name} has no {request.subresource[:40]!r}", hint=f"subresources: {known}")
        sent = decode(request.body)
        if request.mode in ("create", "replace", "apply") and request.subresource != "scale":
            sent = self._whole(kind, sent)
        key = self._key(kind, request, sent)
        old = self.state.find(kind.name, key.tenant, key.namespace, key.name)
        if old is None:
            return self._created(kind, key, request, sent)
        if request.mode == "create":
            raise AlreadyExists(f"{_shown(key)} exists", hint="apply or replace changes it")
        return self._changed(kind, old, request, sent)

    # -- the two cases ------------------------------------------------------------------------------------------------

    def _created(self, kind: Kind, key: Key, request: m.PutObject, sent: Any) -> Change:
        if request.mode not in ("create", "apply") or request.subresource:
            raise NotFound(f"there is no {_shown(key)}", hint="create or apply makes it")
        about = sent["metadata"]
        if about.get("resourceVersion"):
            raise Conflict(
                f"there is no {_shown(key)} any more", hint="leave metadata.resourceVersion out to make it anew"
            )
        self._namespace(kind, key)
        metadata = {name: value for name, value in about.items() if name not in (*_OWNED, "generateName")}
        metadata["name"] = key.name
        if kind.namespaced:
            metadata["namespace"] = key.namespace
        if request.mode == "apply":
            metadata["annotations"] = _applied(metadata.get("annotations"), LAST_APPLIED, sent)
        metadata |= {"uid": self.uid, "creationTimestamp": stamp(self.now)}
        body = {**sent, "metadata": metadata}
        if "status" in kind.subresources and not self.views:
            body.pop("status", None)
        if "spec" in kind.schema.fields:
            metadata["generation"] = 1
        if kind is NAMESPACE:
            body.setdefault("status", {"phase": "Active"})
        return self._kept(kind, key, None, body, request)

    def _changed(self, kind: Kind, old: Stored, request: m.PutObject, sent: Any) -> Change:
        body = self._candidate(kind, old, request, sent)
        about: Any = body.get("metadata")
        wrong = list(kind.schema.fields["metadata"].problems(about, "metadata"))
        if wrong:
            raise invalid(wrong, _shown(old.key))
        self._preconditions(old, about)
        for name in ("name", "namespace"):
            if about.get(name) is not None and about[name] != old.metadata.get(name):
                raise InvalidArgument(
                    f"{_shown(old.key)}: metadata.{name} never changes", hint="make a new object and delete this one"
                )
        metadata = {name: value for name, value in about.items() if name not in _OWNED and value is not None}
        metadata |= {name: old.metadata[name] for name in ("name", "namespace", *_OWNED) if name in old.metadata}
        if FOREGROUND in (old.metadata.get("finalizers") or ()) and not self.views:
            metadata["finalizers"] = [*(f for f in metadata.get("finalizers") or () if f != FOREGROUND), FOREGROUND]
        body = {**body, "metadata": metadata}
        if "status" in kind.subresources and request.subresource != "status":
            body = _with(body, "status", old.body.get("status"))
        self._immutable(kind, old, body)
        if body == old.body:
            seen = scale_bytes(old.body) if request.subresource == "scale" else old.data
            return Change(old.key, (), seen, "unchanged", _warnings(kind, body, request))
        if "spec" in kind.schema.fields and body.get("spec") != old.body.get("spec"):
            metadata["generation"] = old.metadata.get("generation", 0) + 1
        return self._kept(kind, old.key, old, body, request)

    def _candidate(self, kind: Kind, old: Stored, request: m.PutObject, sent: Any) -> dict[str, Any]:
        """The object as the request wants it, before the server looks at what may change."""
        if request.subresource == "scale":
            return _scaled(old, request.mode, sent)
        if request.mode == "apply" and not request.subresource:
            return _apply(kind, old, sent)
        if request.mode in ("replace", "apply"):
            wanted = sent
        else:
            wanted = merge_patch(old.body, sent) if request.mode == "merge" else json_patch(old.body, sent)
            if not isinstance(wanted, dict):
                raise InvalidArgument(f"{_shown(old.key)}: the patch would leave no object")
        if request.subresource == "status":
            about = {**old.metadata, "resourceVersion": dig(wanted, "metadata.resourceVersion")}
            return _with({**old.body, "metadata": about}, "status", without_nulls(wanted.get("status")))
        if request.mode in ("merge", "json"):
            wanted = without_nulls(wanted)
        return dict(wanted)

    # -- checks -------------------------------------------------------------------------------------------------------

    def _whole(self, kind: Kind, sent: Any) -> dict[str, Any]:
        if not isinstance(sent, dict):
            raise InvalidArgument(f"a {kind.name} is a mapping, found {kind_of(sent)}")
        body: dict[str, Any] = without_nulls(check.named(sent))
        if check.kind_of_body(body) is not kind:
            raise InvalidArgument(f"the request is about a {kind.name}, its body is a {body['kind']}")
        if not isinstance(body.get("metadata"), dict):
            raise invalid([Problem("metadata", "is missing", "write metadata: {name: ...}")], kind.name)
        return body

    def _key(self, kind: Kind, request: m.PutObject, sent: Any) -> Key:
        """Which object: request and body must not contradict each other."""
        about = sent.get("metadata") if isinstance(sent, dict) and request.mode != "json" else None
        about = about if isinstance(about, Mapping) else {}
        name, space = str(about.get("name") or ""), str(about.get("namespace") or "")
        if request.name and name and request.name != name:
            raise InvalidArgument(
                f"the request is about {request.name!r}, metadata.name is {name!r}", hint="names never change"
            )
        if kind.namespaced and request.namespace and space and request.namespace != space:
            raise InvalidArgument(
                f"the request is about namespace {request.namespace!r}, metadata.namespace is {space!r}"
            )
        if not kind.namespaced and space:
            raise InvalidArgument(f"metadata.namespace: a {kind.name} is in no namespace", hint="leave it out")
        named = request.name or name
        if not named and request.mode == "create" and about.get("generateName"):
            named = f"{about['generateName']}{self.uid.replace('-', '')[:8]}"
        if not named:
            raise InvalidArgument(f"metadata.name is missing: which {kind.name}?")
        return Key(kind.name, request.tenant or "default", place(kind, request.namespace or space), named)

    def _namespace(self, kind: Kind, key: Key) -> None:
        if kind.namespaced and self.state.find("Namespace", key.tenant, "", key.namespace) is None:
            raise NotFound(
                f"there is no namespace {key.namespace[:80]!r}",
                hint=f"flame create namespace {key.namespace[:80]} makes it",
            )

    def _preconditions(self, old: Stored, about: Mapping[str, Any]) -> None:
        version, uid = about.get("resourceVersion"), about.get("uid")
        if version and str(version) != str(old.version):
            raise Conflict(
                f"{_shown(old.key)} has changed: resourceVersion {version} was read, {old.version} is stored",
                hint="read it again, make the change again",
            )
        if uid and uid != old.metadata["uid"]:
            raise Conflict(f"{_shown(old.key)} is another one than {uid}", hint="it was deleted and made anew")

    def _immutable(self, kind: Kind, old: Stored, body: Body) -> None:
        paths = kind.immutable
        if kind is CONFIG_MAP and old.body.get("immutable"):
            paths = ("data", "binaryData", "immutable")
        wrong = [
            Problem(
                path,
                f"never changes: it is {_brief(before)}, asked is {_brief(after)}",
                "delete the object and make it anew",
            )
            for path in paths
            if (before := _effective(kind, old.body, path)) != (after := _effective(kind, body, path))
        ]
        if wrong:
            raise invalid(wrong, _shown(old.key))
        if old.metadata.get("deletionTimestamp"):
            more = set(body["metadata"].get("finalizers") or ()) - set(old.metadata.get("finalizers") or ())
            if more:
                raise InvalidArgument(f"{_shown(old.key)} is being deleted: no finalizer can be added")

    def _legal(self, kind: Kind, key: Key, old: Stored | None, body: Body, status: bool) -> None:
        """A status is looked at alone, and settings only bind what changes: they may be others now than when the object was made."""
        part = kind.schema.child("status") if status else None
        problems = (
            list(part.problems(body.get("status", {}), "status")) if part is not None else check.validate(kind, body)
        )
        changed = old is None or _essence(old.body) != _essence(body)
        if not problems and changed and self.admit is not None:
            problems = list(self.admit(kind, body))
        if not problems and kind is PRIORITY_CLASS and body.get("globalDefault"):
            other = next(
                (
                    s.key.name
                    for s in self.state.each(kind.name, key.tenant)
                    if s.body.get("globalDefault") and s.key != key
                ),
                "",
            )
            if other:
                problems = [Problem("globalDefault", f"{other} is the default already", "one class at most may be it")]
        if problems:
            raise invalid(problems, _shown(key))

    # -- the outcome --------------------------------------------------------------------------------------------------

    def _kept(self, kind: Kind, key: Key, old: Stored | None, body: dict[str, Any], request: m.PutObject) -> Change:
        self._legal(kind, key, old, body, request.subresource == "status")
        version = self.state.version + 1
        metadata = dict(body["metadata"])
        metadata["managedFields"] = self._managers(kind, metadata.get("managedFields") or [], request)
        metadata["resourceVersion"] = str(version)
        data = encode({**body, "metadata": metadata})
        ends = bool(metadata.get("deletionTimestamp")) and not metadata.get("finalizers")
        record: AnyRecord = ObjectGone(*key, version) if ends else ObjectKept(*key, data, version)
        seen = scale_bytes({**body, "metadata": metadata}) if request.subresource == "scale" else data
        return Change(
            key,
            () if request.dry_run else (record,),
            seen,
            "deleted" if ends else "configured" if old is not None else "created",
            _warnings(kind, body, request),
        )

    def _managers(self, kind: Kind, before: list[Any], request: m.PutObject) -> list[Any]:
        """Who wrote last, by what: the newest last, ten at most."""
        mine = {"manager": self.who or "unknown", "operation": "Apply" if request.mode == "apply" else "Update"}
        if request.subresource:
            mine["subresource"] = request.subresource
        others = [
            entry
            for entry in before
            if {name: entry[name] for name in ("manager", "operation", "subresource") if name in entry} != mine
        ]
        return [*others[-_MANAGERS + 1 :], {**mine, "apiVersion": kind.api_version, "time": stamp(self.now)}]


def _apply(kind: Kind, old: Stored, sent: dict[str, Any]) -> dict[str, Any]:
    notes = old.metadata.get("annotations") or {}
    note = KUBECTL_APPLIED if KUBECTL_APPLIED in notes and LAST_APPLIED not in notes else LAST_APPLIED
    try:
        last = msgspec.json.decode(notes.get(note) or "{}")
    except msgspec.DecodeError:
        last = {}  # somebody wrote nonsense there: nothing is known to have been applied, so nothing is removed
    new = _clean(sent)
    merged: dict[str, Any] = three_way(_clean(last) if isinstance(last, dict) else {}, old.body, new, kind.schema)
    given = {name: value for name in ("resourceVersion", "uid") if (value := sent["metadata"].get(name))}
    about = {name: value for name, value in merged["metadata"].items() if name not in _OWNED} | given
    about["annotations"] = _applied(about.get("annotations"), note, sent)
    return {**merged, "metadata": about}


def _clean(body: Body) -> dict[str, Any]:
    """What a document itself says: nothing that the server sets, and not what was applied before."""
    about = body.get("metadata") if isinstance(body.get("metadata"), Mapping) else {}
    assert isinstance(about, Mapping)
    metadata = {name: value for name, value in about.items() if name not in _OWNED}
    notes = metadata.get("annotations")
    if isinstance(notes, Mapping):
        metadata["annotations"] = {
            key: word for key, word in notes.items() if key not in (LAST_APPLIED, KUBECTL_APPLIED)
        }
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def _applied(annotations: Any, note: str, sent: Body) -> Any:
    if annotations is not None and not isinstance(annotations, Mapping):
        return annotations  # of the wrong type: validation says so
    text = msgspec.json.encode(_clean(sent), order="deterministic").decode()
    return {**(annotations or {}), note: text}


def _scaled(old: Stored, mode: str, sent: Any) -> dict[str, Any]:
    if mode == "merge":
        wanted = merge_patch(scale_of(old.body), sent)
    elif mode == "json":
        wanted = json_patch(scale_of(old.body), sent)
    else:
        wanted = sent
    replicas = dig(wanted, "spec.replicas")
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise invalid([Problem("spec.replicas", f"must be a whole number, found {kind_of(replicas)}")], _shown(old.key))
    version = dig(wanted, "metadata.resourceVersion")
    metadata = {**old.metadata, "resourceVersion": version}
    return {**old.body, "metadata": metadata, "spec": {**old.spec, "replicas": replicas}}


# -- small things ------------------------------------------------------------------------------------------------------


def _warnings(kind: Kind, body: Body, request: m.PutObject) -> tuple[str, ...]:
    return () if request.subresource else tuple(check.warnings(kind, body))


def _essence(body: Body) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}


def _shown(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"


def _brief(value: Any) -> str:
    return repr(value)[:80]


def _effective(kind: Kind, body: Body, path: str) -> Any:
    found = dig(body, path)
    return dig_default(kind, path) if found is None else found


def dig_default(kind: Kind, path: str) -> Any:
    at: Any = kind.schema
    for part in path.split("."):
        at = at.child(part) if at is not None else None
    return at.default if at is not None else None


def _with(body: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    rest = {name: item for name, item in body.items() if name != key}
    return rest if value is None else {**rest, key: value}
