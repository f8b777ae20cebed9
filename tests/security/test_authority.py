"""The certificate authority on files: what it signs, what it refuses, how keys and authorities are replaced."""

from __future__ import annotations

import base64
import socket
import ssl
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from security.servers import tls_server

from flame.core.base.errors import AlreadyExists, InvalidArgument, InvalidState, NotFound, PermissionDenied
from flame.security import pem
from flame.security.authority import Authority, describe, new_request
from flame.security.contexts import client_context, server_context
from flame.security.probe import diagnose


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "certs")


def loaded(path):
    return x509.load_pem_x509_certificate(pem.read_pair(path).chain)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private_and_an_identity_is_one_file(authority):
    one = authority.issue("server", "server", ["localhost"])
    names = sorted(path.name for path in authority.directory.iterdir())
    assert names == ["ca.key", "ca.pem", "server.pem"]
    assert [mode(authority.directory / name) for name in names] == [0o600, 0o644, 0o600]
    assert mode(authority.directory) == 0o700
    key, chain = pem.read_pair(one.pem)
    assert serialization.load_pem_private_key(key, None).public_key() == loaded(one.pem).public_key()
    assert chain.endswith(authority.ca_file.read_bytes())


def test_what_a_certificate_says(authority):
    hosts = ["node.example", "10.0.0.7", "[::1]", "Bücher.example", "*.flame.example", "node.example"]
    one = authority.issue("agent", "node-1", hosts, days=7)
    assert one.certificate == describe(one.pem)
    assert one.certificate.hosts == ("node.example", "10.0.0.7", "::1", "xn--bcher-kva.example", "*.flame.example")
    assert (one.certificate.role, one.certificate.name, one.certificate.self_signed) == ("agent", "node-1", False)
    now = datetime.now(UTC)
    assert timedelta(minutes=4) < now - one.certificate.not_before < timedelta(minutes=6)
    assert timedelta(days=6.9) < one.certificate.not_after - now <= timedelta(days=7)
    certificate = loaded(one.pem)
    assert certificate.subject.rfc4514_string() == "CN=node-1,O=agent"
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    found = {extension.oid._name: extension for extension in certificate.extensions}
    assert (found["basicConstraints"].critical, found["basicConstraints"].value.ca) == (True, False)
    assert (found["keyUsage"].critical, found["keyUsage"].value.key_cert_sign) == (True, False)
    signer = x509.load_pem_x509_certificate(authority.ca_file.read_bytes())
    identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert found["authorityKeyIdentifier"].value.key_identifier == identifier
    assert found["subjectKeyIdentifier"].value.digest != identifier
    assert certificate.serial_number != loaded(authority.issue("agent", "node-1").pem).serial_number
    assert f"sha256:{signer.fingerprint(hashes.SHA256()).hex()}" == authority.fingerprint()


