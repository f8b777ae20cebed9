"""Packages of applications: unpacked once per content, shared by all sessions of the node; and the search paths a service gets from them.

<data>/apps/<app>/releases/<digest of installer, url and content>/{src,deps}
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

from flame.core.base.errors import InvalidArgument, Unimplemented
from flame.core.model.messages import AppSpec

INSTALL_SECONDS = 600
PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Installed:
    """`variables` are set where the application does not; `paths` go in front of search paths."""

    variables: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, list[str]] = field(default_factory=dict)


def install(app: str, spec: AppSpec, data_dir: Path, given: Mapping[str, str]) -> Installed:
    """Raises InvalidArgument for what cannot be installed, with the reason."""
    installer = (spec.installer or "").lower()
    if not installer:
        return Installed()
    if installer not in ("binary", "python"):
        raise InvalidArgument(f"unknown installer {spec.installer!r}", hint="known: binary, python")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = given.get("FLAME_PYTHON_VERSION", "").removeprefix("python")
    if installer == "python" and wanted and wanted != version:
        raise InvalidArgument(f"Python {wanted} is not installed on this node, here is {version}")
    base = sysconfig.get_path("purelib")
    if not spec.url:
        return Installed({"FLAME_PYTHON_VERSION": version}, {"PYTHONPATH": [base]})
    source = unpacked(app, installer, spec.url, data_dir)
    if installer == "binary":
        libraries = [str(source / name) for name in ("libs", "lib") if (source / name).is_dir()]
        paths = {"PATH": [str(source / "bin"), str(source)]} | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
        return Installed({"FLAME_APP_DIR": str(source)}, paths)
    deps = dependencies(source)
    paths = {
        "PYTHONPATH": [str(deps), str(source), base],
        "PATH": [str(deps / "bin"), str(Path(sys.executable).parent)],
    }
    return Installed({"FLAME_PYTHON_VERSION": version}, paths)


def unpacked(app: str, installer: str, url: str, data_dir: Path) -> Path:
    """The unpacked package; a known content is not unpacked again."""
    archive = fetch(url)
    digest = hashlib.sha256(f"{installer}\0{url}\0".encode() + archive.read_bytes()).hexdigest()
    release = data_dir / "apps" / app / "releases" / digest
    release.mkdir(parents=True, exist_ok=True, mode=0o700)
    source = release / "src"
    with (release / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # executors start together: one unpacks, the others wait
        if not source.is_dir():
            partial = release / "src.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            extract(archive, partial)
            partial.rename(source)
    return source


def fetch(url: str) -> Path:
    parts = urlparse(url)
    if parts.scheme != "file":
        raise Unimplemented(f"packages by {parts.scheme or 'no'}:// cannot be fetched yet", hint="use a file:// url")
    path = Path(unquote(parts.path))
    if not path.is_file():
        raise InvalidArgument(f"there is no package {url}")
    return path


def extract(archive: Path, target: Path) -> None:
    """Never outside of `target`. (Extraction filters came with Python 3.11.4; Debian 12 has 3.11.2.)"""
    try:
        if archive.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(archive) as tar:
                for member in tar:
                    _extract_member(tar, member, target)
        elif archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(target)  # drops what leads outside from paths
        else:
            raise InvalidArgument(f"package {archive.name} is neither .tar.gz, .tgz nor .zip")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InvalidArgument(f"package {archive.name} cannot be unpacked: {error}") from error


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    path = target / member.name
    if not path.resolve().is_relative_to(target.resolve()):
        raise InvalidArgument(f"the package's {member.name!r} leads outside")
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        raise InvalidArgument(f"the package's {member.name!r} is neither a file nor a directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.read())
    path.chmod(stat.S_IMODE(member.mode) | stat.S_IRUSR)


def dependencies(source: Path) -> Path:
    """The project, built and installed beside its source, once."""
    if not any((source / name).is_file() for name in PROJECT):
        raise InvalidArgument(f"a Python package needs {', '.join(PROJECT[:-1])} or {PROJECT[-1]} at its root")
    deps = source.parent / "deps"
    with (source.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not deps.is_dir():
            partial = source.parent / "deps.partial"
            shutil.rmtree(partial, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
            done = subprocess.run(
                [*command, "--target", str(partial), str(source)],
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
                env=dict(os.environ, PIP_CACHE_DIR=str(source.parents[4] / "cache" / "pip")),
            )
            if done.returncode:
                last = (done.stderr.strip() or "pip failed").splitlines()[-1]
                raise InvalidArgument(f"application installation failed: {last}")
            partial.mkdir(exist_ok=True)
            partial.rename(deps)
    return deps
