"""The objects of a cluster: what there is, what a write or a deletion would do, and what changed since.

A plan is a pure decision and changes nothing: it gives records, and `commit` lets a record be so. One writer plans and commits in turn;
the records go into its journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.core.base.errors import Conflict, InvalidState
from flame.core.model import messages as m
from flame.core.objects.bodies import encode
from flame.core.objects.kinds import KINDS, find_kind
from flame.core.objects.kinds.policy import NAMESPACE
from flame.core.objects.records import AnyRecord, ObjectGone, ObjectKept
from flame.core.objects.stamps import stamp
from flame.core.objects.state import BUILT_IN, State, Stored, place
from flame.core.objects.writing import FOREGROUND, Admit, Change, Writer


class Objects(State):
    """All objects of all tenants. admit: says what else is wrong with an object that is legal by its kind."""

    def __init__(self, admit: Admit | None = None) -> None:
        super().__init__()
        self._admit = admit

    def plan_put(self, request: m.PutObject, now: float, uid: str, who: str = "", views: bool = False) -> Change:
        """What the request would do.

        uid:   for an object that is made; who: for the list of writers
        views: may kinds be written that only show what the engine knows, and a status at creation? For the engine itself.

        Raises InvalidArgument (not legal, or changes what never changes), NotFound (kind, namespace, object), AlreadyExists, Conflict
        (resourceVersion or uid are not the stored ones, a JSON patch's test fails), PayloadTooLarge.
        """
        return Writer(self, now, uid, who, self._admit, views).put(request)

    def plan_delete(self, request: m.DeleteObject, now: float) -> Change:
        """What the deletion would do. Objects with finalizers, and those whose kind is `foreground`, only begin to go: they get a
        deletionTimestamp, and `plan_finalized` ends it. Deleting again may shorten the grace.

        Raises NotFound, Conflict (not that version), InvalidState (a namespace that is built in or not empty).
        """
        kind = find_kind(request.kind)
        tenant = request.tenant or "default"
        old = self.get(kind.name, tenant, request.namespace, request.name)
        if request.version and request.version != old.version:
            raise Conflict(
                f"{kind.name} {request.name} has changed: version {request.version} was read, {old.version} is stored",
                hint="read it again, then decide",
            )
        if kind is NAMESPACE:
            self._check_namespace(tenant, request.name)
        finalizers = list(old.metadata.get("finalizers") or ())
        if kind.foreground and not old.metadata.get("deletionTimestamp"):
            finalizers.append(FOREGROUND)
        if not finalizers:
            return self._gone(old, request.dry_run)
        metadata = dict(old.metadata)
        grace = _grace(old, request.grace)
        if metadata.get("deletionTimestamp"):
            if grace >= metadata.get("deletionGracePeriodSeconds", 0):
                return Change(old.key, (), old.data, "unchanged")
        else:
            metadata["deletionTimestamp"] = stamp(now)
            metadata["finalizers"] = finalizers
        metadata["deletionGracePeriodSeconds"] = grace
        return self._kept(old, {**old.body, "metadata": metadata}, request.dry_run)

    def plan_finalized(self, kind: str, tenant: str, namespace: str, name: str, finalizer: str = FOREGROUND) -> Change:
        """`finalizer` lets go of an object; when it was the last of one that is being deleted, the object goes. Raises NotFound."""
        old = self.get(kind, tenant, namespace, name)
        finalizers = [word for word in old.metadata.get("finalizers") or () if word != finalizer]
        if not finalizers and old.metadata.get("deletionTimestamp"):
            return self._gone(old, False)
        if finalizers == list(old.metadata.get("finalizers") or ()):
            return Change(old.key, (), old.data, "unchanged")
        metadata = {key: value for key, value in old.metadata.items() if key != "finalizers"}
        if finalizers:
            metadata["finalizers"] = finalizers
        return self._kept(old, {**old.body, "metadata": metadata}, False)

    def with_status(self, old: Stored, status: Mapping[str, Any]) -> ObjectKept:
        """The record that gives an object this status, as the engine finds it: nothing is checked."""
        return self._stamped(old, {**old.body, "status": status})

    def apply(self, change: Change) -> Change:
        """Commit every record of a plan; the plan itself, for a chain of calls."""
        for record in change.records:
            self.commit(record)
        return change

    def _check_namespace(self, tenant: str, name: str) -> None:
        if name in BUILT_IN:
            raise InvalidState(f"namespace {name} is built in", hint="it cannot be deleted")
        left = [
            f"{kind} {stored.key.name}"
            for (kind, owner) in list(self._spaces)
            if owner == tenant and KINDS[kind].writable  # events stay behind, and are forgotten in time
            for stored in self.list(kind, tenant, name, limit=3).items
            if stored.key.namespace == name
        ]
        if left:
            raise InvalidState(
                f"namespace {name} is not empty: {', '.join(left[:3])}", hint="delete what is in it first"
            )

    def _gone(self, old: Stored, dry_run: bool) -> Change:
        record: AnyRecord = ObjectGone(*old.key, self.version + 1)
        return Change(old.key, () if dry_run else (record,), old.data, "deleted")

    def _kept(self, old: Stored, body: dict[str, Any], dry_run: bool) -> Change:
        record = self._stamped(old, body)
        return Change(old.key, () if dry_run else (record,), record.body, "configured")

    def _stamped(self, old: Stored, body: Mapping[str, Any]) -> ObjectKept:
        """With the next version."""
        version = self.version + 1
        data = encode({**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}})
        return ObjectKept(*old.key, data, version)


def _grace(old: Stored, asked: float | None) -> int:
    """Whole seconds between SIGTERM and SIGKILL: what was asked, else what the object says, else 30."""
    if asked is not None:
        return max(0, int(asked))
    template = old.spec.get("template") or {}
    said = (template.get("spec") or {}).get("terminationGracePeriodSeconds")
    return 30 if said is None else int(said)


__all__ = ["FOREGROUND", "Change", "Objects", "Stored", "place"]
