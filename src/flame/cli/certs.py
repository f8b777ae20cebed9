"""`flmadm certs`: the certificate authority of a cluster, what it issued, and why a TLS connection fails."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli.output import VOICES, Column, labelled, say_list, write
from flame.core.base.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from flame.ops import paths
from flame.security import pem
from flame.security.authority import Authority, CertificateInfo, place
from flame.security.certificate import ROLES, checked_hosts
from flame.security.probe import diagnose

WARN = timedelta(days=30)

app = typer.Typer(
    help="Certificates: make, hand out, replace and check them.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        write(context.get_help())


def _role(value: str) -> str:
    if value not in ROLES:
        raise typer.BadParameter(f"one of {', '.join(ROLES)}")
    return value


def _voice(value: str) -> str:
    if value not in VOICES:
        raise typer.BadParameter(f"one of {', '.join(VOICES)}")
    return value


Dir = Annotated[Path | None, typer.Option("--dir", help="of the authority (~/.flame/data/certs)", show_default=False)]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="name or address it is for; repeat it")]
Days = Annotated[int, typer.Option("--days", min=1, help="valid for")]
Role = Annotated[str, typer.Argument(callback=_role, metavar="ROLE", help=" | ".join(ROLES))]
Name = Annotated[str, typer.Argument(metavar="NAME", help="whose, such as a node or a user")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")]
Voice = Annotated[str, typer.Option("-o", "--output", callback=_voice, help=" | ".join(VOICES))]


def _directory(given: Path | None) -> Path:
    return given or paths.home() / "data" / "certs"


@app.command()
def init(dir: Dir = None, host: Hosts = None, days: Days = 90, dry_run: DryRun = False) -> None:
    """Make an authority, and the certificate of a server on this machine."""
    directory = _directory(dir)
    hosts = checked_hosts([*(host or ()), "localhost", "127.0.0.1", "::1", *_own_name()])
    if dry_run:
        if (directory / "ca.key").exists():
            raise AlreadyExists(f"{directory} holds an authority already", hint="`flmadm certs show` shows it")
        write(f"Would make an authority in {directory}, and the certificate of a server for {', '.join(hosts)}.")
        return
    authority = Authority.create(directory)
    server = authority.issue("server", "server", hosts, days)
    lines = [("Authority", f"{authority.name} ({authority.ca_file})"), ("Fingerprint", authority.fingerprint())]
    write(labelled([*lines, ("Server", f"{server.pem}, {_until(server.certificate)}"), ("Hosts", ", ".join(hosts))]))


@app.command()
def issue(
    role: Role,
    name: Name,
    dir: Dir = None,
    host: Hosts = None,
    days: Days = 90,
    out: Annotated[Path | None, typer.Option("--out", help="put it and ca.pem there, keep nothing here")] = None,
    dry_run: DryRun = False,
) -> None:
    """Make a key and a certificate: NAME.pem. One that NAME has is replaced."""
    authority = Authority.load(_directory(dir))
    pair = authority.pair(role, name, host or (), days)
    target = out or authority.directory
    if out and out.resolve() != authority.directory.resolve() and (out / "ca.key").exists():
        raise AlreadyExists(f"{out} holds another authority", hint="choose another directory")
    path = place(target, role, name)
    word = "replace" if path.exists() else "write"
    if dry_run:
        write(f"Would {word} {path}: {role} {name}{_for(host)}, valid for {days} days.")
        return
    if out:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem.write_file(out / "ca.pem", pem.read_roots(authority.ca_file), mode=0o644)
        pem.write_pair(path, pair)
    else:
        authority.issue(role, name, host or (), days)
    write(f"{path} is {role} {name}{_for(host)}, valid for {days} days.")


@app.command()
def sign(
    csr: Annotated[Path, typer.Argument(metavar="CSR", help="signing request (PEM); - for stdin")],
    role: Role,
    name: Name,
    dir: Dir = None,
    host: Hosts = None,
    days: Days = 90,
    dry_run: DryRun = False,
) -> None:
    """Print a certificate for a request; its key stays where the request was made."""
    authority = Authority.load(_directory(dir))
    text = sys.stdin.buffer.read() if str(csr) == "-" else csr.read_bytes()
    signed = authority.sign(text, role, name, host or (), days)
    if dry_run:
        write(f"Would sign {csr} for {role} {name}{_for(host)}, valid for {days} days.")
    else:
        sys.stdout.write(signed.decode())


@app.command()
def rotate(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="which (all)")] = None,
    dir: Dir = None,
    ca: Annotated[bool, typer.Option("--ca", help="a new authority; the old one is trusted, too, for now")] = False,
    drop_old_ca: Annotated[bool, typer.Option("--drop-old-ca", help="trust the old authority no longer")] = False,
    dry_run: DryRun = False,
) -> None:
    """Replace keys and certificates; servers that run take them at once.

    A new authority comes in three steps: `rotate --ca` and copy ca.pem to the other machines, `rotate`, `rotate --drop-old-ca`.
    """
    if (ca or drop_old_ca) and (names or (ca and drop_old_ca)):
        raise typer.BadParameter("--ca, --drop-old-ca and NAME are steps of their own")
    authority = Authority.load(_directory(dir))
    if ca:
        _rotate_ca(authority, dry_run)
    elif drop_old_ca:
        old = authority.droppable() if dry_run else authority.drop_old_ca()
        verb = "Would drop" if dry_run else "Dropped"
        write(f"{verb} {', '.join(one.name for one in old)}." if old else "There is no old authority.")
    else:
        _rotate_identities(authority, names, dry_run)


def _rotate_ca(authority: Authority, dry_run: bool) -> None:
    if dry_run:
        write(f"Would make a new authority in {authority.directory}; {authority.name} would stay trusted.")
        return
    old = authority.name
    authority.rotate_ca()
    write(f"{authority.name} signs from now on, {old} is still trusted.\nFingerprint: {authority.fingerprint()}")
    write(f"Next: copy {authority.ca_file} to the other machines, `flmadm certs rotate`, `... --drop-old-ca`.")


def _rotate_identities(authority: Authority, names: list[str] | None, dry_run: bool) -> None:
    if dry_run:
        known = [one.name for one in authority.identities()]
        if missing := [name for name in names or () if name not in known]:
            raise NotFound(f"{authority.directory} holds no identity {', '.join(missing)}")
        write(f"Would replace {', '.join(names or known) or 'nothing'}.")
        return
    done = authority.rotate(names or None)
    for one in done:
        write(f"{one.pem} was replaced, {_until(one.certificate)}.")
    if not done:
        write("There is nothing to replace.")


@app.command()
def show(dir: Dir = None, voice: Voice = "table") -> None:
    """List the authorities and what they issued here; warns of what expires within 30 days."""
    directory = _directory(dir)
    here = Authority(directory, lambda: datetime.now(UTC))  # a machine that joined has no key of the authority
    if not here.ca_file.exists():
        raise NotFound(f"there are no certificates in {directory}", hint="`flmadm certs init` makes them")
    found = [("authority", here.ca_file, one) for one in here.trusted()]
    found += [(one.role, one.pem, one.certificate) for one in here.identities()]
    columns = (
        Column("Name", lambda r: r["name"]),
        Column("Role", lambda r: r["role"]),
        Column("Hosts", lambda r: ", ".join(r["hosts"]) or "-"),
        Column("Expires in", lambda r: _span(r["expires_in"])),
        Column("Fingerprint", lambda r: r["fingerprint"]),
        Column("Issuer", lambda r: r["issuer"], wide=True),
        Column("File", lambda r: r["file"], wide=True),
    )
    records = [_record(*one) for one in found]
    say_list(records, columns, voice, name="name")
    sys.stdout.flush()
    for one in records:
        if one["expires_in"] < WARN.total_seconds():
            what = f"rotate {'--ca' if one['role'] == 'authority' else one['name']}"
            word = "has expired" if one["expires_in"] <= 0 else f"expires in {_span(one['expires_in'])}"
            sys.stderr.write(f"Warning: {one['name']} {word}; `flmadm certs {what}` replaces it.\n")


@app.command()
def check(
    where: Annotated[str, typer.Argument(metavar="HOST:PORT", help="of a TLS server")],
    dir: Dir = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", envvar="FLAME_CA_FILE", help="(ca.pem of --dir)")] = None,
    cert: Annotated[Path | None, typer.Option("--cert", help="our identity, NAME.pem")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds for each step")] = 5,
) -> None:
    """Say whether a TLS connection works, else why not. Exit code 0: it works, 3: it does not."""
    host, port = _address(where)
    ours = _directory(dir) / "ca.pem"
    ca = ca_file or (ours if dir or ours.exists() else None)
    if said := diagnose(host, port, ca, cert, timeout):
        raise Unavailable(said)
    write(f"{where}: the connection works; trusted by {ca or 'the authorities of this machine'}.")


# -- parsing and words ------------------------------------------------------------------------------------------------


def _address(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal() and len(port) < 6):
        raise typer.BadParameter(f"{where!r} is not HOST:PORT")
    return host, int(port)


def _own_name() -> list[str]:
    """This machine's, if a certificate can be for it."""
    try:
        return list(checked_hosts([socket.gethostname()]))
    except InvalidArgument:
        return []


def _record(role: str, file: Path, info: CertificateInfo) -> dict[str, Any]:
    return {
        "name": info.name if role == "authority" else file.stem,
        "role": role,
        "hosts": list(info.hosts),
        "not_before": info.not_before.isoformat(),
        "not_after": info.not_after.isoformat(),
        "expires_in": int((info.not_after - datetime.now(UTC)).total_seconds()),
        "issuer": info.issuer,
        "fingerprint": info.fingerprint,
        "file": str(file),
    }


def _for(hosts: Sequence[str] | None) -> str:
    return f" for {', '.join(hosts)}" if hosts else ""


def _until(info: CertificateInfo) -> str:
    return f"valid until {info.not_after:%Y-%m-%d}"


def _span(seconds: int) -> str:
    """Whole days, below two days hours."""
    if seconds <= 0:
        return "expired"
    days, hours = seconds // 86_400, seconds // 3600
    return f"{days} days" if days >= 2 else f"{hours} h" if hours else "less than 1 h"
