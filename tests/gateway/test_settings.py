"""What the cluster's settings say about the gateway holds at once; and what is let in before anybody asks who it is."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest
from gateway.conftest import CONFIGS, Gate, config, tls

from flame.core.base.errors import InvalidArgument
from flame.testing.cluster import LocalCluster, eventually

PAGES = "https://pages.example"


def write(gate: Gate, text: str) -> None:
    """The values file of the chart, as the engine takes it."""
    values = {
        "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameValues", "metadata": {"name": "flame"},
        "flame": {"apiServer": {"config": text}},
    }  # fmt: skip
    path = "/apis/flame.xflops.cn/v1alpha1/flamevalues"
    found = gate.ask("POST", path, values)
    if found.status == 409:
        found = gate.ask("PUT", f"{path}/flame", values)
    assert found.status in (200, 201), found.text


@pytest.fixture(scope="module")
def set_up(tmp_path_factory):
    """A cluster whose settings these tests change."""
    from flame.testing.cluster import LocalCluster

    options = {"listen": "127.0.0.1:0", "origins": [PAGES]}
    with LocalCluster(gateway=options) as cluster, cluster.connect() as client:
        yield Gate(cluster, client)


@pytest.mark.ledger("B-034")
def test_the_documentation_can_be_switched_off(set_up):
    gate = set_up
    assert gate.get("/openapi.json").json["openapi"].startswith("3.")
    page = gate.get("/docs")
    assert page.status == 200
    assert "://" not in page.text.replace("http://www.w3.org", "")  # nothing comes from elsewhere
    assert gate.get("/docs/swagger-ui-bundle.js").status == 200
    write(gate, {"enableSwagger": False})
    eventually(lambda: gate.get("/openapi.json").status == 404)
    assert gate.get("/docs").status == 404
    assert gate.get("/docs/swagger-ui-bundle.js").status == 404
    assert gate.get("/flame/v1/schema/openapi.json").status == 404
    write(gate, {"enableSwagger": True})
    eventually(lambda: gate.get("/openapi.json").status == 200)


@pytest.mark.ledger("B-035")
def test_other_origins_are_let_in_by_a_list_only(set_up):
    gate = set_up
    write(gate, {"corsEnabled": False})
    ask = {"origin": PAGES, "access_control_request_method": "GET"}
    eventually(lambda: "access-control-allow-origin" not in gate.ask("OPTIONS", CONFIGS, token=None, **ask).headers)
    assert gate.get(CONFIGS, origin=PAGES).status == 403
    write(gate, {"corsEnabled": True})
    eventually(lambda: gate.ask("OPTIONS", CONFIGS, token=None, **ask).status == 204)
    preflight = gate.ask("OPTIONS", CONFIGS, token=None, **ask)
    assert preflight.headers["access-control-allow-origin"] == PAGES
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    answer = gate.get(CONFIGS, origin=PAGES, sec_fetch_site="cross-site", sec_fetch_mode="cors")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGES)
    for other in ("https://evil.example", "null", "http://pages.example", "https://pages.example.evil.example"):
        assert gate.get(CONFIGS, origin=other).status == 403
        refused = gate.ask("OPTIONS", CONFIGS, token=None, **(ask | {"origin": other}))
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
    write(gate, {"corsEnabled": False})


@pytest.mark.ledger("B-036", "B-037")
def test_a_token_has_so_many_requests(set_up):
    gate = set_up
    write(gate, {"rateLimit": {"enabled": True, "requestsPerSecond": 50}})
    eventually(lambda: "flame_gateway_rate_limit 50.0" in gate.get("/metrics").text)
    other = gate.client.create_token("limit-other", "viewer", "*").token
    mine = gate.client.create_token("limit-mine", "viewer", "*").token
    parts = urlsplit(gate.url)
    statuses: Counter[int] = Counter()
    waits: list[str] = []

    def hammer(count: int) -> None:
        link = http.client.HTTPConnection(parts.hostname, parts.port)
        for _ in range(count):
            link.request("GET", "/flame/v1/whoami", headers={"authorization": f"Bearer {mine}"})
            answer = link.getresponse()
            answer.read()
            statuses[answer.status] += 1
            if answer.status == 429:
                waits.append(answer.headers["retry-after"])
        link.close()

    began = time.monotonic()
    threads = [threading.Thread(target=hammer, args=(50,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    # One second's worth at once, and 50 a second.
    assert 50 <= statuses[200] <= 50 + 50 * seconds + 2, (statuses, seconds)
    assert statuses[200] + statuses[429] == 300
    assert waits
    assert all(int(wait) >= 1 for wait in waits)
    assert gate.get("/flame/v1/whoami", token=other).status == 200  # the others are not held up
    limited = [
        line for line in gate.get("/metrics").text.splitlines() if line.startswith("flame_gateway_rate_limited_total")
    ]
    assert float(limited[0].split()[1]) >= statuses[429]
    write(gate, {"rateLimit": {"enabled": False}})
    eventually(lambda: "flame_gateway_rate_limit 0.0" in gate.get("/metrics").text)
    statuses.clear()
    hammer(200)
    assert statuses == {200: 200}


# -- who is let in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_host_origin_and_fetch_are_looked_at_on_every_verb(gate: Gate, method: str):
    rebound = gate.ask(method, CONFIGS, host="evil.example")
    assert rebound.status == 421
    assert gate.ask(method, CONFIGS, origin="https://evil.example").status == 403
    assert gate.ask(method, CONFIGS, sec_fetch_site="cross-site").status == 403
    assert gate.ask(method, CONFIGS, sec_fetch_site="same-site").status == 403


def test_a_link_from_elsewhere_leads_to_the_page_and_nowhere_else(gate: Gate):
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "accept": "text/html"}
    assert gate.ask("GET", "/", token=None, **link).headers["location"] == "/login"
    assert gate.ask("GET", "/login", token=None, **link).status == 200
    assert gate.ask("GET", "/flame/v1/status", **link).status == 403
    assert (
        gate.ask("POST", "/login", b"token=x", token=None, media="application/x-www-form-urlencoded", **link).status
        == 403
    )


def test_a_cookie_changes_nothing_without_the_word_for_it(gate: Gate):
    form = f"token={gate.tokens['user@*']}".encode()
    made = gate.ask("POST", "/login", form, token=None, media="application/x-www-form-urlencoded", origin=gate.url)
    assert made.status == 303
    said = made.headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=Strict" in said
    cookie = said.partition(";")[0]
    assert gate.ask("GET", "/flame/v1/whoami", token=None, cookie=cookie).json["name"] == "user-*"
    assert gate.ask("POST", CONFIGS, config("csrf"), token=None, cookie=cookie).status == 403
    assert gate.ask("POST", CONFIGS, config("csrf"), token=None, cookie=cookie, x_csrf_token="0" * 32).status == 403
    page = gate.ask("GET", "/", token=None, cookie=cookie).text
    word = page.partition('name="csrf-token" content="')[2].partition('"')[0]
    assert gate.ask("POST", CONFIGS, config("csrf"), token=None, cookie=cookie, x_csrf_token=word).status == 201
    assert gate.ask("DELETE", f"{CONFIGS}/csrf").status == 200
    wrong = gate.ask("POST", "/login", b"token=flame_no", token=None, media="application/x-www-form-urlencoded")
    assert wrong.status == 401
    assert "set-cookie" not in wrong.headers


def test_every_answer_has_the_headers_that_browsers_heed(gate: Gate):
    for path in ("/login", "/", CONFIGS, "/nowhere", "/static/flame.js"):
        answer = gate.get(path)
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
    assert (
        "unsafe-inline"
        not in gate.get("/docs").headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
    )


def test_https_and_http_share_the_port_of_loopback(gate: Gate):
    parts = urlsplit(gate.url)
    link = http.client.HTTPSConnection(parts.hostname, parts.port, context=tls(gate))
    link.request("GET", "/flame/v1/whoami", headers={"authorization": f"Bearer {gate.token}"})
    answer = link.getresponse()
    assert answer.status == 200
    assert "strict-transport-security" in answer.headers
    link.close()
    with pytest.raises(ssl.SSLError), socket.create_connection((parts.hostname, parts.port)) as sock:
        ssl.create_default_context().wrap_socket(
            sock, server_hostname="127.0.0.1"
        )  # whoever does not know our authority


def test_who_sends_nothing_or_nonsense_harms_nobody(gate: Gate):
    parts = urlsplit(gate.url)
    silent = [socket.create_connection((parts.hostname, parts.port)) for _ in range(50)]
    for junk in (b"\x16\x03\x01\x02\x00\x01", b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000):
        with socket.create_connection((parts.hostname, parts.port)) as sock:
            sock.settimeout(5)
            try:
                sock.sendall(junk)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(4096)
            except OSError:
                pass
    assert gate.get("/health", token=None).status == 200
    for sock in silent:
        sock.close()


# -- several ---------------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("B-032")
def test_when_one_gateway_dies_the_other_goes_on(own_gate):
    gate = own_gate(gateway={"replicas": 2})
    assert {"gateway", "gateway-1"} <= gate.cluster.run.pids.keys()
    for name in ("gateway", "gateway-1"):
        before = gate.cluster.kill(name)
        for number in range(20):
            assert gate.ask(
                "PUT" if number else "POST",
                CONFIGS + (f"/of-{name}" if number else ""),
                config(f"of-{name}", n=str(number)),
            ).status in (200, 201)
            assert gate.get(f"{CONFIGS}/of-{name}").json["data"] == {"n": str(number)}
        eventually(lambda: gate.cluster.pid(name) != before)  # noqa: B023


def test_several_session_managers_are_one_api(own_gate):
    gate = own_gate(managers=2)
    gate.make_tokens("acme")
    ids = []
    for _ in range(6):
        with gate.client.session("flmping") as session:
            session.run(b"").result(30)
            ids.append(session.id)
    shown = [one["id"] for one in gate.get("/flame/v1/sessions").json["sessions"]]
    assert set(ids) <= set(shown)
    for id in ids:
        assert gate.get(f"/flame/v1/sessions/{id}/tasks/1").json["state"] == "Succeed"
        # The identity counts at every session manager, not only at the first.
        assert gate.get(f"/flame/v1/sessions/{id}", token=gate.tokens["viewer@acme"]).status == 404
    assert gate.get("/flame/v1/sessions", token=gate.tokens["viewer@acme"]).json["total"] == 0


def test_the_gateway_says_when_the_cluster_is_away(own_gate):
    import signal

    gate = own_gate()
    gate.cluster.kill("allocator", signal.SIGSTOP)
    try:
        answer = gate.get("/ready", token=None)
        assert answer.status == 503
        assert answer.json["problems"]
        assert gate.get("/health", token=None).status == 200
    finally:
        gate.cluster.kill("allocator", signal.SIGCONT)
    eventually(lambda: gate.get("/ready", token=None).status == 200)


@pytest.mark.ledger("B-017")
def test_roles_can_be_switched_off_only_where_nobody_else_comes(set_up):
    off = config("flame-config", "flame-system", **{"config.yaml": "security:\n  enableRBAC: false\n"})
    gate = set_up
    gate.client.objects.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "anybody"}})
    token = gate.client.create_account_token("default", "anybody").token
    assert gate.get(CONFIGS, token=token).status == 403
    gate.client.objects.apply(off)
    assert gate.get(CONFIGS, token=token).status == 200
    gate.client.objects.delete("ConfigMap", "flame-config", namespace="flame-system")
    assert gate.get(CONFIGS, token=token).status == 403
    with (
        LocalCluster(gateway={"listen": "0.0.0.0:0"}) as cluster,
        cluster.connect() as client,
        pytest.raises(InvalidArgument, match="only this machine reaches"),
    ):
        client.objects.apply(off)
