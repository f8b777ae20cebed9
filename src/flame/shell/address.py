"""Addresses of the task plane: `unix:///path`, `tcp://host:port`, or `tls://host:port` between machines.

Where several are given, separated by commas, they lead to the same thing: whoever connects takes the first that answers.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from flame.core.base.errors import InvalidArgument, PortTaken


@dataclass(frozen=True, slots=True)
class Address:
    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"{'tls' if self.tls else 'tcp'}://{self.target}"

    @property
    def target(self) -> str:
        """host:port, as gRPC names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return bool(self.path) or self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse(text: str) -> Address:
    """Raises InvalidArgument. `host:port` alone is TCP, an absolute path alone is a unix socket."""
    if text.startswith("unix://"):
        return _unix(text[7:], text)
    if text.startswith("/"):
        return _unix(text, text)
    tls = text.startswith("tls://")
    rest = text.removeprefix("tls://").removeprefix("tcp://")
    if "://" in rest:
        scheme = rest.split("://")[0]
        raise InvalidArgument(
            f"endpoint {text!r} has scheme {scheme!r}; unix:///path, tcp://host:port or tls://host:port",
            hint="gRPC clients use the compat listener; this SDK uses the task plane",
        )
    host, colon, port = rest.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidArgument(f"endpoint {text!r} has no port", hint="unix:///path, tcp://host:port or tls://host:port")
    return Address(host=host.strip("[]") or "127.0.0.1", port=int(port), tls=tls)


def parse_all(text: str) -> tuple[Address, ...]:
    """One or more, separated by commas. Raises InvalidArgument."""
    return tuple(parse(part.strip()) for part in text.split(",") if part.strip()) or (parse(text),)


def _unix(path: str, text: str) -> Address:
    if not path.startswith("/"):
        raise InvalidArgument(f"endpoint {text!r}: the path of a unix socket is absolute")
    if len(path.encode()) > 100:
        raise InvalidArgument(f"endpoint {text!r}: a socket path of {len(path.encode())} bytes; at most 100")
    return Address(path=path)


def connect(address: Address, timeout: float | None = None) -> socket.socket:
    """A blocking, connected socket; not for `tls` (see `shell.carrier` and `shell.bridge`). Raises OSError."""
    assert not address.tls, f"{address} is reached by gRPC"
    if address.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
    else:
        sock = socket.create_connection((address.host, address.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.settimeout(None)
    return sock


def edge_socket(plane: Address) -> Address:
    """Where a session manager listens for the gateway: who comes that way is whoever its token says, also on the same machine."""
    directory, _, name = plane.path.rpartition("/")
    return Address(path=f"{directory}/edge-{name}")


def listen(address: Address) -> socket.socket:
    """A listening socket; a unix one has mode 0600 from the start. Raises PortTaken."""
    if address.path:
        import os

        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.path.exists(address.path):
            os.unlink(address.path)
        mask = os.umask(0o177)
        try:
            sock.bind(address.path)
        finally:
            os.umask(mask)
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address.host, address.port))
        except OSError as error:
            sock.close()
            raise PortTaken(
                f"cannot listen on {address}: {error.strerror}", hint="choose another port, or 0 for a free one"
            ) from None
    sock.listen(1024)
    sock.setblocking(False)
    return sock
