"""Why a connection fails, in the exact words; and the authority of a server, by its fingerprint."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from security.servers import grpc_server, run, tcp_server, tls_server

from flame.core.base.errors import InvalidArgument, Unauthenticated, Unavailable
from flame.security import pem, signing
from flame.security.authority import Authority, describe
from flame.security.contexts import server_context
from flame.security.probe import diagnose, fetch_ca
from flame.security.tls import server_credentials

DAY = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


def said(of: str, pattern: str, **parts: object) -> None:
    wanted = re.sub(r"<(\w+)>", lambda m: re.escape(str(parts[m[1]])), pattern.replace("DAY", DAY))
    assert re.fullmatch(wanted, of), f"{of!r} is not {wanted!r}"


def test_all_is_well(ours):
    server, client = ours.identity("well"), ours.identity("ada", "client", ())
    with tls_server(server_context(server.pem)) as port:
        assert diagnose("localhost", port, ours.ca) == ""
        assert diagnose("127.0.0.1", port, ours.ca) == ""
    with tls_server(server_context(server.pem, ours.ca, require_client=True)) as port:
        assert diagnose("localhost", port, ours.ca, client.pem) == ""


@pytest.mark.ledger("A-48")
def test_grpc_servers(ours, foreign, tmp_path):
    server, client = ours.identity("grpc"), ours.identity("ada", "client", ())
    stranger = foreign.identity("eve", "client", ())
    expired = ours.past.issue("client", "late")

    async def main() -> None:
        async with grpc_server(server_credentials(server.pem, ours.ca, True)) as port:

            async def probe(identity=None):
                return await asyncio.to_thread(diagnose, "localhost", port, ours.ca, identity and identity.pem)

            assert await probe(client) == ""
            assert await probe() == f"localhost:{port} wants a client certificate, and none was given"
            said(
                await probe(expired),
                r"localhost:<port> refused our certificate <file> \(late\): it expired on DAY",
                port=port, file=expired.pem,
            )  # fmt: skip
            said(
                await probe(stranger),
                r"localhost:<port> refused our certificate <file> \(eve\): it said nothing; most likely it does not know <who>, "
                "who signed it",
                port=port, file=stranger.pem, who=foreign.authority.name,
            )  # fmt: skip
        async with grpc_server(None) as port:
            assert (
                await asyncio.to_thread(diagnose, "localhost", port, ours.ca) == f"localhost:{port} does not speak TLS"
            )

    run(main)


def self_signed(path):
    signer = signing.new_authority("alone", 5, datetime.now(UTC))
    pem.write_pair(path, pem.Pair(signer.key_pem, signer.pem))
    return path


CERTIFICATE = "the certificate of localhost:<port> "


def test_servers_that_do_not_hold(ours, foreign, tmp_path):
    alone = self_signed(tmp_path / "alone.pem")
    names = {"ca": ours.ca, "us": ours.authority.name, "far": foreign.authority.name, "alone": describe(alone).name}
    cases = [
        (foreign.identity("far").pem, r"is signed by <far>, which <ca> does not hold \(it holds <us>\)"),
        (alone, r"\(<alone>\) is self-signed, and <ca> does not hold it"),
        (ours.past.issue("server", "old", ["localhost"]).pem, "expired on DAY"),
        (
            ours.future.issue("server", "new", ["localhost"]).pem,
            r"is valid only from DAY: is a clock wrong\? It is DAY here",
        ),
        (
            ours.identity("other", hosts=("flame.example", "10.0.0.1")).pem,
            "is for flame.example, 10.0.0.1, not for localhost",
        ),
        (ours.identity("nohost", hosts=()).pem, "is for no host at all, not for localhost"),
        (
            ours.identity("mere", "client", ("localhost",)).pem,
            r"\(mere\) is one for clients: no server may show it",
        ),
    ]
    for identity, words in cases:
        with tls_server(server_context(identity)) as port:
            said(diagnose("localhost", port, ours.ca), CERTIFICATE + words, port=port, **names)


def test_an_address_is_a_host_of_its_own(ours):
    with tls_server(server_context(ours.identity("named", hosts=("localhost",)).pem)) as port:
        assert (
            diagnose("127.0.0.1", port, ours.ca)
            == f"the certificate of 127.0.0.1:{port} is for localhost, not for 127.0.0.1"
        )


def test_the_authority_itself_may_be_over(tmp_path):
    then = datetime.now(UTC) - timedelta(days=100)
    authority = Authority.create(tmp_path / "certs", days=50, clock=lambda: then)
    one = authority.issue("server", "server", ["localhost"], days=40)
    with tls_server(server_context(one.pem)) as port:
        said(
            diagnose("localhost", port, authority.ca_file),
            "the certificate of (localhost:<port>|the authority <ca>, which signed that of localhost:<port>,) expired on DAY",
            port=port, ca=authority.name,
        )  # fmt: skip


def test_without_an_authority_the_machine_decides(ours):
    with tls_server(server_context(ours.identity("public").pem)) as port:
        assert "this machine's list of authorities does not hold" in diagnose("localhost", port, None)


def test_servers_that_refuse_us_with_a_word(ours, foreign):
    server, stranger = ours.identity("strict"), foreign.identity("eve", "client", ())
    expired, early = ours.past.issue("client", "late"), ours.future.issue("client", "soon")
    with tls_server(server_context(server.pem, ours.ca, require_client=True)) as port:
        where = f"localhost:{port}"
        assert diagnose("localhost", port, ours.ca) == f"{where} wants a client certificate, and none was given"
        assert (
            diagnose("localhost", port, ours.ca, stranger.pem)
            == f"{where} refused our certificate {stranger.pem} (eve): the server does not know {foreign.authority.name}, who signed it"
        )
        words = r"<where> refused our certificate <file> \(<name>\): "
        for one, why in ((expired, "it expired on DAY"), (early, "it is valid only from DAY")):
            said(diagnose("localhost", port, ours.ca, one.pem), words + why, where=where, file=one.pem, name=one.name)


def test_old_tls_is_diagnosed_too(ours, foreign):
    context = server_context(ours.identity("old-tls").pem, ours.ca, require_client=True)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with tls_server(context) as port:
        where = f"localhost:{port}"
        assert diagnose("localhost", port, ours.ca) == f"{where} wants a client certificate, and none was given"
        assert diagnose("localhost", port, foreign.ca).startswith(f"the certificate of {where} does not hold: ")
        assert diagnose("localhost", port, ours.ca, ours.identity("ada", "client", ()).pem) == ""
        with pytest.raises(Unavailable, match=r"no TLS 1\.3"):
            fetch_ca("localhost", port, ours.authority.fingerprint())


def test_nobody_and_no_tls(ours):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert diagnose("localhost", port, ours.ca) == f"nobody listens at localhost:{port}"
    assert diagnose("::1", port, ours.ca).startswith(
        (f"nobody listens at [::1]:{port}", f"[::1]:{port} cannot be reached")
    )
    assert "cannot be resolved" in diagnose("no.such.host.invalid", 1, ours.ca)
    assert diagnose("localhost", 70000, ours.ca) == "70000 is not a port"

    def http(conn: socket.socket) -> None:
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with tcp_server(http) as port:
        assert diagnose("localhost", port, ours.ca) == f"localhost:{port} does not speak TLS"
    with tcp_server(lambda conn: None) as port:
        assert diagnose("localhost", port, ours.ca).startswith(f"localhost:{port} does not speak TLS")
    with tcp_server(lambda conn: conn.recv(1000) and conn.recv(1)) as port:
        began = time.monotonic()
        found = diagnose("localhost", port, ours.ca, timeout=0.3)
        assert found == f"localhost:{port} takes connections but does not speak TLS: no answer within 0.3 s"
        assert time.monotonic() - began < 3


def test_our_own_files_may_be_the_trouble(ours, tmp_path):
    assert diagnose("localhost", 1, tmp_path / "no.pem").startswith(f"{tmp_path}/no.pem does not exist")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "cannot be read" in diagnose("localhost", 1, broken)
    assert "0 private keys" in diagnose("localhost", 1, ours.ca, ours.ca)


# -- joining ----------------------------------------------------------------------------------------------------------


def test_a_pinned_authority_is_fetched(ours, foreign):
    server = ours.identity("join")
    wanted = ours.authority.fingerprint()
    with tls_server(server_context(server.pem)) as port:
        for spelling in (wanted, wanted.upper().replace("SHA256", "sha256"), wanted.removeprefix("sha256:")):
            assert fetch_ca("localhost", port, spelling) == ours.ca.read_bytes()
        with pytest.raises(Unauthenticated) as error:
            fetch_ca("localhost", port, foreign.authority.fingerprint())
        assert wanted in error.value.message
        assert foreign.authority.fingerprint() in error.value.message
        for bad in ("", "sha256:", "sha256:xyz", wanted[:-1], "md5:" + "0" * 32):
            with pytest.raises(InvalidArgument, match="fingerprint"):
                fetch_ca("localhost", port, bad)
    with pytest.raises(Unavailable, match="nobody listens"):
        fetch_ca("localhost", port, wanted)


def test_a_grpc_server_that_wants_clients_hands_it_out_too(ours):
    server = ours.identity("join")

    async def main() -> None:
        async with grpc_server(server_credentials(server.pem, ours.ca, True)) as port:
            found = await asyncio.to_thread(fetch_ca, "127.0.0.1", port, ours.authority.fingerprint())
            assert (
                f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(found.decode())).hexdigest()}"
                == ours.authority.fingerprint()
            )

    run(main)


def test_who_shows_our_authority_but_is_not_signed_by_it_is_found_out(ours, foreign, tmp_path):
    stolen = tmp_path / "stolen.pem"
    mine = foreign.identity("thief")
    key, chain = pem.read_pair(mine.pem)
    pem.write_pair(stolen, pem.Pair(key, chain + ours.ca.read_bytes()))  # a chain may carry anything
    with tls_server(server_context(stolen)) as port:
        fetched = tmp_path / "ca.pem"
        fetched.write_bytes(fetch_ca("localhost", port, ours.authority.fingerprint()))
        assert "is signed by" in diagnose("localhost", port, fetched)
