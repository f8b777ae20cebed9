"""TLS contexts of the standard library, from our files: for probes, and for servers that are not gRPC. TLS 1.3 at least."""

from __future__ import annotations

import ssl
from pathlib import Path

from flame.core.base.errors import InvalidArgument
from flame.security import pem


def server_context(identity: Path, ca: Path | None = None, *, require_client: bool = False) -> ssl.SSLContext:
    """For a server. `ca`: who may sign clients; `require_client` (refuse those without a certificate) needs it.

    Raises NotFound, InvalidArgument.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    pem.load_pair(context, identity)
    if ca is not None:
        _trust(context, ca)
    elif require_client:
        raise InvalidArgument("clients cannot be verified without an authority", hint="give `ca`")
    if require_client:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None, identity: Path | None = None) -> ssl.SSLContext:
    """For a client. `ca` None: trust what this machine trusts. Raises NotFound, InvalidArgument."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is None:
        context.load_default_certs()
    else:
        _trust(context, ca)
    if identity is not None:
        pem.load_pair(context, identity)
    return context


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(cadata=pem.read_roots(ca).decode())
    except ssl.SSLError as error:
        raise InvalidArgument(f"{ca} holds a certificate that cannot be read: {error.reason or error}") from error
