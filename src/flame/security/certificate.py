"""What a certificate says: whose it is, and for how long. Names and hosts are checked here, before anything is signed.

Subject: O is the role, CN the name; nothing else in a certificate grants anything.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from flame.core.base.errors import InvalidArgument, Unimplemented
from flame.security import pem

if TYPE_CHECKING:
    from cryptography import x509

ROLES = ("server", "manager", "allocator", "agent", "client")
"""Who a certificate can be for. `client` is the only one that no server may show."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class CertificateInfo:
    """A certificate for people and programs.

    role, name:  from the subject; "" where it says none (an authority has no role)
    hosts:       DNS names and addresses it may be shown for
    not_before, not_after: aware, UTC
    issuer:      common name of who signed it
    fingerprint: `sha256:` and the hex digest of its DER
    """

    role: str
    name: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    issuer: str
    fingerprint: str
    self_signed: bool


def describe(path: Path) -> CertificateInfo:
    """The first certificate in a PEM file. Raises NotFound, and InvalidArgument when there is none."""
    return info(load(pem.read_roots(path), path)[0])


def info(certificate: x509.Certificate) -> CertificateInfo:
    from cryptography import x509

    role, name = subject(certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(str(one.value) for one in names if isinstance(one, x509.DNSName | x509.IPAddress))
    except x509.ExtensionNotFound:
        hosts = ()
    return CertificateInfo(
        role=role,
        name=name,
        hosts=hosts,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issuer=common_name(certificate.issuer),
        fingerprint=fingerprint(certificate),
        self_signed=is_signed_by(certificate, certificate),
    )


def load(chain: bytes, source: object = "the text") -> list[x509.Certificate]:
    """Parse PEM certificates. Raises InvalidArgument when one is not one, Unimplemented without the library."""
    x509 = library()
    try:
        found = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise InvalidArgument(f"{source} holds no certificate that can be read: {error}") from error
    return list(found)


def library() -> ModuleType:
    """`cryptography.x509`. Raises Unimplemented when the extra is not installed."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise Unimplemented(
            "certificates need the cryptography library", hint="pip install 'flame-engine[tls]'"
        ) from error
    return x509


def subject(certificate: x509.Certificate) -> tuple[str, str]:
    """(role, name): O and CN. A field that is not there exactly once counts as not there: two readings of a name are none."""
    from cryptography.x509.oid import NameOID

    def single(oid: x509.ObjectIdentifier) -> str:
        found = certificate.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if len(found) == 1 else ""

    return single(NameOID.ORGANIZATION_NAME), single(NameOID.COMMON_NAME)


def common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return f"sha256:{certificate.fingerprint(SHA256()).hex()}"


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def checked_role(role: str) -> str:
    """Raises InvalidArgument when there is no such role."""
    if role not in ROLES:
        raise InvalidArgument(f"there is no role {role!r}", hint=f"one of {', '.join(ROLES)}")
    return role


def checked_name(name: str) -> str:
    """A name that can be a file's, too. Raises InvalidArgument."""
    if not _NAME.fullmatch(name) or name == "ca":
        raise InvalidArgument(
            f"{name!r} cannot be the name of an identity",
            hint="1 to 64 letters, digits and . _ @ + - between them; `ca` is the authority's own",
        )
    return name


def checked_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """DNS names (in their ASCII form) and addresses, each once, in order. Raises InvalidArgument for anything else."""
    return tuple(dict.fromkeys(_host(host) for host in hosts))


def _host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass  # not an address: a name
    try:
        name = host.removesuffix(".").encode("ascii" if host.isascii() else "idna").decode().lower()
    except UnicodeError:
        name = ""
    if len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.removeprefix("*.").split(".")):
        return name
    raise InvalidArgument(
        f"{host!r} is neither a host name nor an address", hint="such as flame.example.com or 10.0.0.7, without a port"
    )
