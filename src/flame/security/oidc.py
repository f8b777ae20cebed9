"""Tokens of an OpenID issuer: which we believe, and what they say.

Believed is a signature by a key that the issuer publishes now, with an algorithm for that kind of key. A shared secret (HS256)
or no signature is never believed: then the issuer's public key would be the secret. Keys are kept for an hour. An unknown one is looked up
at once, but not more often than every ten seconds: invented names cost the issuer nothing. When it is away, its last keys hold for a day.

Logging in (`device_login`, `refresh`) is in `flame.security.login` and here by name, too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flame.core.base.errors import FlameError, Unauthenticated, Unavailable, Unimplemented
from flame.security.discovery import Site, checked_url
from flame.security.login import TokenSet, device_login, refresh

__all__ = ["Claims", "Issuer", "TokenSet", "device_login", "refresh"]

log = logging.getLogger("flame.oidc")

ROLES = ("viewer", "user", "operator", "admin")
"""Weakest first."""

LEEWAY_S = 30
REFETCH_S = 10.0
KEEP_S, KEEP_AT_MOST_S = 3600.0, 86_400.0
MAX_TOKEN = 16_384

_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth")
ALGORITHMS = tuple(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)) + ("EdDSA",)


@dataclass(frozen=True)
class Claims:
    """What a token that we believe says. expires: seconds since 1970."""

    subject: str
    tenant: str
    role: str
    expires: float


@dataclass(frozen=True)
class _Key:
    kid: str | None
    kind: str
    algorithm: str | None
    key: Any

    def fits(self, algorithm: str) -> bool:
        return self.kind == _KINDS[algorithm[:2]] and self.algorithm in (None, algorithm)


@dataclass(frozen=True)
class _Keys:
    keys: tuple[_Key, ...]
    at: float

    def find(self, kid: object, algorithm: str) -> _Key | None:
        """Without a `kid` the token must leave no choice."""
        found = [one for one in self.keys if one.fits(algorithm) and (kid is None or one.kid == kid)]
        return found[0] if len(found) == 1 else None


class Issuer:
    """One issuer, and for whom its tokens must be. Safe for threads.

    issuer_url: https (http on loopback), as in the tokens' `iss`.  audience: must be in their `aud`.
    tenant_claim, role_claim: where they say tenant and role; of a list of roles the strongest that we know counts.
    jwks_url: where its keys are (None: the issuer says so itself).  ca_file: whom to trust for its certificate.
    Raises InvalidArgument for URLs that are not safe, Unimplemented without the `tls` extra.
    """

    def __init__(
        self,
        issuer_url: str,
        audience: str,
        *,
        tenant_claim: str = "tenant",
        role_claim: str = "role",
        jwks_url: str | None = None,
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            import cryptography
            import jwt
        except ImportError as error:
            raise Unimplemented("OIDC needs PyJWT and cryptography", hint="pip install 'flame-engine[tls]'") from error
        _ = cryptography, jwt
        self._site = Site(issuer_url, ca_file)
        self._jwks_url = checked_url(jwks_url) if jwks_url else None
        self._audience, self._tenant_claim, self._role_claim = audience, tenant_claim, role_claim
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: _Keys | None = None
        self._next_fetch = float("-inf")

    def verify(self, token: str) -> Claims:
        """Believe a token or not. Asks the issuer for its keys now and then: call it in a thread, not on an event loop.

        Raises Unauthenticated with what is wrong, never with the token; Unavailable when the issuer's keys cannot be had.
        """
        import jwt

        try:
            if len(token) > MAX_TOKEN:
                raise Unauthenticated(f"the token has {len(token):,} characters; {MAX_TOKEN:,} are the most")
            header = jwt.get_unverified_header(token)
            if "crit" in header:
                raise Unauthenticated("the token demands extensions ('crit') that we do not know")
            key = self._key(header.get("kid"), header.get("alg"))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(self._why(error)) from None  # its text and its frames may hold the token
        return self._read(claims)

    def _read(self, claims: Mapping[str, Any]) -> Claims:
        if str(claims["iss"]).rstrip("/") != self._site.issuer:
            raise Unauthenticated(f"the token is not by {self._site.issuer}, but by {_shown(claims['iss'])}")
        role = claims.get(self._role_claim)
        known = [one for one in ROLES if one == role or (isinstance(role, list) and one in role)]
        if not known:
            raise Unauthenticated(
                f"the token's role ({self._role_claim!r}) is {_shown(role)}", hint=f"one of {', '.join(ROLES)}"
            )
        return Claims(_text(claims, "sub"), _text(claims, self._tenant_claim), known[-1], expires=float(claims["exp"]))

    def _why(self, error: Exception) -> str:
        import jwt

        if isinstance(error, jwt.ExpiredSignatureError):
            return f"the token has expired (it is {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC here)"
        if isinstance(error, jwt.ImmatureSignatureError):
            return f"the token is not valid yet (it is {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC here)"
        if isinstance(error, jwt.InvalidAudienceError):
            return f"the token is not for {self._audience!r}"
        if isinstance(error, jwt.MissingRequiredClaimError):
            return f"the token has no claim {error.claim!r}"
        if isinstance(error, jwt.InvalidSignatureError):
            return "the signature of the token is wrong"
        if type(error) is jwt.DecodeError:
            return "this is not a token"
        return f"the token is not valid ({type(error).__name__})"

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _key(self, kid: object, algorithm: object) -> _Key:
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(
                f"the token is signed with {_shown(algorithm)}", hint=f"believed are {', '.join(ALGORITHMS)}"
            )
        keys = self._keys
        if keys is None or self._clock() > keys.at + KEEP_S:
            keys = self._fetch(keys, wait=keys is None)
        if self._clock() > keys.at + KEEP_AT_MOST_S:
            raise Unavailable(f"the keys of {self._site.issuer} are a day old, and it cannot be reached")
        found = keys.find(kid, str(algorithm))
        if found is None:
            found = self._fetch(keys, wait=True).find(kid, str(algorithm))
        if found is None:
            raise Unauthenticated(f"{self._site.issuer} publishes no key {_shown(kid)} for {algorithm}")
        return found

    def _fetch(self, seen: _Keys | None, *, wait: bool) -> _Keys:
        """Newer keys than `seen`; the same when it is too early to ask, the issuer is away, or (without `wait`) somebody asks already."""
        if not self._lock.acquire(blocking=wait or seen is None):
            assert seen is not None
            return seen
        try:
            now = self._clock()
            if self._keys is not None and (self._keys is not seen or now < self._next_fetch):
                return self._keys
            if now < self._next_fetch:
                raise Unavailable(f"the keys of {self._site.issuer} could not be had a moment ago")
            self._next_fetch = now + REFETCH_S
            try:
                self._keys = _Keys(self._download(), now)
            except FlameError as error:
                if self._keys is None:
                    raise
                log.warning("the keys of %s stay as they were: %s", self._site.issuer, error)
            return self._keys
        finally:
            self._lock.release()

    def _download(self) -> tuple[_Key, ...]:
        import jwt

        found = self._site.get(self._jwks_url or self._site.endpoint("jwks_uri")).get("keys")
        keys = []
        for one in found if isinstance(found, list) else []:
            if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in _KINDS.values():
                continue
            try:
                key = jwt.PyJWK({name: value for name, value in one.items() if name not in _PRIVATE}).key
            except (jwt.PyJWTError, ValueError, TypeError) as error:
                log.info("a key of %s is of no use: %s", self._site.issuer, error)
                continue
            if one["kty"] != "RSA" or key.key_size >= 2048:
                keys.append(_Key(one.get("kid"), one["kty"], one.get("alg"), key))
        if not keys:
            raise Unavailable(f"{self._site.issuer} publishes no key that we can use")
        return tuple(keys)


def _text(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    if isinstance(found, str) and 0 < len(found) <= 256 and found.isprintable():
        return found
    raise Unauthenticated(f"the token's {name!r} is {_shown(found)}", hint="a text of 1 to 256 characters")


def _shown(value: object) -> str:
    """Foreign words, short and without control characters."""
    return "missing" if value is None else ascii(value)[:80]
