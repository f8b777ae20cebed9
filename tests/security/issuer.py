"""A small OpenID issuer on loopback: discovery, keys, device logins, tokens; its keys rotate and it can be away."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


class Key:
    def __init__(self, kid: str, algorithm: str) -> None:
        self.kid, self.algorithm = kid, algorithm
        self.private: Any = {
            "R": lambda: rsa.generate_private_key(65537, 2048),
            "P": lambda: rsa.generate_private_key(65537, 2048),
            "E": lambda: ec.generate_private_key(ec.SECP256R1()),
            "d": ed25519.Ed25519PrivateKey.generate,
        }["d" if algorithm == "EdDSA" else algorithm[0]]()

    @property
    def pem(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form)

    def jwk(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        found = json.loads(algorithm.to_jwk(self.private.public_key()))
        return found | {"kid": self.kid, "use": "sig", "alg": self.algorithm}


class SmallIssuer:
    """`keys` are published. `device` holds the answers of the token endpoint to polls, one after the other, the last one for ever."""

    audience = "flame"

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.device: list[tuple[int, dict[str, Any]]] = [(400, {"error": "authorization_pending"})]
        self.answers: dict[str, tuple[int, Any]] = {}  # path -> what it says instead
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> SmallIssuer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, key: Key | None = None, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token, but for what is said; a claim None is left out."""
        key = key or self.keys[0]
        good = {
            "iss": self.url,
            "aud": self.audience,
            "sub": "ada",
            "exp": int(time.time()) + 60,
            "tenant": "red",
            "role": "user",
        }
        said = {name: value for name, value in (good | claims).items() if value is not None}
        return jwt.encode(said, key.private, key.algorithm, headers={"kid": key.kid} if headers is None else headers)

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.asked[path] += 1
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.url,
                    "jwks_uri": f"{self.url}/keys",
                    "token_endpoint": f"{self.url}/token",
                    "device_authorization_endpoint": f"{self.url}/device",
                }
            case "/keys":
                return 200, {"keys": [key.jwk() for key in self.keys]}
            case "/device":
                self.forms.append(form)
                return 200, {
                    "device_code": "secret-device-code",
                    "user_code": "WDJB-MJHT",
                    "verification_uri": f"{self.url}/enter",
                    "expires_in": 300,
                    "interval": 2,
                }
            case "/token":
                self.forms.append(form)
                return self.device.pop(0) if len(self.device) > 1 else self.device[0]
        return 404, {"error": "not_found"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._say(dict(urllib.parse.parse_qsl(body)))

            def _say(self, form: dict[str, str]) -> None:
                status, said = issuer.answer(self.path, form)
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{issuer.url}/keys")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
