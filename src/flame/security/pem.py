"""PEM files: read whole, written whole.

An identity is ONE file, `NAME.pem`: private key, certificate, and the authority's certificate, in this order. Two files (a key and
a certificate) cannot be replaced in one step: a reader during a rotation could see the new key with the old certificate, and fail. One
file renamed into place is old or new, never half. gRPC, OpenSSL and most servers take a combined file. The same holds for an authority:
`ca.key` is its key with its certificate, `ca.pem` only what others trust.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flame.core.base.errors import FlameError, InvalidArgument, NotFound

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n[^-]+-----END \1-----")


class Pair(NamedTuple):
    """A private key and the chain that belongs to it, leaf first, both PEM."""

    key: bytes
    chain: bytes


def blocks(pem: bytes, kind: bytes) -> list[bytes]:
    """Every PEM block of a kind (`CERTIFICATE`, `PRIVATE KEY`; `EC PRIVATE KEY` ends in it and counts), each with a final newline."""
    return [found[0] + b"\n" for found in _BLOCK.finditer(pem) if found[1].endswith(kind)]


def read(path: Path) -> bytes:
    """The bytes of a file. Raises NotFound, or FlameError when it may not be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist", hint="`flmadm certs init` makes one") from error
    except OSError as error:
        raise FlameError(f"{path} cannot be read: {error.strerror}") from error


def read_roots(path: Path) -> bytes:
    """The certificates of the authorities in a file. Raises NotFound, and InvalidArgument when it holds none."""
    found = b"".join(blocks(read(path), b"CERTIFICATE"))
    if not found:
        raise InvalidArgument(f"{path} holds no certificate", hint="it must be a PEM file, such as ca.pem")
    return found


def read_pair(path: Path) -> Pair:
    """The identity in a file, in one read. Raises NotFound, and InvalidArgument when key or certificate are missing."""
    pem = read(path)
    keys, certificates = blocks(pem, b"PRIVATE KEY"), blocks(pem, b"CERTIFICATE")
    if len(keys) != 1 or not certificates:
        raise InvalidArgument(
            f"{path} holds {len(keys)} private keys and {len(certificates)} certificates; an identity is one key with its chain",
            hint="put key, certificate and the authority's certificate in one PEM file",
        )
    if b"ENCRYPTED" in keys[0]:
        raise InvalidArgument(
            f"the key in {path} is encrypted", hint="servers start without anybody there to type a passphrase"
        )
    return Pair(keys[0], b"".join(certificates))


def load_pair(context: ssl.SSLContext, path: Path) -> None:
    """Use the identity in `path`. Raises NotFound, and InvalidArgument when key and certificate are none or do not belong together."""
    while True:
        before = stamp(path)
        read_pair(path)  # says what is missing
        try:
            context.load_cert_chain(path)
            return
        except ssl.SSLError as error:
            # OpenSSL opens the file twice, once for the key: a rename between the two is not a mistake of the file.
            if stamp(path) == before:
                raise InvalidArgument(f"{path} is not an identity: {error.reason or error}") from error
        except FileNotFoundError:
            continue  # just taken away: read_pair says so


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file is replaced or written. None: it cannot be read, for now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def write_pair(path: Path, pair: Pair) -> None:
    """Write an identity, mode 0600, in one step."""
    write_file(path, pair.key + pair.chain)


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step that survives a power cut: readers see all of the old or all of the new."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One writer of a directory at a time, across processes."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
