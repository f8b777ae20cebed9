"""What is in a certificate of ours: keys, subjects, extensions, dates.

Keys are EC P-256: every TLS stack takes them, and a handshake costs a fraction of one with RSA. Lifetimes begin five minutes ago,
because clocks differ.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from flame.core.base.errors import InvalidArgument, InvalidState
from flame.security import certificate as certificates
from flame.security import pem

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

SKEW = timedelta(minutes=5)
MAX_DAYS = 36_500


@dataclass(frozen=True)
class Signer:
    """The key of an authority with its certificate."""

    key: PrivateKey
    certificate: x509.Certificate

    @classmethod
    def of(cls, key: bytes, candidates: Sequence[x509.Certificate]) -> Signer:
        """The key in a PEM text and the certificate that belongs to it. Raises InvalidArgument."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        try:
            (block,) = pem.blocks(key, b"PRIVATE KEY")
            private = serialization.load_pem_private_key(block, None)
        except (ValueError, TypeError) as error:
            raise InvalidArgument(f"there is no private key that can be read: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise InvalidArgument("the key is neither EC nor RSA")
        for one in candidates:
            if one.public_key() == private.public_key():
                return cls(private, one)
        raise InvalidArgument("no certificate belongs to the key")

    @property
    def pem(self) -> bytes:
        return certificate_pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    def sign(
        self, key: PublicKey, role: str, name: str, hosts: Sequence[str], now: datetime, lifetime: timedelta
    ) -> bytes:
        """A certificate for `key`, with the authority's after it. Raises InvalidArgument, or InvalidState when the authority expired."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import NameOID

        role, name = certificates.checked_role(role), certificates.checked_name(name)
        end = self.certificate.not_valid_after_utc
        if now >= end:
            raise InvalidState(
                f"the authority expired on {end:%Y-%m-%d}", hint="`flmadm certs rotate --ca` makes a new one"
            )
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, role), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(min(now + _checked(lifetime), end))
        )
        builder = _leaf_extensions(builder, key, role, self.certificate)
        if names := [_general_name(host) for host in certificates.checked_hosts(hosts)]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return certificate_pem(builder.sign(self.key, hashes.SHA256())) + self.pem


def new_authority(name: str, days: int, now: datetime) -> Signer:
    """A key and a certificate signed by itself, which may sign others but no further authorities. Its name ends in a piece of its key,
    so that the old and the new one of a cluster can be told apart. Raises InvalidArgument."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    key = new_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    full = f"{name[:40]} authority {identifier.digest.hex()[:8]}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, full)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + _checked(timedelta(days=days)))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return Signer(key, builder.sign(key, hashes.SHA256()))


def new_request(name: str) -> tuple[bytes, bytes]:
    """(key, signing request), PEM: the key stays where it was made, the request goes to the authority (`Authority.sign`).

    `name` is a proposal; the authority decides. Raises InvalidArgument, or Unimplemented without the `tls` extra.
    """
    certificates.library()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, certificates.checked_name(name))])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return key_pem(key), request.public_bytes(serialization.Encoding.PEM)


def requested_key(csr_pem: bytes) -> PublicKey:
    """The key a request asks a certificate for. Raises InvalidArgument when its sender does not have it, or it is weak."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        request = x509.load_pem_x509_csr(csr_pem)
        proven = request.is_signature_valid
        key = request.public_key()
    except Exception as error:  # a foreign text: the library raises its own kinds for keys and hashes it does not know
        raise InvalidArgument(f"this is not a signing request: {error}", hint="a PEM text from new_request") from error
    if not proven:
        raise InvalidArgument("the signing request is not signed by its own key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    raise InvalidArgument(
        "the key of the signing request is not good enough", hint="EC P-256 or larger, or RSA 2048 or larger"
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _checked(lifetime: timedelta) -> timedelta:
    if not timedelta(0) < lifetime <= timedelta(days=MAX_DAYS):
        raise InvalidArgument(f"a certificate cannot be valid for {lifetime.days} days", hint=f"1 to {MAX_DAYS:,}")
    return lifetime


def _leaf_extensions(
    builder: x509.CertificateBuilder, key: PublicKey, role: str, authority: x509.Certificate
) -> x509.CertificateBuilder:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Use

    try:
        signer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer)
    except x509.ExtensionNotFound:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    uses = [Use.CLIENT_AUTH] if role == "client" else [Use.SERVER_AUTH, Use.CLIENT_AUTH]
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(above, critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
