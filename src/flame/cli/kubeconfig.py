"""`flame kubeconfig`: what kubectl needs to talk to a cluster of Flame."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.options import DataDir
from flame.cli.output import write
from flame.core.base.errors import InvalidArgument, NotFound
from flame.ops.paths import RunFile


def register(app: typer.Typer) -> None:
    app.command()(kubeconfig)


def kubeconfig(
    data_dir: DataDir = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="https://... of the gateway, if not the one here")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="who signed its certificate")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="whose token (FLAME_TOKEN, else the cluster's own)")
    ] = None,
    namespace: Annotated[
        str, typer.Option("-n", "--namespace", help="that commands mean when they name none")
    ] = "default",
    name: Annotated[str, typer.Option(help="of the context")] = "flame",
) -> None:
    """Print a configuration for kubectl. It holds a token: `flame kubeconfig > FILE`, and keep the file to yourself."""
    import yaml

    run = None if server and ca_file and (token_file or os.environ.get("FLAME_TOKEN")) else running.find(data_dir)
    write(yaml.safe_dump(_document(
        _server(server, run), _read(ca_file or _ca(run), "the certificate authority"), _token(token_file, run), namespace, name
    ), sort_keys=False).rstrip("\n"))  # fmt: skip


def _server(given: str | None, run: RunFile | None) -> str:
    """kubectl sends tokens by TLS only, so the URL is one of HTTPS. Raises InvalidArgument, NotFound."""
    url = given or (run.gateway if run is not None else None)
    if url is None:
        raise NotFound("this cluster has no gateway", hint="flame up --gateway 127.0.0.1:8083")
    if given and not given.startswith("https://"):
        raise InvalidArgument(f"--server {given}: kubectl sends no token without TLS", hint="https://HOST:PORT")
    return "https://" + url.partition("://")[2]


def _ca(run: RunFile | None) -> Path:
    assert run is not None, "a cluster is looked for unless the file is given"
    return Path(run.data_dir) / "certs" / "ca.pem"


def _token(given: Path | None, run: RunFile | None) -> str:
    if given is None and (found := os.environ.get("FLAME_TOKEN")):
        return found
    assert given is not None or run is not None, "a cluster is looked for unless the token is given"
    return _read(given or Path(run.token_file if run is not None else ""), "the token").decode().strip()


def _read(path: Path, what: str) -> bytes:
    """Raises NotFound."""
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        hint = "the gateway needs the extra `tls` to serve HTTPS" if path.name == "ca.pem" else ""
        raise NotFound(f"cannot read {what} {path}: {error.strerror}", hint=hint) from None


def _document(server: str, ca: bytes, token: str, namespace: str, name: str) -> dict[str, Any]:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
