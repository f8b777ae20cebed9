"""Logging in: by a token and by an outside issuer, over TLS, with what `flame login` keeps; and certificates that are renewed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cli.conftest import BIN, runner
from security.issuer import Key, SmallIssuer

import flame
from flame.agent import joining
from flame.security.authority import describe
from flame.shell.address import parse
from flame.testing.cluster import LocalCluster, eventually
from flame.testing.node import LocalNode


@pytest.fixture(scope="module")
def issuer():
    with SmallIssuer(Key("k", "ES256")) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(issuer):
    options = {
        "listen": "tls://127.0.0.1:0",
        "advertise": "127.0.0.1",
        "issuer": {"url": issuer.url, "audience": "flame"},
    }
    with LocalCluster(**options) as made, made.connect() as local:
        local.set_tenant("red")
        yield made


def ca(cluster) -> Path:
    return cluster.data_dir / "certs" / "ca.pem"


def test_a_token_of_the_issuer_is_somebody_of_a_tenant(cluster, issuer):
    with flame.connect(cluster.run.listen, token=issuer.token(), ca_file=ca(cluster)) as client:
        who = client.whoami()
        assert (who.name, who.role, who.tenant, who.kind) == ("ada", "user", "red", "oidc")
        with client.session("flmping") as session:
            assert session.run(None).result(30)


@pytest.mark.parametrize("claims", [{"aud": "other"}, {"exp": 1}, {"role": "king"}, {"tenant": "nowhere"}])
def test_a_token_that_is_not_for_us_is_refused(cluster, issuer, claims):
    with pytest.raises(flame.Unauthenticated):
        flame.connect(cluster.run.listen, token=issuer.token(**claims), ca_file=ca(cluster))


def test_an_identity_of_the_issuer_ends_when_it_said(cluster, issuer):
    token = issuer.token(exp=int(time.time()) + 2)
    client = flame.connect(cluster.run.listen, token=token, ca_file=ca(cluster))
    eventually(lambda: client.link.broken is not None, 10, "an expired identity goes on")
    assert isinstance(client.link.broken, flame.Unauthenticated)
    client.close()


def test_login_keeps_who_you_are_and_every_command_uses_it(cluster, issuer):
    home = Path(tempfile.mkdtemp(prefix="flame-login-"))
    run = runner(home)
    with cluster.connect() as local:
        token = local.create_token("ann", tenant="red").token
    (home / "t").write_text(token + "\n")
    done = run(BIN / "flame", "login", cluster.run.listen, "--token-file", home / "t", "--ca-file", ca(cluster))
    assert done.code == 0, done
    assert "ann is user of tenant red" in done.out
    assert token not in done.out + done.err + (home / ".flame" / "flame.yaml").read_text()
    assert (home / ".flame" / "flame.token").stat().st_mode & 0o777 == 0o600
    assert '"name": "ann"' in run(BIN / "flame", "whoami", "-o", "json").out
    assert run(BIN / "flmping", "-t", "5").code == 0
    assert "red/flmping-" in run(BIN / "flmctl", "list", "-s").out
    # By the issuer, as people do: a page to open and a code to enter, which the issuer says was done.
    issuer.device = [
        (200, {"access_token": issuer.token(), "id_token": issuer.token(sub="bea"), "token_type": "Bearer"})
    ]
    again = run(BIN / "flame", "login", cluster.run.listen, "--issuer", issuer.url, "--ca-file", ca(cluster))
    assert again.code == 0, again
    assert "WDJB-MJHT" in again.err
    assert "bea is user of tenant red" in again.out
    assert run(BIN / "flame", "logout").code == 0
    assert not (home / ".flame" / "flame.token").exists()


def test_a_login_that_fails_leaves_nothing(cluster):
    home = Path(tempfile.mkdtemp(prefix="flame-login-"))
    run = runner(home)
    (home / "t").write_text("flame_wrong\n")
    done = run(BIN / "flame", "login", cluster.run.listen, "--token-file", home / "t", "--ca-file", ca(cluster))
    assert (done.code, "not known" in done.err) == (77, True), done
    assert not (home / ".flame" / "flame.yaml").exists()


def test_foreign_expired_and_missing_authorities_are_named(cluster, tmp_path):
    from flame.security.authority import Authority

    foreign = Authority.create(tmp_path / "foreign").ca_file
    with pytest.raises(flame.Unavailable, match="authority"):
        flame.connect(cluster.run.listen, token="x", ca_file=foreign)
    with pytest.raises(flame.FlameError, match="sign"):
        flame.connect(cluster.run.listen, token="x")


def test_a_node_renews_its_certificate_with_the_one_it_has(cluster):
    with LocalNode(cluster, "renewing", remote=True) as node:
        certs = node.data_dir / "certs"
        before = describe(certs / joining.IDENTITY).fingerprint
        joining.renew([parse(cluster.run.listen)], "renewing", certs, ())
        after = describe(certs / joining.IDENTITY)
        assert after.fingerprint != before
        assert (after.role, after.name) == ("agent", "renewing")
        with pytest.raises(flame.PermissionDenied, match="certificate is of node renewing"):
            joining.renew([parse(cluster.run.listen)], "somebody-else", certs, ())


def test_servers_take_up_rotated_certificates_while_clients_work(cluster):
    def connects() -> bool:
        with flame.connect(
            cluster.run.listen, token=(cluster.data_dir / "token").read_text().strip(), ca_file=ca(cluster)
        ) as client:
            return client.status().storage == "ok"

    assert connects()
    pid = cluster.pid("manager")
    command = [
        sys.executable,
        "-m",
        "flame.cli.flmadm",
        "certs",
        "rotate",
        "server",
        "--dir",
        str(cluster.data_dir / "certs"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert connects()
    assert cluster.pid("manager") == pid
