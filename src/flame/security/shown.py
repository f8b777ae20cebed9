"""Certificates as the standard library decodes them, so that a client without `cryptography` can say what is wrong with one.

`ssl` gives a chain that it did not verify only from inside, which is the same in Python 3.11 to 3.14 (from 3.13 on there is a public form,
of bytes).
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flame.core.base.errors import InvalidArgument
from flame.security import pem
from flame.security.contexts import client_context

_HANDSHAKE, _CERTIFICATE_REQUEST = 22, 13


@dataclass(frozen=True)
class Shown:
    """A certificate that somebody showed. Times are seconds since 1970."""

    der: bytes = field(repr=False)
    info: dict[str, Any]

    @property
    def name(self) -> str:
        return common_name(self.info.get("subject"))

    @property
    def issuer(self) -> str:
        return common_name(self.info.get("issuer"))

    @property
    def fingerprint(self) -> str:
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    @property
    def self_signed(self) -> bool:
        return self.info.get("subject") == self.info.get("issuer")

    @property
    def hosts(self) -> str:
        return ", ".join(str(value) for _, value in self.info.get("subjectAltName", ())) or "no host at all"

    @property
    def begins(self) -> float:
        return ssl.cert_time_to_seconds(self.info["notBefore"])

    @property
    def ends(self) -> float:
        return ssl.cert_time_to_seconds(self.info["notAfter"])


def common_name(parts: object) -> str:
    """The common name in a subject as `ssl` gives it, else all of it."""
    pairs = [pair for part in cast("tuple[tuple[tuple[str, str], ...], ...]", parts or ()) for pair in part]
    name = next((value for key, value in pairs if key == "commonName"), "")
    return name or ", ".join(f"{key}={value}" for key, value in pairs) or "nobody"


def chain_of(secure: ssl.SSLSocket) -> list[Shown]:
    """All certificates that the server sent, leaf first, verified or not."""
    import _ssl

    found = cast(Any, secure)._sslobj.get_unverified_chain() or ()
    return [Shown(one.public_bytes(_ssl.ENCODING_DER), dict(one.get_info())) for one in found]


def own(identity: Path) -> Shown:
    """The certificate in an identity file. Raises NotFound, InvalidArgument."""
    import _ssl

    try:
        der = ssl.PEM_cert_to_DER_cert(pem.blocks(pem.read_pair(identity).chain, b"CERTIFICATE")[0].decode())
        return Shown(der, dict(cast(Any, _ssl)._test_decode_cert(str(identity))))
    except (ssl.SSLError, ValueError) as error:
        raise InvalidArgument(f"the certificate in {identity} cannot be read: {error}") from error


def authorities(ca: Path) -> list[str]:
    """Names of the authorities in a file. Raises NotFound, InvalidArgument."""
    return [common_name(one["subject"]) for one in client_context(ca).get_ca_certs()]


def watch(context: ssl.SSLContext) -> list[bool]:
    """Not empty once a server asked for a client certificate. The hook is one of `ssl` for debugging."""
    asked: list[bool] = []

    def message(conn: Any, direction: str, version: Any, content: int, kind: int, data: bytes) -> None:
        if direction == "read" and content == _HANDSHAKE and kind == _CERTIFICATE_REQUEST:
            asked.append(True)

    cast(Any, context)._msg_callback = message
    return asked
