"""Packing an application for `flmctl deploy`: one deterministic archive, and how to start what is in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import tempfile
import tomllib
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import NamedTuple

from flame.core.base.errors import InvalidArgument, NotFound


class Package(NamedTuple):
    kind: str  # executable-file, tar.gz or directory
    installer: str  # binary or python
    command: str
    arguments: tuple[str, ...]
    data: bytes
    sha256: str

    def key(self, name: str) -> str:
        return f"{name}/pkg/{name}-{self.sha256[:16]}.tar.gz"


class Start(NamedTuple):
    installer: str
    command: str
    arguments: tuple[str, ...] = ()


def pack(name: str, path: Path, installer: str | None, command: str | None) -> Package:
    """Pack what `path` is. `installer` and `command` override what would be found out.

    Raises NotFound without the path, InvalidArgument when it cannot be packed or nobody can tell how to start it.
    """
    if not path.exists():
        raise NotFound(f"there is no file or directory {path}")
    with tempfile.TemporaryDirectory(prefix="flame-deploy-") as scratch:
        if path.is_dir():
            kind, root = "directory", path
        elif path.name.endswith((".tar.gz", ".tgz")):
            kind, root = "tar.gz", _unpack(path, Path(scratch))
        elif os.access(path, os.X_OK):
            kind, root = "executable-file", Path(scratch)
            (root / "bin").mkdir()
            target = root / "bin" / path.name
            target.write_bytes(path.read_bytes())
            target.chmod(stat.S_IMODE(path.stat().st_mode))
        else:
            raise InvalidArgument(
                f"{path} is neither a directory, a .tar.gz nor an executable file",
                hint=f"chmod +x {path}, if it is a program",
            )
        start = detect(name, root, installer, command)
        data = archive(root)
    return Package(kind, start.installer, start.command, start.arguments, data, hashlib.sha256(data).hexdigest())


def archive(root: Path) -> bytes:
    """The same bytes for the same content: sorted, no times, no owners; permission bits stay."""
    out = io.BytesIO()
    top = root.resolve()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).as_posix()):
            target = path
            if path.is_symlink():
                target = path.resolve()
                if not target.is_relative_to(top) or not target.is_file():
                    raise InvalidArgument(
                        f"{path} is a link to {target}", hint="links may only lead to files inside the directory"
                    )
            info = tarfile.TarInfo(path.relative_to(root).as_posix())
            info.mode = stat.S_IMODE(target.stat().st_mode)
            if target.is_dir():
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif target.is_file():
                data = target.read_bytes()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                raise InvalidArgument(f"{path} is neither a file nor a directory")
    return out.getvalue()


def detect(name: str, root: Path, installer: str | None, command: str | None) -> Start:
    """How to start what is in `root`."""
    is_python = any((root / marker).is_file() for marker in ("pyproject.toml", "setup.py", "setup.cfg"))
    chosen = installer or ("python" if is_python else "binary")
    if command:
        return Start(chosen, command)
    if chosen == "python":
        scripts = _scripts(root)
        if name in scripts or len(scripts) == 1:
            return Start(chosen, name if name in scripts else next(iter(scripts)))
        module = name.replace("-", "_")
        if any((base / module / "__main__.py").is_file() for base in (root, root / "src")):
            return Start(chosen, "python", ("-m", module))
    else:
        for folder in (root / "bin", root):
            programs = [p for p in sorted(folder.glob("*")) if p.is_file() and os.access(p, os.X_OK)]
            named = [p for p in programs if p.name == name and folder.name == "bin"]
            if found := named or (programs if len(programs) == 1 else []):
                return Start(chosen, found[0].name)
    raise InvalidArgument(f"cannot tell how to start {name}", hint="say it with --command (and --argument)")


def _scripts(root: Path) -> dict[str, str]:
    """Console scripts that the project declares."""
    found: dict[str, str] = {}
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text()).get("project", {})
        found.update(project.get("scripts", {}))
    except FileNotFoundError:
        pass
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{root / 'pyproject.toml'}: {error}") from error
    setup = ConfigParser()
    try:
        setup.read(root / "setup.cfg")
    except ConfigError as error:
        raise InvalidArgument(f"{root / 'setup.cfg'}: {error}") from error
    for line in setup.get("options.entry_points", "console_scripts", fallback="").splitlines():
        script, equals, target = line.partition("=")
        if equals:
            found[script.strip()] = target.strip()
    return found


def _unpack(path: Path, scratch: Path) -> Path:
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                _extract(tar, member, scratch)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InvalidArgument(f"{path} is not an archive that can be unpacked: {error}") from error
    return scratch


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, scratch: Path) -> None:
    """One member, never outside of `scratch` (extraction filters came with Python 3.11.4; Debian 12 has 3.11.2)."""
    target = scratch / member.name
    # Resolving follows links that earlier members may have made.
    if not target.resolve().is_relative_to(scratch.resolve()):
        raise InvalidArgument(f"the archive's {member.name!r} leads outside")
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        target.mkdir(exist_ok=True)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif (content := tar.extractfile(member)) is not None:
        target.write_bytes(content.read())
        target.chmod(stat.S_IMODE(member.mode) | stat.S_IRUSR)
    else:
        raise InvalidArgument(f"the archive's {member.name!r} is neither a file nor a directory nor a link")
