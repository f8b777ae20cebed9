"""Who asks: the token of a request, from its header or from a browser's cookie.

The cookie is the token itself, so that any gateway of the cluster knows it and revoking the token ends it. Scripts cannot read it
(HttpOnly), and it is not sent with requests that other sites cause (SameSite=Strict). What changes something also needs a word that only
our own pages know, made from the token: `csrf`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from flame.core.base.errors import Unauthenticated

COOKIE = "flame_session"
HEADER = "x-csrf-token"
AGE = 8 * 3600
"""Seconds after which a browser forgets the cookie."""
LONGEST = 8192
"""Bytes of a token; ours have 49, those of an issuer some hundred."""


class Credentials(NamedTuple):
    token: str
    cookie: bool


def credentials(headers: Mapping[str, str]) -> Credentials | None:
    """None: nothing was said. Raises Unauthenticated for what is no bearer token."""
    said = headers.get("authorization")
    if said is not None:
        scheme, _, token = said.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > LONGEST or not token.isascii():
            raise Unauthenticated("the Authorization header holds no bearer token", hint="Authorization: Bearer TOKEN")
        return Credentials(token, False)
    token = cookies(headers.get("cookie", "")).get(COOKIE, "")
    return Credentials(token, True) if token and len(token) <= LONGEST and token.isascii() else None


def cookies(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals:
            found.setdefault(name, value.strip('"'))
    return found


def cookie(token: str, secure: bool) -> str:
    """The header that keeps a token in a browser; the empty token takes it away."""
    age = AGE if token else 0
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}" + ("; Secure" if secure else "")


def csrf(token: str) -> str:
    """The word for what changes something."""
    return hmac.new(token.encode(), b"flame csrf", hashlib.sha256).hexdigest()[:32]


def knows_csrf(token: str, word: str) -> bool:
    return hmac.compare_digest(csrf(token).encode(), word.encode("utf-8", "replace"))
