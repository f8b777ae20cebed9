"""What an OpenID issuer says about itself, over HTTPS. Plain HTTP only for an issuer on this machine; no redirects; small answers."""

from __future__ import annotations

import ipaddress
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from flame.core.base.errors import InvalidArgument, Unavailable

TIMEOUT_S = 5.0
MAX_BYTES = 1 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would lead from the issuer that was named to one that was not."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Site:
    """The endpoints of one issuer. ca_file: whom to trust for its certificate (None: what this machine trusts)."""

    def __init__(self, issuer_url: str, ca_file: Path | None = None) -> None:
        self.issuer = checked_url(issuer_url).rstrip("/")
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise InvalidArgument(f"{ca_file} cannot be used as an authority: {error}") from error
        self._opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=context))

    def document(self) -> dict[str, Any]:
        """The discovery document. Raises Unavailable when it cannot be had, or speaks for another issuer."""
        found = self.get(f"{self.issuer}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != self.issuer:
            raise Unavailable(f"the issuer at {self.issuer} says that it is {found.get('issuer')!r}")
        return found

    def endpoint(self, name: str, document: Mapping[str, Any] | None = None) -> str:
        """The URL of an endpoint, from the document. Raises Unavailable when the issuer has none, or one without HTTPS."""
        found = (self.document() if document is None else document).get(name)
        if not isinstance(found, str):
            raise Unavailable(f"the issuer {self.issuer} has no {name}")
        try:
            return checked_url(found)
        except InvalidArgument as error:
            raise Unavailable(f"the issuer {self.issuer} names a {name} that is not safe: {error.message}") from error

    def get(self, url: str) -> dict[str, Any]:
        """A JSON object. Raises Unavailable."""
        status, found = self._fetch(urllib.request.Request(url, headers={"Accept": "application/json"}))
        if status != 200:
            raise Unavailable(f"{url} answered {status}")
        return found

    def post(self, url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """(status, JSON object) of a form. Raises Unavailable when there is no such answer."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        return self._fetch(urllib.request.Request(url, urllib.parse.urlencode(form).encode(), headers))

    def _fetch(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        try:
            try:
                with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                    status, body = answer.status, answer.read(MAX_BYTES + 1)
            except urllib.error.HTTPError as error:
                with error:
                    status, body = error.code, error.read(MAX_BYTES + 1)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable(f"{request.full_url} cannot be reached: {reason}") from error
        try:
            found = json.loads(body) if len(body) <= MAX_BYTES else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unavailable(f"{request.full_url} answered {status}, and not with a JSON object")
        return status, found


def checked_url(url: str) -> str:
    """Raises InvalidArgument for a URL that is neither HTTPS nor on this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise InvalidArgument(f"{url!r} is not a URL") from error
    if not host or not url.isprintable() or parts.username is not None or parts.fragment:
        raise InvalidArgument(f"{url!r} is not the URL of an issuer")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return url
    raise InvalidArgument(
        f"{url} is not https", hint="only an issuer on this machine (http://127.0.0.1:...) may do without"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
