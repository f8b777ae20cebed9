"""Where a cluster listens: what `--listen` and `--compat-listener` mean, which ports are free, and that certificates are there.

Loopback without `tls://` is plain TCP with a token. Everything else is TLS: a cluster without certificates gets an authority of its
own.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from flame.agent.node import LOOPBACK, address_towards
from flame.core.base.errors import BY_CODE, FlameError, InvalidArgument, PortTaken
from flame.ops.config import ClusterConfig
from flame.ops.paths import write_private
from flame.shell.address import Address, parse
from flame.shell.listener import PORTS, SERVER, Public

DEFAULT_PORT = 8080
ANY = ("0.0.0.0", "::", "*")
_TRIES = 50


def listening(text: str) -> Address:
    """What `--listen` says; TLS where it must be or was asked for. Raises InvalidArgument."""
    body = text.removeprefix("tls://").removeprefix("tcp://")
    if "://" not in text and ":" not in body.rpartition("]")[2] and not body.startswith("/"):
        text = f"{text}:{DEFAULT_PORT}"
    address = parse(text)
    if address.path:
        raise InvalidArgument(f"--listen {text}: the unix socket is there anyway", hint="HOST:PORT")
    host = "0.0.0.0" if address.host == "*" else address.host
    if not address.loopback and text.startswith("tcp://"):
        raise InvalidArgument(
            f"--listen {text}: plain TCP only on loopback", hint=f"tls://{address.target}: beyond it everything is TLS"
        )
    return Address(host=host, port=address.port, tls=address.tls or not address.loopback)


def loopback(text: str, option: str) -> Address:
    """Raises InvalidArgument for what is not on this machine."""
    scheme, body = ("tls://", text[6:]) if text.startswith("tls://") else ("", text)
    address = parse(scheme + (body if ":" in body else f"127.0.0.1:{body}"))
    if address.path or not address.loopback:
        raise InvalidArgument(
            f"{option} {text}: only loopback addresses are allowed, since nobody says who he is",
            hint="`--listen HOST` serves the same beyond this machine, with TLS and tokens",
        )
    return address


def public(config: ClusterConfig, address: Address) -> Public:
    """How to listen by TLS: with ports that are free, and certificates that are there. Raises PortTaken, InvalidArgument."""
    name = config.advertise or (socket.gethostname() if address.host in ANY else address.host)
    certs = config.data_dir / "certs"
    hosts = [name, address.host] if address.host not in ANY else [name, *own_addresses()]
    ensure_certificates(certs, hosts, config.node)
    return Public(address.host, name, address.port or _free_ports(address.host, PORTS * config.managers), certs)


def reached(public: Public | None) -> str:
    """The address of this machine for replicas on others; loopback when there can be no others."""
    if public is None:
        return LOOPBACK
    everywhere = public.host in ANY
    found = address_towards(public.name if everywhere else public.host)
    if everywhere and found == LOOPBACK:  # its name is known here only
        return next((one for one in own_addresses() if not Address(host=one).loopback), LOOPBACK)
    return found


def _free_ports(host: str, count: int) -> int:
    """The first of `count` neighbouring ports that are all free now."""
    for _ in range(_TRIES):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as first:
            first.bind((host, 0))
            port = int(first.getsockname()[1])
            if port + count <= 65536 and all(_is_free(host, port + offset) for offset in range(1, count)):
                return port
    raise PortTaken(f"no {count} neighbouring ports are free on {host}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def own_addresses() -> list[str]:
    """The addresses of this machine that others may use."""
    import psutil

    found = [
        one.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for one in addresses
        if one.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return [address for address in dict.fromkeys(found) if not address.startswith("fe80")]


def ensure_certificates(directory: Path, hosts: list[str], node: str | None) -> None:
    """An authority, and identities for our listeners, managers and agent, unless they are there. Raises Unimplemented without the
    `tls` extra."""
    if (directory / f"{SERVER}.pem").exists():
        return
    in_a_child(
        f"making certificates in {directory}",
        lambda: _make_certificates(directory, hosts, node or socket.gethostname()),
    )


def in_a_child(what: str, make: Callable[[], None]) -> None:
    """cryptography is large: it is loaded by a process that ends. Raises what `make` raises."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            make()
            code = 0
        except FlameError as error:
            os.write(write, json.dumps({"code": error.code, "message": error.message, "hint": error.hint}).encode())
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if said:
        found = json.loads(said)
        raise BY_CODE.get(found["code"], FlameError)(found["message"], hint=found["hint"])
    if status:
        raise FlameError(f"{what} failed: status {status}")


def _make_certificates(directory: Path, hosts: list[str], node: str) -> None:
    from flame.security.authority import Authority

    authority = Authority.load(directory) if (directory / "ca.key").exists() else Authority.create(directory)
    names = dict.fromkeys([*hosts, socket.gethostname(), "localhost", "127.0.0.1", "::1"])
    authority.issue("server", SERVER, list(names))
    authority.issue("manager", "manager")
    pair = authority.pair("agent", node)  # the file is `agent.pem` on every node, whatever its name
    write_private(directory / "agent.pem", (pair.key + pair.chain).decode())
