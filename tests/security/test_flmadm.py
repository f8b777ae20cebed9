"""flmadm certs: from the shell, with real files and servers."""

from __future__ import annotations

import json
import socket
import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cli.conftest import runner
from security.servers import tls_server

from flame.security import pem
from flame.security.authority import Authority, describe, new_request
from flame.security.contexts import server_context
from flame.security.probe import diagnose


@pytest.fixture
def certs(tmp_path):
    run = runner(tmp_path)
    return lambda *words, **more: run(sys.executable, "-m", "flame.cli.flmadm", "certs", *words, **more)


@pytest.fixture
def home(tmp_path):
    return tmp_path / ".flame" / "data" / "certs"


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_init_makes_an_authority_and_a_server_that_people_can_connect_to(certs, home):
    ran = certs("init", "--host", "flame.example", "--host", "10.0.0.1")
    assert ran.code == 0, ran
    assert Authority.load(home).fingerprint() in ran.out
    server = describe(home / "server.pem")
    assert (server.role, server.name) == ("server", "server")
    assert set(server.hosts) >= {
        "flame.example",
        "10.0.0.1",
        "localhost",
        "127.0.0.1",
        "::1",
        socket.gethostname().lower(),
    }
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with tls_server(server_context(home / "server.pem")) as port:
        ran = certs("check", f"localhost:{port}")
        assert (ran.code, ran.err) == (0, ""), ran
        assert str(home / "ca.pem") in ran.out
    again = certs("init")
    assert (again.code, "already" in again.err) == (3, True)


def test_a_dry_run_does_nothing(certs, home, tmp_path):
    ran = certs("init", "--dry-run")
    assert (ran.code, str(home) in ran.out) == (0, True)
    assert not (tmp_path / ".flame").exists()
    certs("init")
    request = tmp_path / "n1.csr"
    request.write_bytes(new_request("n1")[1])
    before = files(tmp_path)
    for words, said in (
        (("issue", "agent", "n1", "--host", "n1.example"), "Would write"),
        (("issue", "server", "server"), "Would replace"),
        (("issue", "agent", "n1", "--out", tmp_path / "out"), "Would write"),
        (("sign", request, "agent", "n1"), "Would sign"),
        (("rotate",), "Would replace server"),
        (("rotate", "--ca"), "Would make a new authority"),
        (("rotate", "--drop-old-ca"), "There is no old authority"),
    ):
        ran = certs(*words, "--dry-run")
        assert (ran.code, said in ran.out) == (0, True), ran
        assert "BEGIN" not in ran.out
    assert certs("init", "--dry-run").code == 3
    assert certs("rotate", "ghost", "--dry-run").code == 3
    assert certs("issue", "agent", "server", "--dry-run").code == 3
    assert files(tmp_path) == before


def test_an_identity_for_another_machine(certs, home, tmp_path):
    certs("init")
    out = tmp_path / "to-send"
    ran = certs("issue", "agent", "n1", "--host", "localhost", "--days", "9", "--out", out)
    assert ran.code == 0, ran
    assert sorted(path.name for path in out.iterdir()) == ["ca.pem", "n1.pem"]
    assert not (home / "n1.pem").exists()
    assert describe(out / "n1.pem").not_after - datetime.now(UTC) < timedelta(days=9)
    with tls_server(server_context(out / "n1.pem")) as port:
        assert certs("check", f"localhost:{port}", "--ca-file", out / "ca.pem").code == 0
        assert certs("check", f"localhost:{port}", FLAME_CA_FILE=str(out / "ca.pem")).code == 0
    Authority.create(tmp_path / "another")
    refused = certs("issue", "agent", "n1", "--out", tmp_path / "another")
    assert (refused.code, "another authority" in refused.err) == (3, True)


def test_a_request_is_signed(certs, home, tmp_path):
    certs("init")
    key, request = new_request("n1")
    (tmp_path / "n1.csr").write_bytes(request)
    ran = certs("sign", tmp_path / "n1.csr", "agent", "n1", "--host", "localhost")
    pem.write_pair(tmp_path / "n1.pem", pem.Pair(key, ran.out.encode()))
    with tls_server(server_context(tmp_path / "n1.pem")) as port:
        assert diagnose("localhost", port, home / "ca.pem") == ""
    for bad in (tmp_path / "none.csr", home / "ca.pem"):
        ran = certs("sign", bad, "agent", "n1")
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith("Error: ")


