"""Who is on a connection, and what identities may be asked for.

Tenants and tokens are the allocator's; the session manager has a copy (`Identities`), judges every connection by it, and passes
changes on. When a token is revoked or expires, the connections that use it end.
"""

from __future__ import annotations

from msgspec.structs import replace

from flame.core.base import errors as e
from flame.core.base.ids import check_app_name, shown
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.messages import BY_HAND, Identity
from flame.core.model.reactor import NOW, Audit, Close, Effect, Peer, Send
from flame.core.sessions.state import Core

MAX_TTL = 10 * 365 * 86400.0
"""Seconds a token may be made for."""


class Admit(Effect):
    """A machine may join: sign its request and answer with NodeAdmitted."""

    peer: Peer
    request: int
    join: m.JoinNode


# -- connections ----------------------------------------------------------------------------------------------------------


def identify(core: Core, hello: m.Hello, vouched: Identity | None) -> Identity:
    """Raises Unauthenticated, or Unavailable while tokens cannot be judged yet."""
    if hello.role == "executor" and BY_HAND not in hello.features:
        return Identity(hello.client_id, access.EXECUTOR)  # by its placement's token, which `executors.joined` compares
    # Who could be everybody may choose to be somebody: a service on this machine shows its executor's token.
    chooses = (
        hello.role == "client" and hello.token and vouched is not None and vouched.kind in ("local", "certificate")
    )
    if vouched is not None and not chooses:
        return _of_a_tenant(core, vouched)
    if not hello.token:
        raise e.Unauthenticated("this address wants a token and none came", hint="`flame login`, or FLAME_TOKEN_FILE")
    for executor in core.executors.values():
        session = core.sessions.get(executor.session)
        if session is not None and executor.node != BY_HAND and access.same(executor.token, hello.token):
            return Identity(f"executor {executor.id}", access.USER, session.spec.tenant, "executor")
    if core.tokens is None:
        raise e.Unavailable("tokens cannot be checked yet: the allocator is not connected")
    info = core.tokens.get(access.digest(hello.token))
    if info is None:
        raise e.Unauthenticated("this token is not known here: it is wrong, or was revoked", hint="`flame login`")
    if info.expires is not None and info.expires <= core.now:
        raise e.Unauthenticated(f"the token {info.name} has expired", hint="`flame token create` makes a new one")
    return Identity(info.name, info.role, info.tenant, "token", info.id, info.expires)


def _of_a_tenant(core: Core, who: Identity) -> Identity:
    """An issuer's word is good for who somebody is; which tenants there are, we know."""
    if who.tenant not in (access.EVERY, access.DEFAULT) and who.tenant not in core.tenants:
        raise e.Unauthenticated(
            f"{who.name} is of tenant {shown(who.tenant)}, which does not exist here", hint="`flame tenant create`"
        )
    return who


def admit(core: Core, peer: Peer, who: Identity) -> None:
    core.who[peer] = who
    if who.expires is not None:
        core.timer(who.expires, expire, peer, who.token)


def expire(core: Core, peer: Peer, token: str) -> None:
    """The timer of an identity that ends."""
    who = core.who.get(peer)
    if who is not None and who.token == token:
        dismiss(core, peer, "your identity has expired")


def dismiss(core: Core, peer: Peer, why: str) -> None:
    who = core.who[peer]
    core.send(peer, m.Failure("unauthenticated", why, "`flame login`"), when=NOW)
    core.out.append(Audit(core.now, who, "Dismissed", why))
    core.out.append(Close(peer, why))


def learn(core: Core, message: m.Identities) -> None:
    """The allocator's word, whole: connections of tokens that are not in it any more end."""
    core.tokens = {info.digest: info for info in message.tokens}
    core.tenants = {info.name: info for info in message.tenants}
    valid = {info.id for info in message.tokens}
    for peer, who in list(core.who.items()):
        # A join token is used up by its own connection, which still gets its answer.
        if who.kind == "token" and who.token not in valid and who.role != access.JOIN:
            dismiss(core, peer, f"the token {who.name} was revoked")


# -- verbs ------------------------------------------------------------------------------------------------------------------


def who_am_i(core: Core, peer: Peer, request: int, msg: m.WhoAmI) -> m.Message:
    return core.who[peer]


def list_tokens(core: Core, peer: Peer, request: int, msg: m.ListTokens) -> m.Message:
    who = core.who[peer]
    seen = [info for info in (core.tokens or {}).values() if access.reaches(who, info.tenant)]
    return m.TokenList(tuple(replace(info, digest="") for info in seen))


def list_tenants(core: Core, peer: Peer, request: int, msg: m.ListTenants) -> m.Message:
    who = core.who[peer]
    known = {access.DEFAULT: m.TenantInfo(access.DEFAULT)} | core.tenants
    return m.TenantList(tuple(_use(core, info) for info in known.values() if access.reaches(who, info.name)))


def _use(core: Core, info: m.TenantInfo) -> m.TenantUse:
    load = core.load(info.name)
    return m.TenantUse(info, load.sessions, load.queued, load.bytes)


