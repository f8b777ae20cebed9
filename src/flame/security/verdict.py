"""What a failed connection is called: from OpenSSL's codes and what was shown, a sentence for people."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from flame.security.shown import Shown, authorities, own

# Why OpenSSL refuses a chain: X509_V_ERR_*
_NOT_YET, _EXPIRED, _SELF_SIGNED, _PURPOSE = 9, 10, 18, 26
_UNKNOWN_ISSUER = (2, 19, 20, 21, 27)
_OTHER_HOST = (62, 64)

_NOT_TLS = (
    "wrong version number",
    "unknown protocol",
    "http request",
    "record layer failure",
    "packet length too long",
)


def at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def no_handshake(where: str, error: ssl.SSLError) -> str:
    """The first message of a handshake came to nothing."""
    reason = _reason(error)
    if reason in _NOT_TLS:
        return f"{where} does not speak TLS"
    if "eof" in reason:
        return f"{where} does not speak TLS: it closed the connection at the first message"
    return f"{where} and we have no TLS in common: {reason}"


def untrusted(
    error: ssl.SSLCertVerificationError, host: str, where: str, chain: Sequence[Shown], ca: Path | None
) -> str:
    """We refused what the server showed."""
    if not chain:
        return f"the certificate of {where} does not hold: {error.verify_message}"
    leaf, code, now = chain[0], error.verify_code, time.time()
    held = str(ca) if ca else "this machine's list of authorities"
    if code == _SELF_SIGNED or (code in _UNKNOWN_ISSUER and leaf.self_signed):
        return f"the certificate of {where} ({leaf.name}) is self-signed, and {held} does not hold it"
    if code in _UNKNOWN_ISSUER:
        instead = f" (it holds {', '.join(authorities(ca))})" if ca else ""
        return f"the certificate of {where} is signed by {leaf.issuer}, which {held} does not hold{instead}"
    if code == _EXPIRED:
        old = next((one for one in chain if one.ends < now), leaf)
        return f"the certificate of {_whose(old, leaf, where)} expired on {_day(old.ends)}"
    if code == _NOT_YET:
        new = next((one for one in chain if one.begins > now), leaf)
        clock = f"is a clock wrong? It is {_day(now)} here"
        return f"the certificate of {_whose(new, leaf, where)} is valid only from {_day(new.begins)}: {clock}"
    if code in _OTHER_HOST:
        return f"the certificate of {where} is for {leaf.hosts}, not for {host}"
    if code == _PURPOSE:
        return f"the certificate of {where} ({leaf.name}) is one for clients: no server may show it"
    return f"the certificate of {where} does not hold: {error.verify_message}"


def refused(where: str, error: Exception | None, asked: bool, identity: Path | None) -> str:
    """The server ended the connection. `error` None: without a word. `asked`: it had asked for a client certificate."""
    reason = _reason(error) if error else ""
    if "eof" in reason or "reset" in reason or "broken pipe" in reason:
        reason = ""  # those are not the server's words
    if identity is None and (asked or "certificate required" in reason):
        return f"{where} wants a client certificate, and none was given"
    if identity is None or not asked:
        return f"{where} closed the connection after the handshake" + (f": {reason}" if reason else "")
    ours, now = own(identity), time.time()
    mine = f"{where} refused our certificate {identity} ({ours.name})"
    if "expired" in reason or ours.ends < now:
        return f"{mine}: it expired on {_day(ours.ends)}"
    if ours.begins > now:
        return f"{mine}: it is valid only from {_day(ours.begins)}"
    if "unknown ca" in reason:
        return f"{mine}: the server does not know {ours.issuer}, who signed it"
    return f"{mine}: it said {reason or 'nothing'}; most likely it does not know {ours.issuer}, who signed it"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (getattr(error, "strerror", None) or str(error)).lower()


def _whose(one: Shown, leaf: Shown, where: str) -> str:
    return where if one is leaf else f"the authority {one.name}, which signed that of {where},"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
