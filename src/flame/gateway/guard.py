"""Which requests are let in before anybody asks who they are from: by the host they are addressed to and the page they come from.

A page of another site can make a browser send requests to a server on this machine, and by a name that suddenly means 127.0.0.1 even read
the answers. So the host must be one of ours, and a request that a browser says comes from elsewhere must come from an origin that is
allowed. Programs send neither Origin nor Sec-Fetch headers; for them the token decides alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

NAVIGABLE = ("/", "/login", "/docs")
"""Pages to which a link may lead from anywhere. The cookie is not sent then (SameSite=Strict)."""
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = "authorization, content-type, if-match, x-csrf-token"
PREFLIGHT_AGE = 600
"""Seconds for which a browser may remember what a preflight said."""


@dataclass(frozen=True)
class Refused:
    """`status`: 421 for a host that is not ours, 403 for an origin that is not allowed."""

    status: int
    message: str
    hint: str


def refusal(
    method: str, path: str, headers: Mapping[str, str], scheme: str, names: Collection[str], origins: Collection[str]
) -> Refused | None:
    """headers: by lower-case name; names: hosts that are ours; origins: pages that may ask from elsewhere."""
    host = headers.get("host", "")
    if hostname(host).lower() not in {name.lower() for name in names}:
        return Refused(421, f"this is not {host[:100]!r}", "gateway.hosts in flame-cluster.yaml lists more names")
    origin = headers.get("origin")
    allowed = origin is not None and origin in origins
    if origin is not None and not allowed and origin.lower() != f"{scheme}://{host}".lower():
        hint = "gateway.origins in flame-cluster.yaml lists who may, while apiServer.corsEnabled is set"
        return Refused(403, f"pages of {origin[:100]} may not ask here", hint)
    site = headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin") or allowed:
        return None
    if method in ("GET", "HEAD") and path in NAVIGABLE and headers.get("sec-fetch-mode") == "navigate":
        return None
    return Refused(403, f"a {site[:20]} request of a browser", "open the page itself, or use a token without a browser")


def hostname(host: str) -> str:
    """Of a Host header: without the port and the brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def cors_headers(origin: str | None, origins: Collection[str], preflight: bool = False) -> list[tuple[str, str]]:
    """What tells a browser that it may; nothing for origins that are not allowed. Never `*`."""
    found = [("vary", "origin")] if origins else []
    if origin is None or origin not in origins:
        return found
    found += [("access-control-allow-origin", origin), ("access-control-expose-headers", "retry-after, x-request-id")]
    if preflight:
        found += [
            ("access-control-allow-methods", METHODS),
            ("access-control-allow-headers", HEADERS),
            ("access-control-max-age", str(PREFLIGHT_AGE)),
        ]
    return found


SECURE = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),  # with none at all browsers send forms from the origin `null`
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI sets styles on its elements."""
