"""A small certificate authority on files: who gets a certificate for what, and how authorities and keys are replaced.

    ca.pem     what everybody trusts (0644): the authority's certificate; during a change of authority the old one, too
    ca.key     the authority's key with its certificate (0600)
    NAME.pem   an identity (0600): key, certificate, authority (see `flame.security.pem` for why there is no NAME.key)

The directory is 0700, every write replaces a file in one step, and one process writes at a time.

A change of authority has three steps, so that no connection fails: `rotate_ca` (trust both, sign with the new one; copy ca.pem to the other
machines), `rotate` (certificates by the new one), `drop_old_ca` (trust the new one only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flame.core.base.errors import AlreadyExists, FlameError, InvalidArgument, InvalidState, NotFound, PermissionDenied
from flame.security import certificate as certificates
from flame.security import pem, signing
from flame.security.certificate import CertificateInfo, describe
from flame.security.signing import new_request

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Authority", "CertificateInfo", "Identity", "describe", "new_request"]

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Identity:
    """A key with its certificate, on file. `pem` holds both and the authority's certificate; `ca` is what it trusts."""

    role: str
    name: str
    pem: Path
    ca: Path
    certificate: CertificateInfo


class Authority:
    """Signs certificates for the machines and people of one cluster. Make one with `create` or `load`."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self._clock = clock

    @classmethod
    def create(cls, directory: Path, name: str = "flame", days: int = 3650, *, clock: Clock = _now) -> Authority:
        """Make a new authority. Raises AlreadyExists when the directory holds one, PermissionDenied when others may write there."""
        certificates.checked_name(name)
        certificates.library()
        _prepare(directory)
        with pem.locked(directory):
            if (directory / "ca.key").exists():
                raise AlreadyExists(
                    f"{directory} holds an authority already",
                    hint="`flmadm certs show` shows it; `flmadm certs rotate --ca` replaces it",
                )
            signer = signing.new_authority(name, days, clock())
            _write_authority(directory, signer, signer.pem)
        return cls(directory, clock)

    @classmethod
    def load(cls, directory: Path, *, clock: Clock = _now) -> Authority:
        """Open the authority of a directory. Raises NotFound when there is none, InvalidArgument when its files are damaged."""
        key = directory / "ca.key"
        if not key.exists():
            found = "the certificate of an authority, but not its key" if (directory / "ca.pem").exists() else "none"
            raise NotFound(
                f"there is no certificate authority in {directory}: {found} is there",
                hint="`flmadm certs init` makes one; only the machine that made it can sign",
            )
        authority = cls(directory, clock)
        _ = authority._signer, authority._trusted()  # damage is said now
        return authority

    @property
    def ca_file(self) -> Path:
        """What others must trust."""
        return self.directory / "ca.pem"

    @property
    def name(self) -> str:
        """Common name of the certificate that signs now."""
        return certificates.common_name(self._signer.certificate.subject)

    def fingerprint(self) -> str:
        """`sha256:<hex>` of the certificate that signs now."""
        return certificates.fingerprint(self._signer.certificate)

    def trusted(self) -> list[CertificateInfo]:
        """The authorities in ca.pem: the one that signs first, old ones after it."""
        return [certificates.info(one) for one in self._trusted()]

    def identities(self) -> list[Identity]:
        """What was issued into the directory, by name."""
        found = []
        for path in sorted(self.directory.glob("*.pem")):
            if path.name != "ca.pem" and b"PRIVATE KEY-----" in path.read_bytes():
                info = describe(path)
                found.append(Identity(info.role, path.stem, path, self.ca_file, info))
        return found

    def pair(self, role: str, name: str, hosts: Sequence[str] = (), days: int = 90) -> pem.Pair:
        """A new key with its certificate, for whoever keeps it elsewhere: nothing is written.

        role: server, manager, allocator, agent or client (which no server may show). hosts: DNS names and addresses it is shown for.
        days: how long it is valid; never longer than the authority itself. Raises InvalidArgument.
        """
        key = signing.new_key()
        return pem.Pair(signing.key_pem(key), self._sign(key.public_key(), role, name, hosts, timedelta(days=days)))

    def issue(self, role: str, name: str, hosts: Sequence[str] = (), days: int = 90) -> Identity:
        """A new key with its certificate in NAME.pem; replaces what NAME had. Arguments as for `pair`.

        Raises AlreadyExists when NAME has another role: two roles of one name would share a file.
        """
        pair = self.pair(role, name, hosts, days)
        with pem.locked(self.directory):
            path = place(self.directory, role, name)
            pem.write_pair(path, pair)
        return Identity(role, name, path, self.ca_file, describe(path))

    def sign(self, csr_pem: bytes, role: str, name: str, hosts: Sequence[str] = (), days: int = 90) -> bytes:
        """A certificate for the key of a request, with the authority's after it: with the key before them, an identity file.

        Role, name and hosts are the arguments, whatever the request says. Raises InvalidArgument when the request is none, does not
        prove that its sender has the key, or the key is weak.
        """
        return self._sign(signing.requested_key(csr_pem), role, name, hosts, timedelta(days=days))

    def rotate(self, names: Iterable[str] | None = None) -> list[Identity]:
        """New keys and certificates for identities here: same role, name, hosts and days. Default: all.

        Raises NotFound for an unknown name; nothing is changed then.
        """
        with pem.locked(self.directory):
            known = {one.name: one for one in self.identities()}
            wanted = list(known) if names is None else list(dict.fromkeys(names))
            if missing := [name for name in wanted if name not in known]:
                raise NotFound(
                    f"{self.directory} holds no identity {', '.join(missing)}",
                    hint=f"it has {', '.join(known) or 'none'}",
                )
            made = [(known[name], self._again(known[name].certificate)) for name in wanted]
            for one, pair in made:
                pem.write_pair(one.pem, pair)
        return [Identity(one.role, one.name, one.pem, one.ca, describe(one.pem)) for one, _ in made]

    def rotate_ca(self, days: int = 3650) -> None:
        """A new authority signs from now on; both are trusted until `drop_old_ca`."""
        with pem.locked(self.directory):
            name = self.name.rsplit(" authority ", 1)[0]
            signer = signing.new_authority(name, days, self._clock())
            # Trusted before it signs: a crash in between leaves a certificate too many, never one that nobody trusts.
            _write_authority(self.directory, signer, signer.pem + pem.read_roots(self.ca_file))

    def drop_old_ca(self) -> list[CertificateInfo]:
        """Trust only the authority that signs now. Returns what was dropped.

        Raises InvalidState while identities here are still signed by another: they would be refused at once. Those on other
        machines are not known here.
        """
        with pem.locked(self.directory):
            old = self.droppable()
            if old:
                pem.write_file(self.ca_file, self._signer.pem, mode=0o644)
        return old

    def droppable(self) -> list[CertificateInfo]:
        """What `drop_old_ca` would drop now. Raises as it does."""
        current = self._signer.certificate
        old = [certificates.info(one) for one in self._trusted() if one != current]
        left = [one.name for one in self.identities() if not certificates.is_signed_by(_leaf(one.pem), current)]
        if old and left:
            raise InvalidState(
                f"still signed by the old authority: {', '.join(left)}", hint="`flmadm certs rotate` issues them again"
            )
        return old

    @property
    def _signer(self) -> signing.Signer:
        """Read each time (0.2 ms): another process may have replaced it."""
        return _read_signer(self.directory)

    def _trusted(self) -> list[x509.Certificate]:
        return certificates.load(pem.read_roots(self.ca_file), self.ca_file)

    def _again(self, old: CertificateInfo) -> pem.Pair:
        key = signing.new_key()
        lifetime = old.not_after - old.not_before - signing.SKEW
        return pem.Pair(signing.key_pem(key), self._sign(key.public_key(), old.role, old.name, old.hosts, lifetime))

    def _sign(self, key: signing.PublicKey, role: str, name: str, hosts: Sequence[str], lifetime: timedelta) -> bytes:
        return self._signer.sign(key, role, name, hosts, self._clock(), lifetime)


def place(directory: Path, role: str, name: str) -> Path:
    """The file of an identity. Raises AlreadyExists when it is there for another role: it would be replaced."""
    path = directory / f"{certificates.checked_name(name)}.pem"
    if path.exists() and (found := describe(path)).role != role:
        raise AlreadyExists(f"{path} is {found.role} {found.name!r}, not {role}", hint="choose another name")
    return path


def _leaf(path: Path) -> x509.Certificate:
    return certificates.load(pem.read_roots(path), path)[0]


def _read_signer(directory: Path) -> signing.Signer:
    """ca.key, with the certificate beside it; else (an authority made by other means) the one of ca.pem that fits the key."""
    certificates.library()
    text = pem.read(directory / "ca.key")
    chain = b"".join(pem.blocks(text, b"CERTIFICATE")) or pem.read_roots(directory / "ca.pem")
    try:
        return signing.Signer.of(text, certificates.load(chain, directory))
    except InvalidArgument as error:
        raise InvalidArgument(f"{directory / 'ca.key'}: {error.message}", hint="restore it from a backup") from error


def _write_authority(directory: Path, signer: signing.Signer, trusted: bytes) -> None:
    pem.write_file(directory / "ca.pem", trusted, mode=0o644)
    pem.write_file(directory / "ca.key", signer.key_pem + signer.pem)


def _prepare(directory: Path) -> None:
    """Make it 0700. A directory with other things in it is left as it is, but refused when others could replace files there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(directory.iterdir()):
            directory.chmod(0o700)
    except OSError as error:
        raise FlameError(f"{directory} cannot be used: {error.strerror}") from error
    if directory.stat().st_mode & 0o022:
        raise PermissionDenied(f"others may write in {directory}", hint=f"chmod 0700 {directory}")
