"""Client to session manager to allocator: who may do what, and nodes. `by` is set by the session manager."""

from __future__ import annotations

from flame.core.model.messages.base import Message
from flame.core.model.messages.nouns import TenantInfo, TenantUse, TokenInfo


class CreateToken(Message):
    """`role`: viewer, user, operator, admin, account (of the service account `system:serviceaccount:NAMESPACE:NAME`, which is its name), or
    join (lets one machine join, once). `ttl`: seconds; 0: it does not expire.
    Answer: TokenCreated."""

    name: str
    role: str
    tenant: str = "default"
    ttl: float = 0.0
    by: str = ""


class TokenCreated(Message):
    """The only message that carries a token in clear."""

    info: TokenInfo
    token: str


class RevokeToken(Message):
    """By id. Every connection that uses it ends. Answer: Done, once committed."""

    id: str
    by: str = ""


class ListTokens(Message):
    pass


class TokenList(Message):
    tokens: tuple[TokenInfo, ...]


class SetTenant(Message):
    """Create it, or change its weight and limits. Answer: Done."""

    tenant: TenantInfo
    by: str = ""


class DropTenant(Message):
    """Its tokens are revoked. Refused while it has open sessions."""

    name: str
    by: str = ""


class ListTenants(Message):
    pass


class TenantList(Message):
    tenants: tuple[TenantUse, ...]


class SetNode(Message):
    """`cordon`: place nothing new there; `drain`: and let what runs leave at its next task boundary. Both false: use it again."""

    name: str
    cordon: bool = False
    drain: bool = False
    by: str = ""


class JoinNode(Message):
    """A machine wants in, with a join token as its identity. `request`: a certificate signing request (PEM). Answer: NodeAdmitted."""

    name: str
    request: bytes = b""
    hosts: tuple[str, ...] = ()


class NodeAdmitted(Message):
    """`certificate`, `authority`: PEM; `addresses`: where agents reach the allocator."""

    name: str
    certificate: bytes
    authority: bytes
    addresses: tuple[str, ...]


class RedeemToken(Message):
    """Session manager to allocator: a join token is used up for this node. Answer: Done."""

    id: str
    node: str


class Identities(Message):
    """Allocator to session managers: all tenants and tokens, at every change."""

    tenants: tuple[TenantInfo, ...]
    tokens: tuple[TokenInfo, ...]