def test_rotation_and_a_change_of_authority(certs, home):
    certs("init")
    first = describe(home / "server.pem")
    old = Authority.load(home).fingerprint()
    assert certs("rotate").code == 0
    assert describe(home / "server.pem").fingerprint != first.fingerprint
    assert certs("rotate", "ghost").code == 3
    changed = certs("rotate", "--ca")
    assert (changed.code, Authority.load(home).fingerprint() in changed.out) == (0, True)
    early = certs("rotate", "--drop-old-ca")
    assert (early.code, "server" in early.err, "flmadm certs rotate" in early.err) == (3, True, True)
    assert old in certs("show").out
    assert certs("rotate", "server").code == 0
    assert certs("rotate", "--drop-old-ca").code == 0
    assert old not in certs("show").out
    for words in (("--ca", "--drop-old-ca"), ("--ca", "server")):
        assert certs("rotate", *words).code == 2


def test_show_for_people_and_programs(certs, home):
    certs("init")
    certs("issue", "client", "ada@example.com", "--days", "12")
    Authority.load(home, clock=lambda: datetime.now(UTC) - timedelta(seconds=20)).issue("agent", "gone", days=1)
    ran = certs("show")
    assert ran.out.splitlines()[0].split() == ["Name", "Role", "Hosts", "Expires", "in", "Fingerprint"]
    assert "\x1b" not in ran.out + ran.err
    assert "Warning: ada@example.com expires in 11 days; `flmadm certs rotate ada@example.com`" in ran.err
    assert "Warning: gone expires in 23 h;" in ran.err
    assert "server" not in ran.err
    found = {one["name"]: one for one in json.loads(certs("show", "-o", "json").out)}
    ada = found["ada@example.com"]
    assert (ada["role"], ada["hosts"], ada["fingerprint"]) == (
        "client",
        [],
        describe(home / "ada@example.com.pem").fingerprint,
    )
    assert abs(ada["expires_in"] - 12 * 86_400) < 60
    assert [one["role"] for one in found.values()] == ["authority", "client", "agent", "server"]
    assert certs("show", "-o", "name").out.splitlines()[1:] == ["ada@example.com", "gone", "server"]


def test_show_says_what_has_expired(certs, home):
    past = Authority.create(home, clock=lambda: datetime.now(UTC) - timedelta(days=100))
    past.issue("agent", "late", days=50)
    assert "Warning: late has expired; `flmadm certs rotate late` replaces it." in certs("show").err
    (home / "ca.key").unlink()  # as on a machine that joined
    assert "late" in certs("show").out


def test_check_says_why(certs, home, foreign):
    certs("init")
    server = foreign.identity("check", hosts=("localhost",))
    with tls_server(server_context(server.pem, foreign.ca, require_client=True)) as port:
        ran = certs("check", f"localhost:{port}")
        assert (ran.code, ran.out) == (3, "")
        assert f"is signed by {foreign.authority.name}, which {home}/ca.pem does not hold" in ran.err
        ran = certs("check", f"localhost:{port}", "--ca-file", foreign.ca)
        assert "wants a client certificate" in ran.err
        ran = certs("check", f"localhost:{port}", "--ca-file", foreign.ca, "--cert", server.pem)
        assert ran.code == 0, ran
    assert "nobody listens" in certs("check", f"localhost:{port}").err
    assert "does not exist" in certs("check", "localhost:1", "--ca-file", "/nowhere.pem").err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("show",), 3, "flmadm certs init"),
        (("rotate",), 3, "flmadm certs init"),
        (("issue", "agent", "n1"), 3, "flmadm certs init"),
        (("issue", "root", "n1"), 2, "one of server"),
        (("issue", "agent"), 2, "NAME"),
        (("issue", "agent", "n1", "--days", "0"), 2, "days"),
        (("init", "--host", "a b"), 3, "host name"),
        (("check", "localhost"), 2, "HOST:PORT"),
        (("check", "localhost:x"), 2, "HOST:PORT"),
        (("check", "[::1]:99999"), 3, "not a port"),
        (("show", "-o", "xml"), 2, "one of table"),
        (("nonsense",), 2, "nonsense"),
        ((), 0, ""),
        (("--help",), 0, ""),
    ],
)
def test_wrong_input_has_an_exit_code_and_a_sentence(certs, tmp_path, words, code, text):
    ran = certs(*words)
    assert ran.code == code, ran
    assert text in ran.err
    assert "Traceback" not in ran.err
    assert files(tmp_path) == {}
