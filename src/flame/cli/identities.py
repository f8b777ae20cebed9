"""`flame login`, `whoami`, `token`, `tenant`: who people and programs are to a cluster."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli import running
from flame.cli.contexts import forget, store
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import Column, labelled, say_data, say_list, write
from flame.core.base.errors import FlameError, InvalidArgument
from flame.core.base.quantity import format_size, parse_duration, parse_size
from flame.core.model.access import ACCOUNT, JOIN, account_name

tokens = typer.Typer(help="Bearer tokens: make, list, revoke.", no_args_is_help=True)
tenants = typer.Typer(help="Tenants: who shares the cluster, with what limits.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command()(login)
    app.command()(logout)
    app.command()(whoami)
    app.add_typer(tokens, name="token")
    app.add_typer(tenants, name="tenant")


# -- login ------------------------------------------------------------------------------------------------------------------


def login(
    endpoint: Annotated[str, typer.Argument(help="tls://host:port (several with commas), or tcp://127.0.0.1:port")],
    token_file: Annotated[
        Path | None, typer.Option(help="a file with the token; else it is asked for, or read from a pipe")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(envvar="FLAME_CA_FILE", help="who signed the server's certificate")
    ] = None,
    ca_hash: Annotated[
        str | None, typer.Option(help="or its fingerprint, sha256:...: the certificate is fetched")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="log in at this OpenID Connect issuer instead")] = None,
    client_id: Annotated[str, typer.Option(help="of Flame at the issuer")] = "flame",
    name: Annotated[str, typer.Option(help="of the context in ~/.flame/flame.yaml")] = "flame",
) -> None:
    """Remember a cluster and who you are there; every command and `flame.connect()` use it from then on."""
    text = _from_issuer(issuer, client_id) if issuer else _given(token_file)
    authority = _authority(endpoint, ca_file, ca_hash)
    from flame.sdk.connect import connect

    with tempfile.NamedTemporaryFile(suffix=".pem") as trusted:
        trusted.write(authority or b"")
        trusted.flush()
        with connect(endpoint, token=text, ca_file=trusted.name if authority else None) as client:
            who = client.whoami()
    path = store(name, endpoint, text, authority)
    write(f"{who.name} is {who.role} of tenant {who.tenant} at {endpoint} (context {name} in {path}).")


def _given(token_file: Path | None) -> str:
    if token_file is not None:
        try:
            return token_file.read_text().strip()
        except OSError as error:
            raise InvalidArgument(f"cannot read {token_file}: {error.strerror}") from None
    if sys.stdin.isatty():
        text: str = typer.prompt("Token", hide_input=True)
        return text.strip()
    text = sys.stdin.readline().strip()
    if not text:
        raise InvalidArgument("no token came on standard input", hint="--token-file FILE, or pipe it in")
    return text


def _from_issuer(issuer: str, client_id: str) -> str:
    from flame.security.oidc import device_login

    def show(where: str, code: str) -> None:
        sys.stderr.write(f"Open {where} and enter {code}\n")

    found = device_login(issuer, client_id, show)
    return found.id_token or found.access_token


def _authority(endpoint: str, ca_file: Path | None, ca_hash: str | None) -> bytes | None:
    """The certificate of who may sign, to be kept beside the token."""
    from flame.shell.address import parse_all

    if ca_file is not None:
        try:
            return ca_file.read_bytes()
        except OSError as error:
            raise InvalidArgument(f"cannot read {ca_file}: {error.strerror}") from None
    if ca_hash is None:
        return None
    from flame.security.tls import fetch_ca

    first = parse_all(endpoint)[0]
    return fetch_ca(first.host, first.port, ca_hash)


def logout(name: Annotated[str, typer.Option(help="of the context")] = "flame") -> None:
    """Forget a cluster and the token kept for it. The token itself stays valid until it is revoked or expires."""
    write(f"Context {name} was removed." if forget(name) else f"There is no context {name}.")


def whoami(data_dir: DataDir = None, endpoint: Endpoint = None, voice: Voice = "table") -> None:
    """Say who you are to the cluster."""
    with running.client(data_dir, endpoint) as client:
        who = client.whoami()
        where = client.endpoint
    record = {
        "name": who.name,
        "role": who.role,
        "tenant": who.tenant,
        "by": who.kind,
        "expires": who.expires,
        "endpoint": where,
    }
    if voice in ("json", "yaml"):
        say_data(record, voice)
        return
    write(
        labelled([("Name", who.name), ("Role", who.role), ("Tenant", who.tenant), ("By", who.kind), ("Cluster", where)])
    )


# -- tokens -----------------------------------------------------------------------------------------------------------------


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="whose it is, or what for", show_default=False)] = "",
    role: Annotated[
        str, typer.Option(help="viewer, user, operator, admin, or join: lets one machine in, once")
    ] = "user",
    tenant: Annotated[str | None, typer.Option(help="of the token; `*` reaches all (your own)")] = None,
    account: Annotated[
        str | None,
        typer.Option("--service-account", metavar="NAMESPACE/NAME", help="of this one, with what is bound to it"),
    ] = None,
    ttl: Annotated[str | None, typer.Option(help="such as 90d or 1h; else it has no end (join: 1h)")] = None,
    out: Annotated[
        Path | None, typer.Option(help="write the token to this new file, mode 0600, instead of printing it")
    ] = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Make a token. It is shown once; what is kept is its digest."""
    if out is not None and out.exists():
        raise InvalidArgument(f"{out} exists", hint="choose a new file")
    if account is not None:
        if name:
            raise InvalidArgument("a token of a service account has that account's name", hint="leave NAME out")
        space, _, plain = account.rpartition("/")
        name, role = account_name(space or "default", plain), ACCOUNT
    elif not name:
        raise InvalidArgument("whose token?", hint="flame token create NAME, or --service-account NAMESPACE/NAME")
    with running.client(data_dir, endpoint) as client:
        made = client.create_token(name, role, tenant, parse_duration(ttl) if ttl else 0.0)
    if out is not None:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made.token + "\n")
    shown = made.token if out is None else str(out)
    if voice in ("json", "yaml"):
        say_data(_record(made.info) | {"token" if out is None else "file": shown}, voice)
    elif voice == "name":
        write(shown)
    else:
        write(labelled([("Id", made.info.id), ("Role", role), ("Tenant", made.info.tenant), ("Token", shown)]))
        if role == JOIN:
            write("\nOn the machine that joins:\n  " + _join_line(shown, out is not None, data_dir))


