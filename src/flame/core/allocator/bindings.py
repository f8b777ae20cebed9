"""May somebody whose role does not say so ask this about objects? What is kept as roles and bindings decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flame.core.allocator.records import TokenRevoked
from flame.core.allocator.state import Book
from flame.core.base.errors import FlameError, NotFound, PermissionDenied
from flame.core.model import messages as m
from flame.core.model.access import ACCOUNT, account_name, account_of
from flame.core.objects.bodies import decode
from flame.core.objects.kinds import Kind, find_kind
from flame.core.objects.rbac import Request, Subject, judge
from flame.core.objects.state import Key, place
from flame.core.objects.store import Change


class Judged(NamedTuple):
    """What a write was allowed to do."""

    verb: str
    key: Key


VERBS = {"create": "create", "replace": "update", "merge": "patch", "json": "patch"}
"""Mode of a write -> what it is called in rules; an apply creates or patches."""
ONE = "metadata.name="
"""Of a list or watch: the field selector that names one object."""


def _judged(book: Book, subject: str) -> bool:
    """Does anybody have to be bound to a role here?"""
    return bool(subject) and book.view.rbac


def check_read(book: Book, ask: m.GetObject | m.ListObjects | m.WatchObjects) -> None:
    """Raises PermissionDenied, NotFound for an unknown kind."""
    if not _judged(book, ask.subject):
        return
    kind = find_kind(ask.kind)
    if isinstance(ask, m.GetObject):
        request = Request("get", kind, ask.tenant, place(kind, ask.namespace), ask.name)
    else:
        verb = "watch" if isinstance(ask, m.WatchObjects) else "list"
        name = ask.fields.removeprefix(ONE) if ask.fields.startswith(ONE) and "," not in ask.fields else ""
        request = Request(verb, kind, ask.tenant, ask.namespace if kind.namespaced else "", name)
    judge(book.objects, _subject(ask.subject), request)


def check_call(book: Book, ask: m.CallReplica) -> None:
    """Logs are to `get pods/log`, everything around a command to `create pods/exec`. Raises PermissionDenied."""
    if _judged(book, ask.subject):
        kind = find_kind("Pod")
        verb, part = ("get", "log") if ask.verb == "logs" else ("create", "exec")
        request = Request(verb, kind, ask.tenant, place(kind, ask.namespace), ask.name, part)
        judge(book.objects, _subject(ask.subject), request)


def check_delete(book: Book, ask: m.DeleteObject) -> None:
    """Raises as `check_read`."""
    if _judged(book, ask.subject):
        kind = find_kind(ask.kind)
        request = Request("delete", kind, ask.tenant, place(kind, ask.namespace), ask.name)
        judge(book.objects, _subject(ask.subject), request)


def check_write(book: Book, ask: m.PutObject) -> Judged | None:
    """What this write may do, None for anything. Raises as `check_read`."""
    if not _judged(book, ask.subject):
        return None
    kind = find_kind(ask.kind)
    key = _target(kind, ask)
    verb = VERBS.get(ask.mode) or ("patch" if book.objects.find(*key) is not None else "create")
    name = "" if verb == "create" else key.name  # as Kubernetes has it: what is not there yet has no name
    judge(book.objects, _subject(ask.subject), Request(verb, kind, key.tenant, key.namespace, name, ask.subresource))
    return Judged(verb, key)


def check_change(judged: Judged | None, change: Change) -> None:
    """What was judged must be what is done. Raises PermissionDenied."""
    if judged is None:
        return
    verb, key = judged
    meant = key if key.name or verb != "create" else key._replace(name=change.key.name)  # the server gives the name
    if meant != change.key or (verb == "create") != (change.change == "created"):
        raise PermissionDenied(
            f"to {verb} {key.kind} {key.name} was asked for, {change.key.name} would be {change.change}",
            hint="name the object in the request",
        )


def _target(kind: Kind, ask: m.PutObject) -> Key:
    """Where the request and its body say; what is wrong with them is found when it is written."""
    about: Mapping[str, Any] = {}
    if ask.mode != "json":
        try:
            body = decode(ask.body)
        except FlameError:
            body = None
        given = body.get("metadata") if isinstance(body, dict) else None
        about = given if isinstance(given, dict) else {}
    space = place(kind, ask.namespace or str(about.get("namespace") or ""))
    return Key(kind.name, ask.tenant or "default", space, ask.name or str(about.get("name") or ""))


def _subject(text: str) -> Subject:
    tenant, _, name = text.partition("/")
    return Subject(tenant, name)


def check_account(book: Book, ask: m.CreateToken) -> None:
    """A token of a service account is made for one that is there. Raises NotFound."""
    account = account_of(ask.name) if ask.role == ACCOUNT else None
    if account is not None and book.objects.find("ServiceAccount", ask.tenant, *account) is None:
        raise NotFound(
            f"there is no ServiceAccount {account[1][:80]!r} in namespace {account[0][:80]}",
            hint="flame apply -f makes it",
        )


def drop_account(book: Book, key: Key) -> bool:
    """A service account is gone, and its tokens with it, also when one of the same name comes. Were there any?"""
    name = account_name(key.namespace, key.name)
    mine = [
        id for id, info in book.tokens.items() if (info.role, info.tenant, info.name) == (ACCOUNT, key.tenant, name)
    ]
    for id in mine:
        book.persist(TokenRevoked(id))
    return bool(mine)
