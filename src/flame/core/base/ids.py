"""Names of things: their types, what is allowed in them, and how new ones are made."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import NewType

from flame.core.base.errors import InvalidArgument

SessionId = NewType("SessionId", str)
PlacementId = NewType("PlacementId", str)
NodeName = NewType("NodeName", str)
AppName = NewType("AppName", str)
ClaimId = NewType("ClaimId", str)
TenantName = NewType("TenantName", str)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_SESSION_ID = 128
"""Bytes of UTF-8."""
MAX_APP_NAME = 253
_SUFFIX = 6
_APP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def session_id(app: str, pick: Callable[[int], int]) -> SessionId:
    """`<app>-<6 letters or digits>`. `pick(n)` gives a number in range(n) and is where the randomness comes from.

    A long application name is cut so that the id stays valid; the caller tries again when the id exists.
    """
    suffix = "".join(ALPHABET[pick(len(ALPHABET))] for _ in range(_SUFFIX))
    return SessionId(f"{app[: MAX_SESSION_ID - _SUFFIX - 1]}-{suffix}")


def shard_of(id: str, count: int) -> int:
    """Which of `count` session managers a session belongs to: by its id without the tenant, so that clients can tell by themselves."""
    return zlib.crc32(id.rpartition("/")[2].encode("utf-8", "surrogatepass")) % count


def shown(text: str) -> str:
    """The text as an error quotes it: printable, and short however long it is."""
    return repr(text) if len(text) <= 128 else f"{text[:32]!r}... ({len(text):,} characters)"


def check_session_id(text: str) -> SessionId:
    """The id itself. Raises InvalidArgument when empty, too long, or unfit to be a part of a path or a key."""
    if not text:
        raise InvalidArgument("invalid session id: it is empty", hint="leave the id out to get one made")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_SESSION_ID:
        raise InvalidArgument(
            f"invalid session id {text[:32]!r}...: {size} bytes", hint=f"ids have at most {MAX_SESSION_ID} bytes"
        )
    if any(ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 for char in text):
        raise InvalidArgument(f"invalid session id {text!r}: control characters", hint="use printable characters")
    for part in ("/", "\\", ".."):
        if part in text:
            raise InvalidArgument(f"invalid session id {text!r}: contains {part!r}", hint="ids may not look like paths")
    return SessionId(text)


def check_app_name(text: str) -> AppName:
    """The name itself. Raises InvalidArgument when it breaks the rules every Flame server enforces."""
    if not text or len(text) > MAX_APP_NAME:
        raise InvalidArgument(
            f"invalid application name {text[:32]!r}: {len(text)} characters", hint=f"names have 1 to {MAX_APP_NAME}"
        )
    if ".." in text or not _APP.fullmatch(text):
        raise InvalidArgument(
            f"invalid application name {text!r}",
            hint="names have ASCII letters, digits, '-', '_' and '.', do not start with '.' or '-' and have no '..'",
        )
    return AppName(text)
