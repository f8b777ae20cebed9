"""An installation: one directory, the *prefix*, with everything a machine needs for its part in a cluster.

    bin/      commands            lib/pythonX.Y/site-packages   the engine and what it needs, copied: nothing is downloaded
    sbin/     flmenv.sh, keeper   conf/flame-cluster.yaml, install.json   what was asked for
    data/     journals, tokens, certificates (0700)             work/   the node's     logs/

What is done is first a list of steps, which `--dry-run` prints and `apply` carries out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from flame.core.base.errors import FlameError, InvalidArgument, NotFound, Unimplemented
from flame.ops.paths import write_private
from flame.version import __version__

DIRECTORIES = (
    "bin",
    "sbin",
    "lib",
    "examples",
    "wheels",
    "work/sessions",
    "work/executors",
    "logs",
    "conf",
    "data/cache",
    "data/packages",
)
CONTROL, WORKER, CACHE, CLIENT = "control-plane", "worker", "cache", "client"
COMMANDS = {
    CONTROL: ("flame", "flmctl", "flmadm"),
    WORKER: ("flame",),
    CACHE: ("flame",),
    CLIENT: ("flame", "flmctl", "flmping", "flmexec"),
}
"""What each profile has in `bin`."""
SYSTEM = Path("/usr/local/flame")
_DISTRIBUTION = "flame-engine"
_EXTRAS = ("tls", "postgres", "sandbox")
"""Extras that are copied when they are installed here."""


@dataclass(frozen=True)
class Wanted:
    """What was asked for; kept in `conf/install.json`. join, ca_hash: of a worker, where its control plane is."""

    prefix: str
    profiles: tuple[str, ...]
    listen: str | None = None
    join: str | None = None
    ca_hash: str | None = None
    node: str | None = None
    systemd: bool = False
    source: str | None = None
    release: str = __version__

    @property
    def root(self) -> Path:
        return Path(self.prefix)


@dataclass(frozen=True)
class Step:
    says: str
    does: Callable[[], None] = field(repr=False)


def check(wanted: Wanted) -> None:
    """Raises InvalidArgument, PermissionDenied or Unimplemented for what cannot be, before anything is done."""
    if not wanted.profiles:
        raise InvalidArgument("nothing to install", hint="--all, or some of --control-plane --worker --client")
    if not wanted.root.is_absolute():
        raise InvalidArgument(f"--prefix {wanted.prefix} is not absolute")
    if CACHE in wanted.profiles:
        raise Unimplemented("the object cache is not part of this release", hint="leave --cache out")
    if WORKER in wanted.profiles and CONTROL not in wanted.profiles and not wanted.join:
        raise InvalidArgument(
            "a worker needs a control plane",
            hint="--join tls://HOST:PORT (and --token, --ca-hash), or --control-plane, too",
        )
    if wanted.source is not None and not (Path(wanted.source) / "src" / "flame" / "__init__.py").exists():
        raise NotFound(f"--src-dir {wanted.source} is no checkout: it has no src/flame")


def read(prefix: Path) -> Wanted:
    """What is installed there. Raises NotFound."""
    path = prefix / "conf" / "install.json"
    try:
        found = json.loads(path.read_text())
        return Wanted(**(found | {"profiles": tuple(found["profiles"])}))
    except OSError:
        raise NotFound(f"nothing is installed in {prefix}", hint="flmadm install") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidArgument(f"{path} is damaged: {error}") from None


def steps(wanted: Wanted) -> list[Step]:
    """Everything but services, in order."""
    root = wanted.root
    site = root / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    found = [Step(f"make {root} with {', '.join(DIRECTORIES)}", lambda: _directories(root))]
    found.append(Step(f"copy the engine and what it needs to {site}", lambda: _copy_engine(site, wanted.source)))
    for name in dict.fromkeys(name for profile in wanted.profiles for name in COMMANDS[profile]):
        found.append(Step(f"write {root / 'bin' / name}", lambda name=name: _command(root, site, name)))  # type: ignore[misc]
    found.append(Step(f"write {root / 'sbin' / 'flmenv.sh'}", lambda: _environment(root)))
    conf = root / "conf" / "flame-cluster.yaml"
    if CONTROL in wanted.profiles and not conf.exists():
        found.append(Step(f"write {conf}", lambda: _configuration(conf, wanted)))
    if wanted.source is not None:
        found.append(Step("copy the examples", lambda: _examples(root, Path(str(wanted.source)))))
    note = root / "conf" / "install.json"
    found.append(Step(f"write {note}", lambda: write_private(note, json.dumps(asdict(wanted), indent=2) + "\n")))
    return found


def apply(todo: Sequence[Step], tell: Callable[[str], None]) -> None:
    for step in todo:
        tell(step.says)
        step.does()


# -- the steps ----------------------------------------------------------------------------------------------------------------


def _directories(root: Path) -> None:
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("data", "work"):
        (root / name).chmod(0o700)


def _copy_engine(site: Path, source: str | None) -> None:
    """Files of the distributions that are installed here; the engine itself from `source` when that is given."""
    if site.exists():
        shutil.rmtree(site)
    site.mkdir(parents=True)
    for name in _closure():
        _copy_distribution(metadata.distribution(name), site)
    engine = Path(source) / "src" / "flame" if source else Path(__file__).parents[1]
    shutil.copytree(engine, site / "flame", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def _closure() -> list[str]:
    """Names of every distribution that the engine needs and that is here. What has a marker may be for other machines, and missing."""
    found: dict[str, None] = {}
    todo = list(metadata.requires(_DISTRIBUTION) or ())
    while todo:
        text, _, marker = todo.pop().partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)", marker)
        if extra and extra[1] not in _EXTRAS:
            continue
        name = re.split(r"[^\w.-]", text.strip())[0].lower().replace("_", "-")
        if name == _DISTRIBUTION or name in found:
            continue
        try:
            more = metadata.requires(name)
        except metadata.PackageNotFoundError:
            if marker:
                continue
            raise NotFound(f"{name} is not installed here, and the engine needs it") from None
        found[name] = None
        todo += [line for line in more or () if "extra ==" not in line]
    return list(found)


def _copy_distribution(what: metadata.Distribution, site: Path) -> None:
    for path in what.files or ():
        if ".." in path.parts or "__pycache__" in path.parts:  # scripts: ours are written by us
            continue
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(str(path.locate()), target)


def _command(root: Path, site: Path, name: str) -> None:
    """Starts the interpreter that installed it, with the copied packages and nothing else of the user's."""
    path = root / "bin" / name
    python = os.path.realpath(sys.executable)
    text = f'#!/bin/sh\nexec env PYTHONPATH="{site}" PYTHONNOUSERSITE=1 "{python}" -m flame.cli.{name} "$@"\n'
    path.write_text(text)
    path.chmod(0o755)


