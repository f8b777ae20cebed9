"""What quotas count beside replicas: claims (with their storage), services, and by number every other kind in a namespace.

Claims and services that are too many wait until others are gone: there is something that they wait for. Of the other kinds the one too
many is refused. Whoever is admitted stays so, even when a quota becomes smaller. The status of a claim or service says which of the two
it is, and is the engine's: what a client writes there does not last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flame.core.allocator.policy import quotas_for
from flame.core.allocator.state import Book
from flame.core.base.errors import PermissionDenied
from flame.core.base.quantity import parse_quantity
from flame.core.objects.conditions import with_condition
from flame.core.objects.kinds import KINDS
from flame.core.objects.state import Key, Stored
from flame.core.objects.store import Change
from flame.core.scheduler.actions.waiting import refusal_text
from flame.core.workloads.job import Job

CODE = 5004

CLAIM = "PersistentVolumeClaim"
WAITING = {CLAIM: "Bound", "Service": "Active"}
"""Kinds that wait, and the phase of one that no longer does."""
REFUSED = tuple(kind.name for kind in KINDS.values() if kind.namespaced and kind.writable and kind.name not in WAITING)
PENDING = "Pending"
STORAGE = "requests.storage"


def settle(book: Book) -> None:
    """The quotas were read again: count what is admitted, and admit what may be now."""
    named = {name for quota in book.quotas for name in (*quota.hard, *quota.guaranteed)}
    book.refused_kinds = frozenset(kind for kind in REFUSED if not named.isdisjoint(_names(kind)))
    before, book.counted = book.counted, {}
    for kind in WAITING:
        found = list(book.objects.each(kind))
        for stored in sorted(found, key=lambda one: (one.metadata["creationTimestamp"], one.version)):
            if stored.status.get("phase") == PENDING and stored.key not in before:
                book.queued.setdefault(stored.key, "")
            else:
                _count(book, stored)
                _show(book, stored.key)
    for kind in book.refused_kinds:
        for stored in book.objects.each(kind):
            _count(book, stored)
    _admit(book)


def check(book: Book, change: Change) -> None:
    """Of what cannot wait. Raises PermissionDenied for one too many, and for a claim that would grow beyond its quota."""
    key = change.key
    if key.kind == CLAIM and key in book.counted:
        had = book.counted[key][1].get(STORAGE, 0)
        asked = {STORAGE: _storage(msgspec.json.decode(change.body)["spec"]) - had}
    elif change.change == "created" and key.kind in book.refused_kinds:
        asked = dict.fromkeys(_names(key.kind), 1)
    else:
        return
    refusal = book.tree.refusal(quotas_for(book, key.tenant, key.namespace), asked)
    if refusal is not None:
        raise PermissionDenied(
            f"{key.kind} {key.name} is too much: {refusal_text(refusal)}",
            hint=f"delete others, or let somebody raise the quota in namespace {key.namespace}",
        )


def changed(book: Book, key: Key) -> None:
    """One was made, changed or deleted: what follows for it, for those that wait, and for the workloads that name them."""
    stored = book.objects.find(*key)
    was = book.counted.pop(key, None)
    if was is not None:
        book.tree.charge(*was, -1)
    if key.kind in WAITING:
        if stored is None:
            book.queued.pop(key, None)
            _tell(book, key)
        elif was is not None:
            _count(book, stored)
            _show(book, key)
        else:
            book.queued.setdefault(key, "")
        _admit(book)
    elif stored is not None and key.kind in book.refused_kinds:
        _count(book, stored)


def _admit(book: Book) -> None:
    """In the order in which they came; who waits for a quota of its own namespace does not keep others waiting."""
    for key in list(book.queued):
        stored = book.objects.get(*key)
        refusal = book.tree.refusal(quotas_for(book, key.tenant, key.namespace), _amounts(stored))
        before = book.queued[key]
        if refusal is None:
            del book.queued[key]
            _count(book, stored)
            if before:
                book.note(about(key), "Admitted", CODE, "as much as it asks of its quota was given back")
        else:
            book.queued[key] = refusal_text(refusal)
            if book.queued[key] != before:
                book.note(about(key), "QuotaExceeded", CODE, book.queued[key])
        _show(book, key)
        _tell(book, key)


def _count(book: Book, stored: Stored) -> None:
    key = stored.key
    names, amounts = book.counted[key] = quotas_for(book, key.tenant, key.namespace), _amounts(stored)
    book.tree.charge(names, amounts)


def _amounts(stored: Stored) -> dict[str, int]:
    found = dict.fromkeys(_names(stored.key.kind), 1)
    if stored.key.kind == CLAIM:
        found[STORAGE] = _storage(stored.spec)
    return found


def _names(kind: str) -> tuple[str, ...]:
    """How quotas name its number: those of the core group also by the bare plural."""
    known = KINDS[kind]
    return (f"count/{known.plural}.{known.group}",) if known.group else (known.plural, f"count/{known.plural}")


def _storage(spec: Mapping[str, Any]) -> int:
    """Bytes that a claim asks for."""
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return int(parse_quantity(asked)) if asked is not None else 0


def _show(book: Book, key: Key) -> None:
    """Its status says what is so."""
    stored = book.objects.find(*key)
    if stored is None:
        return
    waits = book.queued.get(key, "")
    reason, message = ("QuotaExceeded", waits) if waits else ("WithinQuota", "")
    given = stored.status.get("conditions")  # a client may have written anything there
    kept = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    conditions = with_condition(kept, "Admitted", not waits, reason, message, book.now)
    phase = PENDING if waits else WAITING[key.kind]
    status = {**stored.status, "phase": phase, "conditions": conditions}
    if status != stored.status:
        book.persist(book.objects.with_status(stored, status))


def _tell(book: Book, key: Key) -> None:
    """Workloads that name this claim look again whether they can start."""
    if key.kind != CLAIM:
        return
    for job in book.jobs.values():
        if (job.tenant, job.spec.namespace) == (key.tenant, key.namespace) and key.name in job.spec.claims:
            book.dirty_jobs[job.key] = None


def claims_wanting(book: Book, job: Job) -> tuple[str, str] | None:
    """Why a workload cannot have the claims that it names, in one word and for people; None when it can."""
    keys = [Key(CLAIM, job.tenant, job.spec.namespace, name) for name in job.spec.claims]
    missing = [key.name for key in keys if book.objects.find(*key) is None]
    if missing:
        return "ClaimNotFound", f"there is no {CLAIM} {', '.join(missing)} in namespace {job.spec.namespace}"
    waits = [f"{CLAIM} {key.name} waits: {book.queued[key]}" for key in keys if key in book.queued]
    return ("QuotaExceeded", "; ".join(waits)) if waits else None


def about(key: Key) -> str:
    """What its events are noted about."""
    return f"object/{key.kind}/{key.tenant}/{key.namespace}/{key.name}"