def _join_line(token: str, is_file: bool, data_dir: Path | None) -> str:
    """The whole command, where this machine knows enough to say it."""
    where, pin = "tls://HOST:PORT", "--ca-file ca.pem"
    try:
        run = running.find(data_dir)
    except FlameError:
        run = None
    if run is not None and run.listen and run.listen.startswith("tls://"):
        from flame.security.authority import Authority

        where, pin = run.listen, f"--ca-hash {Authority.load(Path(run.data_dir) / 'certs').fingerprint()}"
    return f"flame agent join {where} {pin} --token{'-file' if is_file else ''} {token}"


def _record(info: Any) -> dict[str, Any]:
    return {key: getattr(info, key) for key in ("id", "name", "role", "tenant", "created", "expires", "by")}


@tokens.command("list")
def list_tokens(data_dir: DataDir = None, endpoint: Endpoint = None, voice: Voice = "table") -> None:
    """Tokens of the tenants you see."""
    with running.client(data_dir, endpoint) as client:
        found = [_record(info) for info in client.list_tokens()]
    columns = (
        Column("Id", lambda r: r["id"]),
        Column("Name", lambda r: r["name"]),
        Column("Role", lambda r: r["role"]),
        Column("Tenant", lambda r: r["tenant"]),
        Column("Expires", lambda r: _day(r["expires"])),
        Column("Made by", lambda r: r["by"]),
    )
    say_list(found, columns, voice, name="id")


def _day(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


@tokens.command("revoke")
def revoke_token(
    id: Annotated[str, typer.Argument(help="as `flame token list` shows it")],
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """End a token, and every connection that uses it."""
    with running.client(data_dir, endpoint) as client:
        client.revoke_token(id)
    write(f"Token {id} was revoked.")


# -- tenants ------------------------------------------------------------------------------------------------------------------


@tenants.command("create")
def create_tenant(
    name: str,
    weight: Annotated[int | None, typer.Option(help="its share beside the others (1)")] = None,
    max_sessions: Annotated[int | None, typer.Option(help="open at once")] = None,
    max_tasks: Annotated[int | None, typer.Option(help="waiting and running at once")] = None,
    max_bytes: Annotated[str | None, typer.Option(help="of the payloads of those tasks, such as 4g")] = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Make a tenant, or change one: what is not given stays as it is."""
    with running.client(data_dir, endpoint) as client:
        known = {use.tenant.name: use.tenant for use in client.list_tenants()}.get(name)
        limits = {
            "weight": weight,
            "max_sessions": max_sessions,
            "max_queued": max_tasks,
            "max_bytes": parse_size(max_bytes) if max_bytes else None,
        }
        given = {key: value for key, value in limits.items() if value is not None}
        kept = {key: getattr(known, key) for key in limits} if known is not None else {}
        client.set_tenant(name, **(kept | given))
    write(f"Tenant {name} was {'changed' if known else 'made'}.")


@tenants.command("list")
def list_tenants(data_dir: DataDir = None, endpoint: Endpoint = None, voice: Voice = "table") -> None:
    """Tenants, their limits, and what they hold now."""
    with running.client(data_dir, endpoint) as client:
        found = client.list_tenants()
    records = [
        {
            "name": use.tenant.name, "weight": use.tenant.weight, "sessions": use.sessions, "tasks": use.queued, "bytes": use.bytes,
            "max_sessions": use.tenant.max_sessions, "max_tasks": use.tenant.max_queued, "max_bytes": use.tenant.max_bytes,
        }
        for use in found
    ]  # fmt: skip
    columns = (
        Column("Name", lambda r: r["name"]),
        Column("Weight", lambda r: str(r["weight"])),
        Column("Sessions", lambda r: _of(r["sessions"], r["max_sessions"], str)),
        Column("Tasks", lambda r: _of(r["tasks"], r["max_tasks"], lambda n: f"{n:,}")),
        Column("Bytes", lambda r: _of(r["bytes"], r["max_bytes"], format_size)),
    )
    say_list(records, columns, voice, name="name")


def _of(now: int, limit: int | None, form: Any) -> str:
    return form(now) if limit is None else f"{form(now)}/{form(limit)}"


@tenants.command("delete")
def delete_tenant(name: str, data_dir: DataDir = None, endpoint: Endpoint = None) -> None:
    """Remove a tenant that has no open sessions, with its tokens."""
    with running.client(data_dir, endpoint) as client:
        client.drop_tenant(name)
    write(f"Tenant {name} was deleted.")
