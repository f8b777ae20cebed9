"""What clients ask about objects: write, read, list, watch, delete. Writes are journalled and then acted upon."""

from __future__ import annotations

from collections.abc import Callable

from flame.core.allocator import counted, workloads
from flame.core.allocator.bindings import check_call, check_change, check_delete, check_read, check_write, drop_account
from flame.core.allocator.holdings import Watch
from flame.core.allocator.identities import tell_all
from flame.core.allocator.state import Book
from flame.core.base.errors import Expired, FlameError, StorageFull
from flame.core.model import messages as m
from flame.core.model.reactor import Peer
from flame.core.objects.kinds import find_kind
from flame.core.objects.state import Key
from flame.core.objects.store import Change
from flame.core.objects.tree import NAMESPACE

POLICIES = ("PriorityClass", "FlameQuota", "ResourceQuota", "FlameValues")
"""Kinds on which every workload may depend; and the ConfigMaps of the cluster's own namespace."""
MAX_WAIT = 60.0
"""Seconds a watch waits for news."""
MAX_PAGE = 1000
"""Changes in one answer."""


def put(book: Book, ask: m.PutObject) -> m.Message:
    """Raises what `Objects.plan_put` raises, StorageFull, PermissionDenied (also for one too many of a quota)."""
    if book.storage:
        raise StorageFull(book.storage)
    judged = check_write(book, ask)
    change = book.objects.plan_put(ask, book.now, book.new_id("object"), ask.by)
    check_change(judged, change)
    counted.check(book, change)
    if not ask.dry_run:
        _commit(book, change)
    stored = change.body
    if change.key.kind in counted.WAITING and not ask.dry_run:
        return _counted(book, change)
    return m.ObjectPut(stored, change.change, (*change.warnings, *workloads.warnings(book, change.key, stored)))


def _counted(book: Book, change: Change) -> m.Message:
    """As it is with the status that the engine gave it, and with what it waits for."""
    now = book.objects.find(*change.key)
    waits = book.queued.get(change.key)
    warnings = (*change.warnings, *((f"it waits: {waits}",) if waits else ()))
    return m.ObjectPut(now.data if now is not None else change.body, change.change, warnings)


def delete(book: Book, ask: m.DeleteObject) -> m.Message:
    if book.storage:
        raise StorageFull(book.storage)
    check_delete(book, ask)
    change = book.objects.plan_delete(ask, book.now)
    if not ask.dry_run:
        _commit(book, change)
    return m.ObjectPut(change.body, change.change, change.warnings)


def _commit(book: Book, change: Change) -> None:
    for record in change.records:
        book.persist(record)
    if change.records:
        changed(book, change.key)


def changed(book: Book, key: Key) -> None:
    """Something was written by a client: whatever follows from it."""
    counted.changed(book, key)
    if key.kind == "FlameWorkload":
        workloads.sync(book, key)
    elif key.kind in POLICIES or (key.kind == "ConfigMap" and key.namespace == NAMESPACE):
        book.settings_changed = True
    elif key.kind == "ConfigMap":
        workloads.config_changed(book, key)
    elif key.kind == "ServiceAccount" and book.objects.find(*key) is None and drop_account(book, key):
        tell_all(book)
    book.changed()


def get(book: Book, ask: m.GetObject) -> m.Message:
    """Raises NotFound, PermissionDenied."""
    kind = find_kind(ask.kind)
    check_read(book, ask)
    return m.Object(book.objects.get(kind.name, _tenant(ask.tenant), ask.namespace, ask.name).data)


def list_(book: Book, ask: m.ListObjects) -> m.Message:
    kind = find_kind(ask.kind)
    check_read(book, ask)
    page = book.objects.list(
        kind.name, _tenant(ask.tenant), ask.namespace, ask.labels, ask.fields, ask.limit, ask.after
    )
    return m.ObjectList(tuple(item.data for item in page.items), page.version, page.after, page.remaining)


def watch(book: Book, peer: Peer, request: int, ask: m.WatchObjects) -> m.Message | None:
    """What is known already, or None: it is answered later. Raises Expired, NotFound, PermissionDenied."""
    kind = find_kind(ask.kind)
    check_read(book, ask)
    answer = _news(book, kind.name, ask)
    if answer.changes or ask.wait <= 0:
        return answer
    waiting = Watch(peer, request, ask, kind.name, book.now + min(ask.wait, MAX_WAIT))
    book.watches.setdefault(kind.name, []).append(waiting)
    book.wake(waiting.until, "watch", kind.name)
    return None


def _news(book: Book, kind: str, ask: m.WatchObjects) -> m.ObjectChanges:
    changes, version = book.objects.changes_since(
        kind, ask.since, _tenant(ask.tenant), ask.namespace, ask.labels, ask.fields, MAX_PAGE
    )
    return m.ObjectChanges(changes, version)


def tell_watches(book: Book) -> None:
    """Answer whoever waits for something that has come."""
    for kind in list(book.objects_changed):
        waiting = book.watches.pop(kind, None)
        for watch in waiting or ():
            if watch.peer not in book.managers:
                continue
            try:
                answer: m.Message = _news(book, kind, watch.ask)
            except Expired as error:
                answer = m.Failure(error.code, error.message, error.hint)
            if isinstance(answer, m.ObjectChanges) and not answer.changes:
                book.watches.setdefault(kind, []).append(watch)
            else:
                book.promise(watch.peer, answer, watch.request)
    book.objects_changed.clear()


def end_watches(book: Book, kind: str) -> None:
    """The timer of watches: nothing has come."""
    left = []
    for watch in book.watches.pop(kind, ()):
        if watch.until > book.now:
            left.append(watch)
        elif watch.peer in book.managers:
            try:
                answer: m.Message = _news(book, kind, watch.ask)
            except FlameError as error:
                answer = m.Failure(error.code, error.message, error.hint)
            book.promise(watch.peer, answer, watch.request)
    if left:
        book.watches[kind] = left


def debug(book: Book, ask: m.DebugObject) -> m.Message:
    kind = find_kind(ask.kind)
    key = book.objects.get(kind.name, _tenant(ask.tenant), ask.namespace, ask.name).key
    return m.Object(workloads.diagnose(book, key))


def call(book: Book, peer: Peer, request: int, ask: m.CallReplica) -> m.Message | None:
    """Pass it on to the agent of the replica; its answer is passed back. Raises NotFound, PermissionDenied, Unavailable."""
    check_call(book, ask)
    return workloads.call(book, peer, request, ask)


def _tenant(text: str) -> str:
    return text or "default"


HANDLERS: dict[type[m.Message], Callable[[Book, m.Message], m.Message]] = {
    m.PutObject: put,  # type: ignore[dict-item]
    m.DeleteObject: delete,  # type: ignore[dict-item]
    m.GetObject: get,  # type: ignore[dict-item]
    m.ListObjects: list_,  # type: ignore[dict-item]
    m.DebugObject: debug,  # type: ignore[dict-item]
}
LATER: dict[type[m.Message], Callable[[Book, Peer, int, m.Message], m.Message | None]] = {
    m.WatchObjects: watch,  # type: ignore[dict-item]
    m.CallReplica: call,  # type: ignore[dict-item]
}
