"""Logging in where there is no browser: the device authorization grant (RFC 8628), and fresh tokens from a refresh token.

The person opens a page elsewhere and types a code; meanwhile we ask the issuer, as often as it allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flame.core.base.errors import FlameError, PermissionDenied, Unauthenticated, Unavailable
from flame.security.discovery import Site, checked_url

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SLOW_DOWN_S = 5.0
_LONGEST_S = 60.0


@dataclass(frozen=True)
class TokenSet:
    """What a login gives; none of it shows in a repr. "" where the issuer gave none. expires: seconds since 1970, 0: not said."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False, default="")
    refresh_token: str = field(repr=False, default="")
    expires: float = 0


def device_login(
    issuer_url: str,
    client_id: str,
    show: Callable[[str, str], None],
    *,
    scope: str = "openid profile",
    audience: str | None = None,
    ca_file: Path | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> TokenSet:
    """Log a person in. `show(url, code)` is called once: tell them to open the URL and to enter or compare the code.

    Returns when they did. Raises PermissionDenied when they refused, Unauthenticated when the code expired or the issuer does not take
    this client, Unavailable when it cannot be reached, InvalidArgument for a URL that is not safe.
    """
    site = Site(issuer_url, ca_file)
    document = site.document()
    where = site.endpoint("device_authorization_endpoint", document)
    token_url = site.endpoint("token_endpoint", document)
    form = {"client_id": client_id, "scope": scope} | ({"audience": audience} if audience else {})
    status, begun = site.post(where, form)
    if status != 200:
        raise _refusal(site, begun, status)
    try:
        code, user_code = str(begun["device_code"]), str(begun["user_code"])
        page = checked_url(str(begun.get("verification_uri_complete") or begun["verification_uri"]))
        interval = min(max(float(begun.get("interval", 5)), 1.0), _LONGEST_S)
        deadline = time.monotonic() + float(begun["expires_in"])
    except (KeyError, ValueError, TypeError) as error:
        raise Unavailable(f"{site.issuer} began a login that we do not understand: {error}") from error
    show(page, "".join(letter for letter in user_code if letter.isprintable()))
    ask = {"grant_type": _GRANT, "device_code": code, "client_id": client_id}
    return _poll(site, token_url, ask, interval, deadline, wait)


def refresh(
    issuer_url: str, client_id: str, refresh_token: str, *, scope: str | None = None, ca_file: Path | None = None
) -> TokenSet:
    """New tokens for a refresh token, which stays good unless the answer has another.

    Raises Unauthenticated when it is no longer good (log in again), Unavailable when the issuer cannot be reached.
    """
    site = Site(issuer_url, ca_file)
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client_id}
    status, found = site.post(site.endpoint("token_endpoint"), form | ({"scope": scope} if scope else {}))
    if status != 200:
        raise _refusal(site, found, status)
    return _tokens(site, found, refresh_token)


def _poll(
    site: Site, url: str, form: dict[str, str], interval: float, deadline: float, wait: Callable[[float], None]
) -> TokenSet:
    while True:
        wait(interval)
        if time.monotonic() > deadline:
            raise Unauthenticated("nobody entered the code in time", hint="log in again")
        try:
            status, found = site.post(url, form)
        except Unavailable:  # the person is still typing: ask less often, until the code expires
            interval = min(interval * 2, _LONGEST_S)
            continue
        if status == 200:
            return _tokens(site, found)
        if found.get("error") == "slow_down":
            interval += _SLOW_DOWN_S
        elif found.get("error") != "authorization_pending":
            raise _refusal(site, found, status)


def _tokens(site: Site, found: Mapping[str, Any], refresh_token: str = "") -> TokenSet:
    access = found.get("access_token")
    if not isinstance(access, str) or not access:
        raise Unavailable(f"{site.issuer} answered without an access token")
    try:
        lifetime = float(found.get("expires_in") or 0)
    except (TypeError, ValueError):
        lifetime = 0
    return TokenSet(
        access,
        str(found.get("id_token") or ""),
        str(found.get("refresh_token") or refresh_token),
        time.time() + lifetime if lifetime > 0 else 0,
    )


def _refusal(site: Site, found: Mapping[str, Any], status: int) -> FlameError:
    said = str(found.get("error") or status)
    if said == "access_denied":
        return PermissionDenied(f"the login at {site.issuer} was refused")
    if said == "expired_token":
        return Unauthenticated("nobody entered the code in time", hint="log in again")
    if said == "invalid_grant":
        return Unauthenticated(f"{site.issuer} no longer takes this login", hint="log in again")
    if status >= 500:
        return Unavailable(f"{site.issuer} answered {status}")
    words = ascii(found.get("error_description") or "")[1:-1][:200]
    return Unauthenticated(f"{site.issuer} refused: {ascii(said)[1:-1][:80]}" + (f": {words}" if words else ""))
