"""Why does a TLS connection fail? A probe with the standard library says it in words for people; gRPC only says "unavailable".

Three looks: does somebody listen; what does the server show, nothing verified yet; does it hold, and does the server take us. The last
needs the first byte after the handshake, because TLS 1.3 refuses a client only then. gRPC servers refuse without a word, so that they asked
for a certificate is taken from the handshake itself.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

from flame.core.base.errors import FlameError, InvalidArgument, Unauthenticated, Unavailable
from flame.security import verdict
from flame.security.contexts import client_context
from flame.security.shown import Shown, chain_of, watch
from flame.security.verdict import at

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # the least that makes an HTTP/2 server answer
_LISTEN_FIRST_S = 0.5


class _Wrong(Exception):
    """What is wrong, as a sentence."""


def diagnose(host: str, port: int, ca: Path | None, identity: Path | None = None, timeout: float = 5) -> str:
    """Why a TLS connection to `host` fails, as a sentence; "" when all is well. Raises nothing.

    ca: whom we trust (None: what this machine trusts). identity: what we show. timeout: seconds for each step.
    """
    try:
        context = _for_anybody(client_context(ca, identity))
        chain = _look(host, port, timeout)
        with _connected(host, port, timeout) as plain:
            _verify(context, plain, host, port, chain, ca, identity)
    except _Wrong as wrong:
        return str(wrong)
    except FlameError as error:
        return error.message + (f" ({error.hint})" if error.hint else "")
    return ""


def fetch_ca(host: str, port: int, fingerprint: str, timeout: float = 5) -> bytes:
    """The authority (PEM) of the server at `host`, if it is the one with this fingerprint: for a machine that joins.

    Servers show their authority after their certificate. Trust nothing else about this connection: connect again.
    fingerprint: `sha256:<hex>`, as `Authority.fingerprint` gives. Raises Unauthenticated when another is shown, InvalidArgument
    for a text that is no fingerprint, Unavailable when there is no TLS server.
    """
    wanted = fingerprint.strip().lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise InvalidArgument(
            f"{fingerprint!r} is not a fingerprint", hint="sha256: and 64 hex digits, as `flmadm certs show` prints"
        )
    try:
        chain = _look(host, port, timeout)
    except _Wrong as wrong:
        raise Unavailable(str(wrong)) from wrong
    if not chain:
        raise Unavailable(f"{at(host, port)} shows its authority only to clients with a certificate: it has no TLS 1.3")
    for one in chain:
        if one.fingerprint == f"sha256:{wanted}":
            return ssl.DER_cert_to_PEM_cert(one.der).encode()
    raise Unauthenticated(
        f"{at(host, port)} shows the authority {chain[-1].fingerprint} ({chain[-1].name}), not sha256:{wanted}",
        hint="somebody else may answer there, or the authority changed: compare with `flmadm certs show` on the cluster",
    )


@contextlib.contextmanager
def _connected(host: str, port: int, timeout: float) -> Iterator[socket.socket]:
    where = at(host, port)
    if not 0 < port < 1 << 16:  # the resolver would take it modulo that
        raise _Wrong(f"{port} is not a port")
    try:
        plain = socket.create_connection((host, port), timeout=timeout)
    except (socket.gaierror, UnicodeError) as error:
        raise _Wrong(f"the host name {host!r} cannot be resolved: {_words(error)}") from error
    except ConnectionRefusedError as error:
        raise _Wrong(f"nobody listens at {where}") from error
    except TimeoutError as error:
        raise _Wrong(f"{where} does not answer within {timeout:g} s: a firewall, or the host is down") from error
    except OSError as error:
        raise _Wrong(f"{where} cannot be reached: {_words(error)}") from error
    with plain:
        yield plain


def _look(host: str, port: int, timeout: float) -> list[Shown]:
    """The chain that the server shows, leaf first, whatever it is worth. Empty when it first wants a certificate (before TLS 1.3)."""
    context = _for_anybody(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    where, asked = at(host, port), watch(context)
    with _connected(host, port, timeout) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                return chain_of(secure)
        except TimeoutError as error:
            raise _Wrong(f"{where} takes connections but does not speak TLS: no answer within {timeout:g} s") from error
        except ssl.SSLError as error:
            if asked:
                return []
            raise _Wrong(verdict.no_handshake(where, error)) from error
        except OSError as error:
            raise _Wrong(f"{where} does not speak TLS: it ended the connection at the first message") from error


def _verify(
    context: ssl.SSLContext,
    plain: socket.socket,
    host: str,
    port: int,
    chain: Sequence[Shown],
    ca: Path | None,
    identity: Path | None,
) -> None:
    where, asked, timeout = at(host, port), watch(context), plain.gettimeout() or 0
    try:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            answered = _answers(secure, timeout)
    except ssl.SSLCertVerificationError as error:
        raise _Wrong(verdict.untrusted(error, host, where, chain, ca)) from error
    except TimeoutError as error:
        raise _Wrong(f"{where} stopped answering in the middle of the handshake") from error
    except OSError as error:  # ssl.SSLError, too
        raise _Wrong(verdict.refused(where, error, bool(asked), identity)) from error
    if not answered:
        raise _Wrong(verdict.refused(where, None, bool(asked), identity))


def _answers(secure: ssl.SSLSocket, timeout: float) -> bool:
    """Does the server go on after the handshake? Listens first: who speaks to a closed port may lose its last words."""
    with contextlib.suppress(TimeoutError):
        secure.settimeout(min(timeout, _LISTEN_FIRST_S))
        return bool(secure.recv(1))
    with contextlib.suppress(TimeoutError):
        secure.settimeout(timeout)
        secure.sendall(_PREFACE)
        return bool(secure.recv(1))
    return True  # it waits for more than that: it took us


def _for_anybody(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # to say what is wrong with old servers, too
    context.set_alpn_protocols(["h2", "http/1.1"])  # gRPC servers refuse who does not offer h2
    return context


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