def _environment(root: Path) -> None:
    (root / "sbin" / "flmenv.sh").write_text(
        f'# source this: the commands of {root} come first\nexport FLAME_HOME="{root}"\nexport PATH="{root}/bin:{root}/sbin:$PATH"\n'
    )


def _configuration(path: Path, wanted: Wanted) -> None:
    listen = (
        f"  listen: {wanted.listen}\n"
        if wanted.listen
        else "  # listen: 10.0.0.1        # TLS and tokens for other machines\n"
    )
    node = f"  with_node: {'true' if WORKER in wanted.profiles else 'false'}\n"
    path.write_text(
        f"# Settings of the cluster; `flmadm config` reads and changes them.\ncluster:\n  name: flame\n{listen}{node}"
    )


def _examples(root: Path, source: Path) -> None:
    if (source / "examples").is_dir():
        shutil.copytree(
            source / "examples",
            root / "examples",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "bin", "target"),
        )


def refuse_odd_prefix(prefix: Path) -> None:
    """What `uninstall` will not remove. Raises InvalidArgument."""
    if "flame" not in str(prefix).lower() or prefix in (
        Path("/"),
        Path.home(),
        Path("/usr"),
        Path("/usr/local"),
        Path("/opt"),
    ):
        raise InvalidArgument(
            f"{prefix} does not look like an installation of Flame", hint="its path has `flame` in it"
        )
    if not prefix.is_absolute():
        raise InvalidArgument(f"--prefix {prefix} is not absolute")


def remove(prefix: Path, keep: Sequence[str], backup: Path | None) -> None:
    """Everything but `keep` (names at the top), after a copy to `backup`. Raises FlameError when that cannot be made."""
    if backup is not None:
        if backup.exists():
            raise FlameError(f"{backup} exists", hint="--backup-dir names another place")
        shutil.copytree(prefix, backup, symlinks=True, ignore=shutil.ignore_patterns("lib", "*.sock"))
    for path in prefix.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if not any(prefix.iterdir()):
        prefix.rmdir()
