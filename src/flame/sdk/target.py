"""Which cluster, as whom, and by whose certificates: what a client is told, from arguments, the environment and files.

Order: argument, environment (`FLAME_ENDPOINT`, `FLAME_TOKEN`, `FLAME_TOKEN_FILE`, `FLAME_CA_FILE`, `FLAME_CERT_FILE`), the current context
of `~/.flame/flame.yaml` (`flame login` writes it), the cluster running here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flame.core.base.errors import InvalidArgument, Unavailable
from flame.ops.paths import RunFile, default_file, home
from flame.shell.address import Address, parse, parse_all


@dataclass(frozen=True)
class Target:
    """addresses: of the same cluster, tried in order; token: "" where the socket says who we are; ca: who signed the servers; identity: a
    client's own certificate with its key."""

    addresses: tuple[Address, ...]
    token: str = ""
    ca: Path | None = None
    identity: Path | None = None

    def __str__(self) -> str:
        return ",".join(str(address) for address in self.addresses)


def find(endpoint: str | None = None, token: str | None = None, ca_file: str | Path | None = None) -> Target | None:
    """None when nothing is named and no cluster runs here. An endpoint may also be a data directory, or the run.json in it.

    Raises InvalidArgument for what cannot be read, Unavailable for a directory where nothing runs."""
    text = endpoint or os.environ.get("FLAME_ENDPOINT")
    context = _context(home() / "flame.yaml") if not text else {}
    text = text or context.get("endpoint")
    if text:
        found = _named(text)
    else:
        run = RunFile.read(default_file())
        if run is None or not run.alive:
            return None
        found = Target((parse(run.endpoint),))
    away = any(not address.path for address in found.addresses)
    chosen = token if token is not None else _token(context, away)
    ca = ca_file or os.environ.get("FLAME_CA_FILE") or context.get("ca_file")
    certificate = os.environ.get("FLAME_CERT_FILE") or context.get("cert_file")
    return replace(
        found, token=chosen, ca=Path(ca).expanduser() if ca else _own_ca(found),
        identity=Path(certificate).expanduser() if certificate else None,
    )  # fmt: skip


def _named(text: str) -> Target:
    path = Path(text)
    if "://" not in text and (path / "run.json").exists():
        path = path / "run.json"
    if path.suffix == ".json":
        run = RunFile.read(path)
        if run is None:
            raise Unavailable(f"no cluster runs in {path.parent}", hint="`flame up` starts one")
        return Target((parse(run.endpoint),))
    return Target(parse_all(text))


def _token(context: Mapping[str, str], away: bool) -> str:
    """`FLAME_TOKEN`, the file `FLAME_TOKEN_FILE`, the context's; for another address than a socket also the one of the cluster here."""
    if found := os.environ.get("FLAME_TOKEN"):
        return found
    name = os.environ.get("FLAME_TOKEN_FILE") or context.get("token_file")
    if name is None and away:
        run = RunFile.read(default_file())
        name = run.token_file if run else None
    try:
        return Path(name).expanduser().read_text().strip() if name else ""
    except OSError as error:
        raise InvalidArgument(f"cannot read the token file {name}: {error.strerror}") from None


def _own_ca(found: Target) -> Path | None:
    """The authority of the cluster that runs here, for its TLS addresses."""
    if not any(address.tls for address in found.addresses):
        return None
    run = RunFile.read(default_file())
    path = Path(run.data_dir) / "certs" / "ca.pem" if run is not None else None
    return path if path is not None and path.exists() else None


def _context(path: Path) -> dict[str, str]:
    """Of the current context: endpoint, ca_file, cert_file, token_file, as far as they are there."""
    if not path.exists():
        return {}
    import yaml

    try:
        found: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
        contexts = {c["name"]: c for c in found.get("contexts", ())}
        context = contexts[found["current-context"]] if found.get("current-context") else {}
        cluster = context.get("cluster") or {}
        tls = cluster.get("tls") or {}
        out = {
            "ca_file": tls.get("ca_file"),
            "cert_file": tls.get("cert_file"),
            "token_file": cluster.get("token_file"),
        }
        chosen = cluster.get("plane") or cluster.get("endpoint")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"{path} is not a client configuration: {error}") from None
    if chosen is None:
        return {}
    if str(chosen).startswith("https://"):  # one port serves flame.v1 and the plane
        chosen = "tls://" + str(chosen).removeprefix("https://")
    elif str(chosen).startswith("http://"):  # a compat listener: gRPC only
        return {}
    return {"endpoint": str(chosen)} | {key: str(value) for key, value in out.items() if value}