def create_token(core: Core, peer: Peer, request: int, msg: m.CreateToken) -> None:
    who = core.who[peer]
    access.check_role(msg.role, msg.tenant, msg.name)
    if msg.role == access.ACCOUNT and who.tenant != access.EVERY:
        raise e.PermissionDenied(
            f"{who.name} is {who.role} of tenant {who.tenant}; what is bound to a service account may concern everybody",
            hint="an admin of the tenant `*` makes its tokens",
        )
    if not access.reaches(who, msg.tenant):
        raise e.PermissionDenied(
            f"{who.name} makes tokens for tenant {who.tenant} only, not for {shown(msg.tenant)}",
            hint="an admin of the tenant `*` may",
        )
    if msg.tenant not in (access.EVERY, access.DEFAULT) and msg.tenant not in core.tenants:
        raise e.NotFound(f"tenant {shown(msg.tenant)} not found", hint="`flame tenant create` makes it")
    if not msg.name or len(msg.name) > 128 or not msg.name.isprintable():
        raise e.InvalidArgument(f"token name {shown(msg.name)}", hint="1 to 128 printable characters")
    if not 0 <= msg.ttl <= MAX_TTL:
        raise e.InvalidArgument(f"a token for {msg.ttl} s", hint="0 for no end, at most ten years")
    relay(core, peer, request, msg)


def revoke_token(core: Core, peer: Peer, request: int, msg: m.RevokeToken) -> None:
    who = core.who[peer]
    found = next((info for info in (core.tokens or {}).values() if info.id == msg.id), None)
    if found is None or not access.reaches(who, found.tenant):
        raise e.NotFound(f"token {shown(msg.id)} not found", hint="`flame token list` shows their ids")
    relay(core, peer, request, msg)


def set_tenant(core: Core, peer: Peer, request: int, msg: m.SetTenant) -> None:
    check_app_name(msg.tenant.name)
    if not 1 <= msg.tenant.weight <= 1_000_000:
        raise e.InvalidArgument(f"weight {msg.tenant.weight} of tenant {msg.tenant.name}", hint="1 to 1,000,000")
    for name in ("max_sessions", "max_queued", "max_bytes"):
        value = getattr(msg.tenant, name)
        if value is not None and value < 0:
            raise e.InvalidArgument(f"{name} {value} of tenant {msg.tenant.name}", hint="0 or more")
    relay(core, peer, request, msg)


def drop_tenant(core: Core, peer: Peer, request: int, msg: m.DropTenant) -> None:
    if msg.name not in core.tenants:
        raise e.NotFound(f"tenant {shown(msg.name)} not found", hint="`flame tenant list` shows them")
    if core.load(msg.name).sessions:
        raise e.InvalidState(
            f"tenant {msg.name} has {core.load(msg.name).sessions} open sessions", hint="close them first"
        )
    relay(core, peer, request, msg)


def set_node(core: Core, peer: Peer, request: int, msg: m.SetNode) -> None:
    relay(core, peer, request, msg)


def join_node(core: Core, peer: Peer, request: int, msg: m.JoinNode) -> None:
    check_app_name(msg.name)
    if len(msg.request) > 16 * 1024 or len(msg.hosts) > 64:
        raise e.InvalidArgument(f"a request of {len(msg.request):,} bytes with {len(msg.hosts)} names")
    who = core.who[peer]
    if who.role != access.AGENT:
        relay(core, peer, request, msg)
    elif who.name != msg.name:
        raise e.PermissionDenied(f"the certificate is of node {who.name}, not of {shown(msg.name)}")
    else:
        audit(core, peer, msg)
        core.out.append(Admit(peer, request, msg))


# -- the allocator's answer ---------------------------------------------------------------------------------------------------


def relay(core: Core, peer: Peer, request: int, msg: m.Message) -> None:
    """Ask the allocator; its answer goes to who asked. Raises Unavailable when it is away."""
    if core.allocator is None:
        raise e.Unavailable("the allocator is not connected", hint="try again in a moment")
    who = core.who[peer]
    core.last_relay += 1
    core.relayed[core.last_relay] = peer, request, msg
    asked: m.Message
    if isinstance(msg, m.JoinNode):
        asked = m.RedeemToken(who.token, msg.name)
    else:
        asked = replace(msg, by=f"{who.tenant}/{who.name}") if hasattr(msg, "by") else msg
    core.out.append(Send(core.allocator, asked, core.last_relay, NOW))


def relayed(core: Core, number: int, answer: m.Message) -> None:
    peer, request, msg = core.relayed.pop(number, (0, 0, None))
    if msg is None or peer not in core.who:
        return
    audit(core, peer, msg, answer.code if isinstance(answer, m.Failure) else "")
    if isinstance(msg, m.JoinNode) and not isinstance(answer, m.Failure):
        core.out.append(Admit(peer, request, msg))
    else:
        core.send(peer, answer, request, NOW)


def unanswered(core: Core) -> None:
    """The allocator is gone: nobody knows whether it did what it was asked."""
    asked, core.relayed = core.relayed, {}
    for peer, request, _ in asked.values():
        core.send(
            peer,
            m.Failure("unavailable", "the allocator went away before it answered", "look, then ask again"),
            request,
            NOW,
        )


def audit(core: Core, peer: Peer, msg: m.Message, code: str = "") -> None:
    """Who did what, or tried to."""
    object = ""
    for name in ("session", "name", "id"):
        object = object or str(getattr(msg, name, ""))
    if isinstance(msg, m.SetTenant):
        object = msg.tenant.name
    core.out.append(Audit(core.now, core.who[peer], type(msg).__name__, object[:256], code))