@pytest.mark.parametrize("role", ["server", "manager", "allocator", "agent", "client"])
def test_only_a_client_is_no_server(authority, role):
    uses = loaded(authority.issue(role, "it").pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert set(uses) == ({ExtendedKeyUsageOID.CLIENT_AUTH} if role == "client" else both)


@pytest.mark.parametrize(
    ("role", "name", "hosts", "days", "word"),
    [
        ("root", "a", [], 1, "role"),
        ("agent", "ca", [], 1, "name"),
        ("agent", "", [], 1, "name"),
        ("agent", "../a", [], 1, "name"),
        ("agent", ".hidden", [], 1, "name"),
        ("agent", "a" * 65, [], 1, "name"),
        ("agent", "a", ["host:8080"], 1, "host"),
        ("agent", "a", ["a b"], 1, "host"),
        ("agent", "a", [""], 1, "host"),
        ("agent", "a", ["a..b"], 1, "host"),
        ("agent", "a", ["1.2.3.4/24"], 1, "host"),
        ("agent", "a", [], 0, "days"),
        ("agent", "a", [], -5, "days"),
        ("agent", "a", [], 10**6, "days"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_written(authority, role, name, hosts, days, word):
    before = sorted(authority.directory.parent.rglob("*"))
    with pytest.raises(InvalidArgument, match=word):
        authority.issue(role, name, hosts, days)
    assert sorted(authority.directory.parent.rglob("*")) == before


def test_there_is_one_authority_and_it_is_asked_for_by_name(authority, tmp_path):
    with pytest.raises(AlreadyExists, match="already"):
        Authority.create(authority.directory)
    with pytest.raises(NotFound) as error:
        Authority.load(tmp_path / "none")
    assert "flmadm certs init" in error.value.hint
    assert Authority.load(authority.directory).fingerprint() == authority.fingerprint()
    (authority.directory / "ca.key").write_text("nonsense")
    with pytest.raises(InvalidArgument, match=r"ca\.key"):
        Authority.load(authority.directory)
    (authority.directory / "ca.key").unlink()
    with pytest.raises(NotFound, match="not its key"):
        Authority.load(authority.directory)


def test_a_directory_where_others_write_is_refused_and_left_as_it_is(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").touch()
    shared.chmod(0o777)
    with pytest.raises(PermissionDenied, match="others may write"):
        Authority.create(shared)
    assert mode(shared) == 0o777
    assert [path.name for path in shared.iterdir()] == ["file"]


def test_an_authority_made_by_other_means_signs_too(tmp_path, authority):
    directory = tmp_path / "made"
    directory.mkdir(0o700)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=House CA"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    made = Authority.load(directory)
    one = made.issue("server", "server", ["localhost"])
    assert one.certificate.issuer == "House CA"
    with tls_server(server_context(one.pem)) as port:
        assert diagnose("localhost", port, made.ca_file) == ""
    (directory / "ca.key").write_bytes((authority.directory / "ca.key").read_bytes().split(b"-----BEGIN CERT")[0])
    with pytest.raises(InvalidArgument, match="belongs to the key"):
        Authority.load(directory)


def test_a_name_keeps_its_role(authority):
    first = authority.issue("agent", "a")
    assert authority.issue("agent", "a").certificate.fingerprint != first.certificate.fingerprint
    with pytest.raises(AlreadyExists, match="agent"):
        authority.issue("client", "a")


def test_nothing_outlives_its_authority(tmp_path):
    now = datetime.now(UTC)
    directory = tmp_path / "certs"
    short = Authority.create(directory, days=10)
    assert short.issue("agent", "a", days=90).certificate.not_after == short.trusted()[0].not_after
    with pytest.raises(InvalidState, match="expired"):
        Authority.load(directory, clock=lambda: now + timedelta(days=11)).issue("agent", "a")


# -- requests ---------------------------------------------------------------------------------------------------------


def test_a_request_gets_our_subject_whatever_it_says(authority):
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "manager")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    signed = x509.load_pem_x509_certificate(authority.sign(greedy, "agent", "n1", ["10.0.0.1"]))
    assert signed.subject.rfc4514_string() == "CN=n1,O=agent"
    assert signed.public_key() == key.public_key()
    assert not signed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == ["10.0.0.1"]


def test_the_key_of_a_joining_machine_stays_there(authority, tmp_path):
    key, request = new_request("n1")
    path = tmp_path / "n1.pem"
    pem.write_pair(path, pem.Pair(key, authority.sign(request, "agent", "n1", ["localhost"])))
    with tls_server(server_context(path)) as port:
        assert diagnose("localhost", port, authority.ca_file) == ""
    assert not (authority.directory / "n1.pem").exists()


def a_request(key, algorithm):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_requests_that_prove_nothing_are_refused(authority):
    good = a_request(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1  # in the signature
    forged = (
        b"-----BEGIN CERTIFICATE REQUEST-----\n"
        + base64.encodebytes(bytes(der))
        + b"-----END CERTIFICATE REQUEST-----\n"
    )
    weak = a_request(rsa.generate_private_key(65537, 1024), hashes.SHA256())
    for text in (
        b"",
        b"nonsense",
        authority.ca_file.read_bytes(),
        forged,
        weak,
        a_request(ed25519.Ed25519PrivateKey.generate(), None),
    ):
        with pytest.raises(InvalidArgument, match="request"):
            authority.sign(text, "agent", "n1")
    assert authority.sign(good, "agent", "n1").startswith(b"-----BEGIN CERTIFICATE")


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_rotation_keeps_what_an_identity_is_and_changes_its_key(authority):
    first = authority.issue("server", "server", ["localhost", "127.0.0.1"], days=30)
    other = authority.issue("agent", "a")
    (new,) = authority.rotate(["server"])
    assert (new.role, new.name, new.certificate.hosts) == (first.role, first.name, first.certificate.hosts)
    spans = [one.certificate.not_after - one.certificate.not_before for one in (first, new)]
    assert abs(spans[0] - spans[1]) < timedelta(seconds=2)
    assert new.certificate.fingerprint != first.certificate.fingerprint
    assert describe(other.pem) == other.certificate
    assert {one.name for one in authority.rotate()} == {"server", "a"}
    before = {one.name: one.certificate for one in authority.identities()}
    with pytest.raises(NotFound, match="ghost"):
        authority.rotate(["server", "ghost"])
    assert {one.name: one.certificate for one in authority.identities()} == before


def test_a_change_of_authority_in_three_steps(authority):
    old = authority.issue("server", "server", ["localhost"])
    first = authority.fingerprint()
    authority.rotate_ca()
    assert authority.fingerprint() != first
    assert [one.fingerprint for one in authority.trusted()] == [authority.fingerprint(), first]
    with tls_server(server_context(old.pem)) as port:
        assert diagnose("localhost", port, authority.ca_file) == ""  # the overlap
        with pytest.raises(InvalidState, match="server"):
            authority.drop_old_ca()
        (new,) = authority.rotate()
        assert [one.fingerprint for one in authority.drop_old_ca()] == [first]
        assert new.certificate.issuer in diagnose("localhost", port, authority.ca_file)
    with tls_server(server_context(new.pem)) as port:
        assert diagnose("localhost", port, authority.ca_file) == ""
    assert authority.drop_old_ca() == []
    assert [one.fingerprint for one in authority.trusted()] == [authority.fingerprint()]


def test_an_open_authority_signs_with_the_new_one_after_another_process_changed_it(authority):
    other = Authority.load(authority.directory)
    other.rotate_ca()
    assert authority.issue("agent", "a").certificate.issuer == other.name


def test_readers_never_see_a_key_with_another_certificate(authority):
    path = authority.issue("server", "server", ["localhost"]).pem
    wrong, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            key, _ = pem.read_pair(path)
            seen = pem.read_pair(path)
            if (
                serialization.load_pem_private_key(seen.key, None).public_key()
                != x509.load_pem_x509_certificate(seen.chain).public_key()
            ):
                wrong.append(key)
            server_context(path)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(60):
            authority.rotate()
    finally:
        done.set()
        thread.join()
    assert wrong == []
    assert not list(authority.directory.glob(".*"))  # no leavings


def test_strict_verifiers_take_our_chains(authority):
    one = authority.issue("server", "server", ["localhost"])
    context = client_context(authority.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        tls_server(server_context(one.pem)) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
    ):
        context.wrap_socket(plain, server_hostname="localhost").close()


def test_nothing_heavy_loads_with_the_modules():
    script = (
        "import sys, flame.security.authority, flame.security.tls, flame.security.oidc;"
        "print([m for m in ('cryptography', 'grpc', 'jwt') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
