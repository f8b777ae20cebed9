"""Hosts that are network namespaces: a bridge, a virtual cable to each, and a relay for cables that are slow or lose packets.

    with Network() as net:
        a, b = net.host("a"), net.host("b", relay=True)
        b.cut(); b.heal(); b.relay.loss = 0.02

Needs root and Linux. Unix sockets and files are shared by all (only the network is apart), so every host has a runtime directory of
its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent
_numbers = itertools.count(1)
_TUNSETIFF, _TAP, _NO_HEADER = 0x400454CA, 0x0002, 0x1000


def ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, text=True, timeout=20)


def possible() -> str:
    """Why it cannot be done here, or "" when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"flame-probe-{os.getpid()}"  # several test processes look at the same time
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"no network namespace can be made: {done.stderr.strip()}"
    ip("netns", "del", name)
    return ""


class Relay(threading.Thread):
    """Carries frames between two taps. delay: seconds each way; loss: fraction of frames dropped; both may change at any time."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(name=f"relay-{left}", daemon=True)
        self.delay, self.loss = 0.0, 0.0
        self.carried = 0
        self._fds = (_tap(left), _tap(right))
        self._wake, self._woken = os.pipe()
        self._dice = random.Random(7)

    def run(self) -> None:
        left, right = self._fds
        waiting: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        while True:
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            ready = select.select((left, right, self._wake), (), (), pause)[0]
            if self._wake in ready:
                return
            for fd in ready:
                data = os.read(fd, 65536)
                if self._dice.random() >= self.loss:
                    heapq.heappush(
                        waiting, (time.monotonic() + self.delay, next(order), right if fd == left else left, data)
                    )
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, fd, data = heapq.heappop(waiting)
                with contextlib.suppress(OSError):
                    os.write(fd, data)
                    self.carried += 1

    def stop(self) -> None:
        os.write(self._woken, b"x")
        self.join(5)
        for fd in (*self._fds, self._wake, self._woken):
            os.close(fd)


def _tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _TAP | _NO_HEADER))
    os.set_blocking(fd, True)
    return fd


class Host:
    """A namespace with one address. `home` is its own: ~/.flame, runtime directory, data."""

    def __init__(self, net: Network, name: str, number: int, relay: bool) -> None:
        self.net, self.name = net, name
        self.space = f"fl{net.number}-{name}"
        self.address = f"10.{net.subnet}.{number}"
        self.home = Path(tempfile.mkdtemp(prefix=f"flame-{name}-"))
        self.cable = f"f{net.number}{name}x"
        inner = f"f{net.number}{name}i"
        self.relay: Relay | None = None
        ip("netns", "add", self.space)
        if relay:
            self.relay = Relay(self.cable, inner)
            self.relay.start()
        else:
            ip("link", "add", self.cable, "type", "veth", "peer", "name", inner)
        ip("link", "set", inner, "netns", self.space)
        ip("link", "set", self.cable, "master", net.bridge, "up")
        self._ip("addr", "add", f"{self.address}/24", "dev", inner)
        self._ip("link", "set", inner, "up")
        self._ip("link", "set", "lo", "up")

    def _ip(self, *words: object) -> None:
        ip("-n", self.space, *words)

    def cut(self) -> None:
        """The cable is pulled: packets go nowhere, nobody is told."""
        ip("link", "set", self.cable, "nomaster")

    def heal(self) -> None:
        ip("link", "set", self.cable, "master", self.net.bridge)

    def command(self, *words: object) -> list[str]:
        return ["ip", "netns", "exec", self.space, *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
        return kept | {
            "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), "NO_COLOR": "1", "PATH": f"{BIN}:{os.environ['PATH']}",
        }  # fmt: skip

    def run(
        self, *words: object, code: int | None = 0, timeout: float = 60, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there; `code` None: it may end as it likes."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment | more,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert code is None or done.returncode == code, (words, done)
        return done

    def logs(self) -> str:
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in self.home.rglob("logs/*.log"))

    def close(self) -> None:
        for pid in subprocess.run(["ip", "netns", "pids", self.space], capture_output=True, text=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        if self.relay is not None:
            self.relay.stop()
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.cable], capture_output=True, check=False)
        shutil.rmtree(self.home, ignore_errors=True)


def _subnets() -> Iterator[str]:
    """Those of this process first: several test processes make networks at the same time."""
    return (f"{77 + (os.getpid() + turn) % 100}.{next(_numbers) % 250}" for turn in range(100))


def _taken(address: str) -> bool:
    """Is it an address of this machine? A test process that was killed leaves its bridge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
        return True


class Network:
    """A bridge that this process is on, too, at `.254`."""

    def __init__(self) -> None:
        self.number = f"{os.getpid() % 1000}{next(_numbers)}"
        self.subnet = next(s for s in _subnets() if not _taken(f"10.{s}.254"))
        self.bridge = f"fb{self.number}"
        self.address = f"10.{self.subnet}.254"
        self.hosts: list[Host] = []

    def host(self, name: str, *, relay: bool = False) -> Host:
        made = Host(self, name, len(self.hosts) + 1, relay)
        self.hosts.append(made)
        return made

    def __enter__(self) -> Network:
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.address}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for host in self.hosts:
            if kind is not None:
                print(f"===== host {host.name}\n{host.logs()}")
            host.close()
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, check=False)
