"""Which tokens are believed, and logging in, against a real small issuer."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time

import jwt
import pytest
from security.issuer import Key, SmallIssuer, unsigned

from flame.core.base.errors import InvalidArgument, PermissionDenied, Unauthenticated, Unavailable
from flame.security import login
from flame.security.discovery import Site
from flame.security.oidc import Claims, Issuer, TokenSet, device_login, refresh


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def keys():
    return {name: Key(f"k-{name}", name) for name in ("RS256", "PS384", "ES256", "EdDSA")}


@pytest.fixture
def idp(keys):
    with SmallIssuer(*keys.values()) as issuer:
        yield issuer


@pytest.fixture
def issuer(idp):
    return Issuer(idp.url, "flame")


def why(issuer: Issuer, token: str) -> str:
    with pytest.raises(Unauthenticated) as error:
        issuer.verify(token)
    text = f"{error.value.message} {error.value.hint}"
    for part in token.split("."):
        assert len(part) < 12 or part not in text
    return error.value.message


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_good_tokens_of_every_kind_of_key(idp, issuer, keys):
    for key in keys.values():
        expires = int(time.time()) + 77
        found = issuer.verify(idp.token(key, exp=expires, role="operator", aud=["other", "flame"]))
        assert found == Claims("ada", "red", "operator", expires)
    assert idp.asked == {"/.well-known/openid-configuration": 1, "/keys": 1}


def test_claims_have_the_names_that_were_agreed(idp):
    issuer = Issuer(idp.url + "/", "flame", tenant_claim="org", role_claim="roles", jwks_url=f"{idp.url}/keys")
    assert issuer.verify(idp.token(org="blue", roles=["offline", "viewer", "admin"])).role == "admin"
    assert issuer.verify(idp.token(org="blue", roles="viewer")).tenant == "blue"
    assert idp.asked == {"/keys": 1}
    assert "'roles'" in why(issuer, idp.token(org="blue"))


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": "other"}, "the token is not for 'flame'"),
        ({"aud": None}, "the token has no claim 'aud'"),
        ({"iss": "https://elsewhere"}, "but by 'https://elsewhere'"),
        ({"iss": None}, "the token has no claim 'iss'"),
        ({"exp": 1_000_000}, "the token has expired"),
        ({"exp": int(time.time()) - 40}, "the token has expired"),
        ({"exp": None}, "the token has no claim 'exp'"),
        ({"nbf": int(time.time()) + 3600}, "the token is not valid yet"),
        ({"role": "root"}, "the token's role ('role') is 'root'"),
        ({"role": None}, "the token's role ('role') is missing"),
        ({"role": ["root"]}, "the token's role ('role') is ['root']"),
        ({"role": "ADMIN"}, "the token's role ('role') is 'ADMIN'"),
        ({"role": {"admin": 1}}, "the token's role ('role') is {'admin': 1}"),
        ({"tenant": None}, "the token's 'tenant' is missing"),
        ({"tenant": ""}, "the token's 'tenant' is ''"),
        ({"tenant": 7}, "the token's 'tenant' is 7"),
        ({"tenant": "a\nb"}, r"the token's 'tenant' is 'a\nb'"),
        ({"tenant": "t" * 257}, "the token's 'tenant' is 'ttt"),
        ({"sub": ""}, "the token's 'sub' is ''"),
    ],
)
def test_what_is_wrong_is_said(idp, issuer, claims, words):
    assert words in why(issuer, idp.token(**claims))


def test_clocks_may_differ_a_little(idp, issuer):
    now = int(time.time())
    assert issuer.verify(idp.token(exp=now - 20, nbf=now - 100)).expires == now - 20
    assert issuer.verify(idp.token(nbf=now + 20)).subject == "ada"


def test_no_signature_and_shared_secrets_are_never_believed(idp, issuer, keys):
    claims = jwt.decode(idp.token(), options={"verify_signature": False})
    for name in ("none", "None", "NONE", "", None, 7, ["RS256"]):
        assert "is signed with" in why(issuer, unsigned({"alg": name, "kid": "k-RS256"}, claims))
    assert "is signed with missing" in why(issuer, unsigned({"kid": "k-RS256"}, claims))
    # the public key, which everybody has, as the secret
    for secret in (keys["RS256"].pem, keys["RS256"].pem.strip(), keys["ES256"].pem):
        head = unsigned({"alg": "HS256", "kid": "k-RS256"}, claims).rstrip(".")
        good = hmac.new(secret, head.encode(), hashlib.sha256).digest()
        forged = head + "." + unsigned({}, {}, good).rsplit(".", 1)[1]
        assert "is signed with 'HS256'" in why(issuer, forged)


def test_a_key_signs_only_with_its_own_algorithm(idp, issuer, keys):
    stranger = Key("k-ES256", "ES256")
    assert why(issuer, idp.token(stranger)) == "the signature of the token is wrong"
    assert "publishes no key 'k-ES256' for RS256" in why(issuer, idp.token(keys["RS256"], headers={"kid": "k-ES256"}))
    other = Key("k-RS256", "RS256")
    other.private, other.algorithm = keys["RS256"].private, "PS256"  # the key is published for RS256 only
    assert "for PS256" in why(issuer, idp.token(other))


def test_a_signed_token_that_was_changed(idp, issuer):
    head, _, signature = idp.token().split(".")
    body = idp.token(role="admin").split(".")[1]
    assert why(issuer, f"{head}.{body}.{signature}") == "the signature of the token is wrong"


def test_nonsense_is_no_token(idp, issuer):
    for text in ("", "a", "a.b", "a.b.c", "....", "Bearer x", "é.é.é", "\0", unsigned({"alg": "RS256"}, {})[:10]):
        assert why(issuer, text) == "this is not a token"
    assert "16,384" in why(issuer, "a" * 20_000)
    assert why(issuer, idp.token(headers={"kid": "k-RS256", "crit": ["b64"], "b64": True}))
    assert "not valid" in why(issuer, unsigned({"alg": "RS256", "kid": 7}, {}))


def test_without_a_key_id_there_must_be_no_choice(idp, issuer, keys):
    assert issuer.verify(idp.token(keys["ES256"], headers={})).subject == "ada"
    idp.keys.append(Key("second", "ES256"))
    assert "publishes no key missing" in why(Issuer(idp.url, "flame"), idp.token(keys["ES256"], headers={}))


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_new_key_is_found_at_once_and_a_withdrawn_one_is_forgotten(idp, keys):
    clock = Clock()
    issuer = Issuer(idp.url, "flame", clock=clock)
    old = idp.keys[0]
    issuer.verify(idp.token())
    idp.keys = [Key("new", "ES256")]
    clock.now += 11
    assert issuer.verify(idp.token()).subject == "ada"
    assert idp.asked["/keys"] == 2
    assert "publishes no key 'k-RS256'" in why(issuer, idp.token(old))


def test_invented_keys_cost_the_issuer_nothing(idp):
    clock = Clock()
    issuer = Issuer(idp.url, "flame", clock=clock)
    for number in range(20):
        why(issuer, idp.token(headers={"kid": f"invented-{number}"}))
    assert idp.asked["/keys"] == 1  # it was just asked
    clock.now += 10.1
    for number in range(20):
        why(issuer, idp.token(headers={"kid": f"invented-{number}"}))
    assert idp.asked["/keys"] == 2


def test_many_threads_ask_once(idp):
    issuer = Issuer(idp.url, "flame")
    found: list[Claims] = []
    token = idp.token()
    threads = [threading.Thread(target=lambda: found.append(issuer.verify(token))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert idp.asked["/keys"] == 1


def test_keys_are_looked_at_again_every_hour_and_hold_for_a_day_without_their_issuer(idp, caplog):
    clock = Clock()
    issuer = Issuer(idp.url, "flame", clock=clock)
    token = idp.token(exp=int(time.time()) + 10**6)
    issuer.verify(token)
    clock.now += 3601
    issuer.verify(token)
    assert idp.asked["/keys"] == 2
    idp.answers["/keys"] = (500, {})
    for _ in range(6):
        clock.now += 4 * 3600 - 1
        issuer.verify(token)
    assert "stay as they were" in caplog.text
    clock.now += 60
    for _ in range(3):
        with pytest.raises(Unavailable, match="a day old"):
            issuer.verify(token)
    del idp.answers["/keys"]
    clock.now += 11
    assert issuer.verify(token).subject == "ada"


def test_an_issuer_that_was_away_is_asked_again(idp):
    clock = Clock()
    issuer = Issuer(idp.url, "flame", clock=clock)
    idp.answers["/keys"] = (503, {})
    for word in ("answered 503", "a moment ago"):
        with pytest.raises(Unavailable, match=word):
            issuer.verify(idp.token())
    idp.answers.clear()
    clock.now += 11
    assert issuer.verify(idp.token()).subject == "ada"


def test_keys_of_no_use_are_passed_over(idp, keys):
    good = keys["ES256"].jwk()
    weak = {"kty": "RSA", "kid": "weak", "n": "AQAB" * 40, "e": "AQAB"}
    secret = {"kty": "oct", "kid": "k-ES256", "k": "c2VjcmV0"}
    idp.answers["/keys"] = (
        200,
        {"keys": [7, {}, secret, weak, good | {"use": "enc"}, {"kty": "EC", "kid": "half", "crv": "P-256"}, good]},
    )
    assert Issuer(idp.url, "flame").verify(idp.token(keys["ES256"])).subject == "ada"
    idp.answers["/keys"] = (200, {"keys": [secret, weak]})
    with pytest.raises(Unavailable, match="no key that we can use"):
        Issuer(idp.url, "flame").verify(idp.token(keys["ES256"]))


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/.well-known/openid-configuration", (200, {"issuer": "https://evil.example"}), "says that it is 'https://evil.example'"),
        ("/.well-known/openid-configuration", (200, b"<html>"), "not with a JSON object"),
        ("/.well-known/openid-configuration", (200, b"[]"), "not with a JSON object"),
        ("/.well-known/openid-configuration", (302, {}), "answered 302"),
        ("/.well-known/openid-configuration", (404, {}), "answered 404"),
        ("/keys", (200, b" " * ((1 << 20) + 1)), "not with a JSON object"),
    ],
)  # fmt: skip
def test_an_issuer_that_answers_otherwise(idp, path, answer, words):
    idp.answers[path] = answer
    with pytest.raises(Unavailable) as error:
        Issuer(idp.url, "flame").verify(idp.token())
    assert words in error.value.message


def test_an_issuer_may_not_lead_to_plain_http(idp):
    document = {"issuer": idp.url, "jwks_uri": "http://keys.example/keys"}
    idp.answers["/.well-known/openid-configuration"] = (200, document)
    with pytest.raises(Unavailable, match="is not https"):
        Issuer(idp.url, "flame").verify(idp.token())
    del document["jwks_uri"]
    with pytest.raises(Unavailable, match="has no jwks_uri"):
        Site(idp.url).endpoint("jwks_uri")


@pytest.mark.parametrize(
    "url", ["http://idp.example", "ftp://idp.example", "idp.example", "", "https://", "https://a:b@idp", "http://127.0.0.1.evil.example", "https://x:y"]
)  # fmt: skip
def test_only_https_or_this_machine(url):
    with pytest.raises(InvalidArgument):
        Issuer(url, "flame")
    with pytest.raises(InvalidArgument):
        Issuer("https://idp.example", "flame", jwks_url=url or "x")


def test_an_issuer_that_is_not_there():
    with pytest.raises(Unavailable, match="cannot be reached"):
        device_login("http://127.0.0.1:9", "flame-cli", lambda url, code: None)


# -- logging in -------------------------------------------------------------------------------------------------------

PENDING = (400, {"error": "authorization_pending"})
GRANTED = (200, {"access_token": "at", "id_token": "it", "refresh_token": "rt", "expires_in": 600})


def logged_in(idp, **more) -> tuple[TokenSet, list[tuple[str, str]], list[float]]:
    shown: list[tuple[str, str]] = []
    waits: list[float] = []
    found = device_login(idp.url, "flame-cli", lambda *said: shown.append(said), wait=waits.append, **more)
    return found, shown, waits


def test_a_person_logs_in_elsewhere(idp):
    idp.device = [PENDING, (400, {"error": "slow_down"}), PENDING, GRANTED]
    found, shown, waits = logged_in(idp, audience="flame")
    assert (found.access_token, found.id_token, found.refresh_token) == ("at", "it", "rt")
    assert abs(found.expires - time.time() - 600) < 20
    assert shown == [(f"{idp.url}/enter", "WDJB-MJHT")]
    assert waits == [2, 2, 7, 7]
    begun, *polls = idp.forms
    assert begun == {"client_id": "flame-cli", "scope": "openid profile", "audience": "flame"}
    assert polls == [
        {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "secret-device-code", "client_id": "flame-cli"}
    ] * 4  # fmt: skip
    assert "at" not in repr(found).replace("TokenSet", "")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((400, {"error": "access_denied"}), PermissionDenied, "was refused"),
        ((400, {"error": "expired_token"}), Unauthenticated, "in time"),
        ((401, {"error": "invalid_client", "error_description": "who\x1b are you"}), Unauthenticated, r"invalid_client: who\\x1b are you"),
        ((503, {}), Unavailable, "503"),
        ((200, {}), Unavailable, "without an access token"),
    ],
)  # fmt: skip
def test_a_login_that_fails_says_how(idp, answer, kind, words):
    idp.device = [PENDING, answer]
    with pytest.raises(kind, match=words) as error:
        logged_in(idp)
    assert "secret-device-code" not in str(error.value)


def test_a_login_goes_on_when_the_issuer_was_away_for_a_moment(idp):
    idp.device = [PENDING, (502, b"<html>bad gateway"), (502, b""), GRANTED]
    found, _, waits = logged_in(idp)
    assert found.access_token == "at"
    assert waits == [2, 2, 4, 8]


def test_a_code_that_nobody_enters_expires(idp):
    idp.answers["/device"] = (
        200,
        {"device_code": "d", "user_code": "U", "verification_uri": idp.url, "verification_uri_complete": f"{idp.url}/?code=U",
         "expires_in": 0.01, "interval": 0},
    )  # fmt: skip
    shown: list[tuple[str, str]] = []
    with pytest.raises(Unauthenticated, match="in time"):
        device_login(idp.url, "c", lambda *said: shown.append(said))
    assert shown == [(f"{idp.url}/?code=U", "U")]


@pytest.mark.parametrize(
    "answer", [{}, {"device_code": "d", "user_code": "U", "verification_uri": "http://evil.example", "expires_in": 9}]
)
def test_a_login_that_begins_strangely(idp, answer):
    idp.answers["/device"] = (200, answer)
    with pytest.raises((Unavailable, InvalidArgument)):
        logged_in(idp)


def test_tokens_are_made_new(idp):
    idp.device = [(200, {"access_token": "at2", "expires_in": 60}), GRANTED, (400, {"error": "invalid_grant"})]
    assert refresh(idp.url, "c", "old") == login.TokenSet("at2", "", "old", pytest.approx(time.time() + 60, abs=20))
    assert refresh(idp.url, "c", "old", scope="openid").refresh_token == "rt"
    with pytest.raises(Unauthenticated, match="no longer takes") as error:
        refresh(idp.url, "c", "old")
    assert error.value.hint == "log in again"
    assert [form["grant_type"] for form in idp.forms] == ["refresh_token"] * 3


def test_an_issuer_with_tls_and_an_authority_of_its_own(ours, foreign, keys):
    from flame.security.contexts import server_context

    with SmallIssuer(keys["ES256"]) as idp:
        context = server_context(ours.identity("idp").pem)
        idp._server.socket = context.wrap_socket(idp._server.socket, server_side=True)
        idp.url = idp.url.replace("http://127.0.0.1", "https://localhost")
        assert Issuer(idp.url, "flame", ca_file=ours.ca).verify(idp.token()).subject == "ada"
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            Issuer(idp.url, "flame", ca_file=foreign.ca).verify(idp.token())


def test_nobody_hears_a_token_in_the_log(idp, issuer, caplog):
    with caplog.at_level(logging.DEBUG):
        token = idp.token(aud="other")
        why(issuer, token)
    assert token.split(".")[1] not in caplog.text
