"""Tenants, tokens and cordons: what is kept about people and machines, and told to every session manager.

Who may ask was decided by the session manager that passes the question on (`core.model.access`). Answers leave once they are committed: a
token that was revoked stays revoked.
"""

from __future__ import annotations

from msgspec.structs import replace

from flame.core.allocator.bindings import check_account
from flame.core.allocator.nodes import remember
from flame.core.allocator.placements import drain
from flame.core.allocator.records import NodeCordoned, TenantDropped, TenantKept, TokenKept, TokenRevoked
from flame.core.allocator.state import Book
from flame.core.base.errors import InvalidState, NotFound, StorageFull
from flame.core.base.ids import shown
from flame.core.model import messages as m
from flame.core.model.access import DEFAULT, JOIN, USER, digest, workload_name
from flame.core.model.reactor import Peer

JOIN_TTL = 3600.0
"""Seconds a join token is good for when it was made without an end."""
CORDON_CODE = 4010


def tell_identities(book: Book, peer: Peer) -> None:
    """To a manager that came, or to all of them after a change."""
    book.promise(peer, m.Identities(tuple(book.tenants.values()), tuple(book.tokens.values())))


def tell_all(book: Book) -> None:
    for peer, manager in book.managers.items():
        if manager.joined:
            tell_identities(book, peer)


def _writable(book: Book) -> None:
    if book.storage:
        raise StorageFull(book.storage)


def create_token(book: Book, msg: m.CreateToken) -> m.Message:
    _writable(book)
    check_account(book, msg)
    token = book.new_token()
    ttl = msg.ttl or (JOIN_TTL if msg.role == JOIN else 0.0)
    info = m.TokenInfo(
        book.new_id("token"),
        msg.name,
        msg.role,
        msg.tenant,
        book.now,
        book.now + ttl if ttl else None,
        digest(token),
        msg.by,
    )
    book.persist(TokenKept(info))
    if info.expires is not None:
        book.wake(info.expires, "token", info.id)
    tell_all(book)
    return m.TokenCreated(replace(info, digest=""), token)


def revoke_token(book: Book, msg: m.RevokeToken) -> m.Message:
    _writable(book)
    if msg.id not in book.tokens:
        raise NotFound(f"token {shown(msg.id)} not found")
    book.persist(TokenRevoked(msg.id))
    tell_all(book)
    return m.Done()


def redeem_token(book: Book, msg: m.RedeemToken) -> m.Message:
    """One use: of two machines with the same token one gets in."""
    _writable(book)
    info = book.tokens.get(msg.id)
    if info is None or info.role != JOIN:
        raise NotFound(
            "the join token was used before, or was revoked", hint="`flame token create --role join` makes one"
        )
    book.persist(TokenRevoked(msg.id))
    book.note(f"node/{msg.node}", "NodeAdmitted", CORDON_CODE + 1, f"admitted with the join token {info.name}")
    tell_all(book)
    return m.Done()


def expired(book: Book, id: str) -> None:
    """The timer of a token."""
    info = book.tokens.get(id)
    if info is not None and info.expires is not None and info.expires <= book.now:
        book.persist(TokenRevoked(id))
        tell_all(book)


def set_tenant(book: Book, msg: m.SetTenant) -> m.Message:
    _writable(book)
    known = book.tenants.get(msg.tenant.name)
    book.persist(TenantKept(replace(msg.tenant, created=known.created if known else book.now)))
    book.changed()
    tell_all(book)
    return m.Done()


def drop_tenant(book: Book, msg: m.DropTenant) -> m.Message:
    _writable(book)
    if msg.name not in book.tenants:
        raise NotFound(f"tenant {shown(msg.name)} not found")
    if any(demand.wish.tenant == msg.name for demand in book.demands.values()):
        raise InvalidState(f"tenant {msg.name} has open sessions", hint="close them first")
    book.persist(TenantDropped(msg.name))
    tell_all(book)
    return m.Done()


def set_node(book: Book, msg: m.SetNode) -> m.Message:
    """Cordon, drain or use again. What drains leaves at its next task boundary."""
    _writable(book)
    node = book.nodes.get(msg.name)
    if node is None and msg.name not in book.known:
        names = ", ".join(sorted(book.known)) or "none"
        raise NotFound(f"node {shown(msg.name)} not found; known: {names}", hint="`flmctl list -n` shows the nodes")
    cordon = msg.cordon or msg.drain
    if cordon != (msg.name in book.cordoned):
        book.persist(NodeCordoned(msg.name, cordon))
        said = ("NodeCordoned", "nothing new is placed on it") if cordon else ("NodeUncordoned", "it is used again")
        book.note(f"node/{msg.name}", said[0], CORDON_CODE, f"{said[1]} (asked by {msg.by})")
    if node is not None:
        if msg.drain:
            for placement in list(node.placements.values()):
                drain(book, placement, f"node {msg.name} is drained")
        remember(book, node)
    book.changed()
    book.viewed()
    return m.Done()


def weights(book: Book) -> dict[str, int]:
    """Of tenants, for the scheduler."""
    return {DEFAULT: 1} | {name: info.weight for name, info in book.tenants.items()}


def workload_token(book: Book, key: str, tenant: str) -> str:
    """With which the replicas of a workload open sessions, as a user of its tenant. It ends with the workload."""
    known = book.job_tokens.get(key)
    if known is not None:
        return known
    token = book.job_tokens[key] = book.new_token()
    book.persist(
        TokenKept(
            m.TokenInfo(book.new_id("token"), workload_name(key), USER, tenant, book.now, None, digest(token), "flame")
        )
    )
    tell_all(book)
    return token


def drop_workload_tokens(book: Book, key: str) -> None:
    book.job_tokens.pop(key, None)
    mine = [id for id, info in book.tokens.items() if info.name == workload_name(key)]
    for id in mine:
        book.persist(TokenRevoked(id))
    if mine:
        tell_all(book)
