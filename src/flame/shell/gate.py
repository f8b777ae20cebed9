"""Who is at the door: what a listener knows about a connection before its reactor is asked.

Unix sockets are of the same user (the kernel says so). TCP and TLS want a token: the cluster's own is known here, a token of an outside
issuer is verified here, and every other one is for the reactor to judge. Certificates speak for themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flame.core.model.access import CLUSTER, LOCAL, same
from flame.core.model.messages import Hello, Identity

if TYPE_CHECKING:
    from flame.security.oidc import Issuer


@dataclass(frozen=True)
class Gate:
    """`identity`: of everybody who comes this way; None: it depends on the token."""

    identity: Identity | None = None
    cluster_token: str = ""
    issuer: Issuer | None = None

    def knows(self, hello: Hello) -> Identity | None:
        """Whom this hello is from, as far as it can be told at once."""
        if self.identity is not None:
            return self.identity
        if self.cluster_token and same(hello.token, self.cluster_token):
            return CLUSTER
        return None

    def must_ask(self, hello: Hello) -> bool:
        """Is the token one of the issuer's (a JSON Web Token)?"""
        return self.issuer is not None and self.identity is None and hello.token.count(".") == 2

    async def ask(self, token: str) -> Identity:
        """Verify it; the issuer's keys may have to be fetched. Raises Unauthenticated."""
        assert self.issuer is not None
        claims = await asyncio.to_thread(self.issuer.verify, token)
        return Identity(claims.subject, claims.role, claims.tenant, "oidc", f"oidc:{claims.subject}", claims.expires)


UNIX = Gate(LOCAL)
Of = Callable[[tuple[str, str] | None], Gate]
"""From (role, name) of a verified client certificate, or None, to the gate of that connection."""
