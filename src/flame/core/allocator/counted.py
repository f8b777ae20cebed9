"""Claims and services under the quotas that count them: which are admitted, and which wait until others are gone.

Whoever is admitted stays so, even when a quota becomes smaller. The status of an object says which of the two it is, and is the
engine's: what a client writes there does not last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flame.core.allocator.policy import quotas_for
from flame.core.allocator.state import Book
from flame.core.objects.conditions import with_condition
from flame.core.objects.state import Key
from flame.core.scheduler.actions.waiting import refusal_text
from flame.core.workloads.job import Job

CODE = 5004


class Counting(NamedTuple):
    """resource: how quotas name it; admitted: the phase of one that is no longer waiting."""

    resource: str
    admitted: str


CLAIM = "PersistentVolumeClaim"
KINDS: Mapping[str, Counting] = {
    CLAIM: Counting("persistentvolumeclaims", "Bound"),
    "Service": Counting("services", "Active"),
}
PENDING = "Pending"


def settle(book: Book) -> None:
    """The quotas were read again: count what is admitted, and admit what may be now."""
    for kind in KINDS:
        found = list(book.objects.each(kind))
        for stored in sorted(found, key=lambda one: (one.metadata["creationTimestamp"], one.version)):
            key = stored.key
            if stored.status.get("phase") == PENDING and key not in book.counted:
                book.queued.setdefault(key, "")
            else:
                _count(book, key)
                _show(book, key)
    _admit(book)


def changed(book: Book, key: Key) -> None:
    """One was made, changed or deleted: what follows for it, for those that wait, and for the workloads that name them."""
    if book.objects.find(*key) is None:
        book.queued.pop(key, None)
        names, amounts = book.counted.pop(key, ((), {}))
        book.tree.charge(names, amounts, -1)
        _tell(book, key)
    elif key not in book.counted:
        book.queued.setdefault(key, "")
    else:
        _show(book, key)
    _admit(book)


def _admit(book: Book) -> None:
    """In the order in which they came; who waits for a quota of its own namespace does not keep others waiting."""
    for key in list(book.queued):
        refusal = book.tree.refusal(quotas_for(book, key.tenant, key.namespace), _amounts(key))
        before = book.queued[key]
        if refusal is None:
            del book.queued[key]
            _count(book, key)
            if before:
                book.note(about(key), "Admitted", CODE, "as much as it asks of its quota was given back")
        else:
            book.queued[key] = refusal_text(refusal)
            if book.queued[key] != before:
                book.note(about(key), "QuotaExceeded", CODE, book.queued[key])
        _show(book, key)
        _tell(book, key)


def _count(book: Book, key: Key) -> None:
    names, amounts = book.counted[key] = quotas_for(book, key.tenant, key.namespace), _amounts(key)
    book.tree.charge(names, amounts)


def _amounts(key: Key) -> Mapping[str, int]:
    name = KINDS[key.kind].resource
    return {name: 1, f"count/{name}": 1}


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
    phase = PENDING if waits else KINDS[key.kind].admitted
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
