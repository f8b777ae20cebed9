"""Where chaos happens: three arrangements of real processes, each in a directory of its own.

one        one machine, SQLite with durability `power`, its data directory on a small tmpfs
hosts      a control plane and two nodes on network namespaces, TLS between them, clients on a host of their own
postgres   two heads over one database: one leads, the other stands by; clients know both
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
from chaos.clients import APP, Order
from chaos.clocks import Clocks
from hosts.net import Host, Network
from hosts.net import possible as namespaces_possible

import flame
from flame.ops.paths import RunFile
from flame.testing.cluster import LocalCluster
from flame.testing.postgres import PostgresServer

TESTS = Path(__file__).resolve().parents[1]
DISK = "512m"
GROUPS = Path("/sys/fs/cgroup")
READY = 60.0
"""Seconds in which everything must be well again when nothing is broken any more."""


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def below(folder: Path, files: bool = True) -> Iterator[Path]:
    """Everything in it, also while it changes."""
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent) / name for name in [*folders, *(names if files else ())])


class World:
    """What all arrangements share. `missing`: what cannot be done here, and why."""

    name = ""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.missing: list[str] = []
        self.clocks = Clocks(self.root)
        if self.clocks.why_not:
            self.missing.append(f"clock jumps: {self.clocks.why_not}")
        self.repairs: list[threading.Thread] = []
        #: pids of all that were seen
        self.agents: set[int] = set()
        for folder in ("tmp", "run", "home"):
            (self.root / folder).mkdir(mode=0o700)
        self._mounts: list[Path] = []

    # -- to be said by each --------------------------------------------------------------------------------------------

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def target(self) -> dict[str, str]:
        """Words of `flame.connect`."""
        raise NotImplementedError

    def runs(self) -> dict[str, RunFile | None]:
        """What runs, by the name of its machine."""
        raise NotImplementedError

    def watched(self) -> list[Path]:
        """Directories in which nothing may be left behind."""
        raise NotImplementedError

    def logs(self) -> list[Path]:
        return [path for path in self.root.rglob("logs") if path.is_dir()]

    # -- for all -------------------------------------------------------------------------------------------------------

    @property
    def own(self) -> dict[str, str]:
        """The environment of the engine's processes."""
        return self.clocks.environment | {
            "TMPDIR": str(self.root / "tmp"), "XDG_RUNTIME_DIR": str(self.root / "run"), "HOME": str(self.root / "home"),
        }  # fmt: skip

    def connect(self) -> flame.Client:
        return flame.connect(**self.target())  # type: ignore[arg-type]

    def prepare(self) -> None:
        """Register the application, run something on every node, and wait for quiet."""
        with self.connect() as client:
            client.register(APP, service="chaos.service:Echo", path=str(TESTS), if_absent=True)

    def client(self, order: Order) -> subprocess.Popen[bytes]:
        import msgspec

        words = [*self.prefix(), sys.executable, "-m", "chaos.clients", msgspec.json.encode(order).decode()]
        env = os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}", "HOME": str(self.root / "home")}
        with (self.root / "clients.log").open("ab") as log:
            return subprocess.Popen(words, env=env, stdout=log, stderr=log)

    def prefix(self) -> list[str]:
        return []

    def processes(self) -> dict[psutil.Process, tuple[str, str]]:
        """Every process of the engine: (machine, role)."""
        found = {}
        for machine, run in self.runs().items():
            if run is None:
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                top = psutil.Process(run.pids["supervisor"])
                for process in [top, *top.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        found[process] = (machine, _role(process))
                        if found[process][1] == "agent":
                            self.agents.add(process.pid)
        return found

    def victims(self, role: str) -> list[psutil.Process]:
        return sorted((p for p, (_, is_a) in self.processes().items() if is_a == role), key=lambda p: p.pid)

    def well(self) -> str:
        """ "" when everything is as it should be, else what is not."""
        for machine, run in self.runs().items():
            if run is None or not run.alive:
                return f"{machine} does not run"
        try:
            with self.connect() as client:
                status = client.status()
                nodes = {node.name: node.state for node in client.list_nodes()}
        except flame.FlameError as error:
            return f"{type(error).__name__}: {error}"
        if status.storage != "ok" or not status.allocator:
            return f"storage {status.storage!r}, allocator {status.allocator}"
        return "" if set(nodes.values()) == {1} else f"nodes {nodes}"

    def heal(self) -> str:
        """Wait until everything is well; "" or what is still wrong after READY seconds."""
        for repair in self.repairs:
            repair.join(READY)
        self.repairs = [repair for repair in self.repairs if repair.is_alive()]
        if self.repairs:
            return f"{[repair.name for repair in self.repairs]} did not come back"
        deadline = time.monotonic() + READY
        while (trouble := self.well()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return trouble

    def leftovers(self) -> Counter[str]:
        """Entries of each watched directory; control groups of executors, and of agents that have ended."""
        found = Counter({str(folder): sum(1 for _ in below(folder)) for folder in self.watched()})
        found["control groups"] = sum(1 for _ in self._groups())
        return found

    def _groups(self) -> Iterator[Path]:
        for path in below(GROUPS, files=False):
            for group, gone in ((path, True), (path.parent, False)):
                pid = _engine(group)
                if pid in self.agents and psutil.pid_exists(pid) != gone:
                    yield path

    def mount(self, path: Path) -> bool:
        """A small disk of its own there. False where that cannot be done."""
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", path], capture_output=True, text=True
        )
        if done.returncode:
            self.missing.append(f"full disks: {done.stderr.strip()}")
            return False
        self._mounts.append(path)
        return True

    @property
    def disks(self) -> list[Path]:
        return self._mounts

    def close(self) -> None:
        self.stop()
        for path in self._mounts:
            subprocess.run(["umount", "-l", path], capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


def _engine(group: Path) -> int:
    """The process that made this control group; 0: none of ours."""
    words = group.name.split("-")
    return int(words[2]) if len(words) == 4 and words[0] == "flame" and words[2].isdecimal() else 0


def _role(process: psutil.Process) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process.pid}/comm").read_text().strip().removeprefix("flame-")
    return "?"


class One(World):
    name = "one"

    def start(self) -> None:
        disk = self.root / "disk"
        self.mount(disk)
        self.cluster = LocalCluster(disk / "data", durability="power", delay_release=1.0, compact_rows=1000)
        with environment(self.own):
            self.cluster.start()
        self.prepare()

    def stop(self) -> None:
        self.cluster.stop()

    def target(self) -> dict[str, str]:
        return {"endpoint": self.cluster.run.endpoint}

    def runs(self) -> dict[str, RunFile | None]:
        return {"one": RunFile.read(self.cluster.data_dir / "run.json")}

    def watched(self) -> list[Path]:
        return [self.cluster.data_dir / "work", self.root / "tmp", self.root / "run"]


class Postgres(World):
    name = "postgres"

    def start(self) -> None:
        self.server = PostgresServer().start()
        storage = self.server.make_database()
        self.heads = {
            "first": LocalCluster(
                self.root / "first", durability="power", delay_release=1.0, storage=storage, node="first"
            ),
            "second": LocalCluster(
                self.root / "second",
                durability="power",
                delay_release=1.0,
                storage=storage,
                node="second",
                standby=True,
            ),
        }
        with environment(self.own):
            for head in self.heads.values():
                head.start()
        self._endpoint = ",".join(head.run.endpoint for head in self.heads.values())
        self.prepare()

    def stop(self) -> None:
        for head in self.heads.values():
            head.stop()
        self.server.close()

    def target(self) -> dict[str, str]:
        return {"endpoint": self._endpoint}

    def runs(self) -> dict[str, RunFile | None]:
        return {name: RunFile.read(head.data_dir / "run.json") for name, head in self.heads.items()}

    def watched(self) -> list[Path]:
        return [*(head.data_dir / "work" for head in self.heads.values()), self.root / "tmp", self.root / "run"]

    def down(self, name: str) -> None:
        """A whole head is gone at once; its supervisor first, so that nothing is started again."""
        run = self.heads[name].run
        for pid in [run.pids["supervisor"], *run.pids.values()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def up(self, name: str) -> None:
        """It comes back, and stands by if the other leads."""
        head = self.heads[name]
        head.stop()
        head._options["standby"] = True
        with environment(self.own):
            head.start()


class Hosts(World):
    name = "hosts"
    port = 8080

    def start(self) -> None:
        self.net = Network()
        self.net.__enter__()
        self.main, self.clients_at = self.net.host("m", relay=True), self.net.host("k", relay=True)
        self.nodes: dict[str, Host] = {}
        self.data = self.main.home / "data"
        config = self.main.home / "flame-cluster.yaml"
        config.write_text("cluster:\n  delay_release: 1.0\n")
        self.mount(self.main.home / "data")
        self.main.run(
            "flame", "up", "--detach", "--config", config, "--data-dir", self.data, "--name", "main", "--cpus", 2,
            "--listen", self.main.address, **self.clocks.environment,
        )  # fmt: skip
        for name in ("b", "c"):
            self._join(name)
        self.prepare()

    def _join(self, name: str) -> None:
        host = self.nodes[name] = self.net.host(name, relay=True)
        said = self.main.run("flame", "token", "create", name, "--role", "join", "--data-dir", self.data).stdout
        line = next(text for text in said.splitlines() if text.strip().startswith("flame agent join")).split()
        host.run(*line, *self._node(name), **self.clocks.environment)

    def _node(self, name: str) -> list[object]:
        return ["--name", name, "--cpus", 2, "--data-dir", self.nodes[name].home / "node", "--detach"]

    def rejoin(self, name: str) -> None:
        """Its certificate lets it in. The control plane may be away just now."""
        words = [
            "flame",
            "agent",
            "join",
            self.target()["endpoint"],
            "--ca-file",
            self.target()["ca_file"],
            *self._node(name),
        ]
        deadline = time.monotonic() + READY
        while self.nodes[name].run(*words, code=None, **self.clocks.environment).returncode:
            if time.monotonic() > deadline:
                return  # `well` says so
            time.sleep(0.5)

    @property
    def machines(self) -> dict[str, Host]:
        return {"main": self.main, "clients": self.clients_at, **self.nodes}

    def stop(self) -> None:
        self.net.__exit__(None)

    def prefix(self) -> list[str]:
        return self.clients_at.command()

    def target(self) -> dict[str, str]:
        return {
            "endpoint": f"tls://{self.main.address}:{self.port}",
            "token": (self.data / "token").read_text().strip(), "ca_file": str(self.data / "certs" / "ca.pem"),
        }  # fmt: skip

    def runs(self) -> dict[str, RunFile | None]:
        joined = {name: RunFile.read(host.home / "node" / "run.json") for name, host in self.nodes.items()}
        return {"main": RunFile.read(self.data / "run.json"), **joined}

    def watched(self) -> list[Path]:
        work = [self.data / "work", *(host.home / "node" / "work" for host in self.nodes.values())]
        return work + [host.home / "flame" for host in (self.main, *self.nodes.values())]

    def logs(self) -> list[Path]:
        return [self.data / "logs", *(host.home / "node" / "logs" for host in self.nodes.values())]


WORLDS: dict[str, type[World]] = {"one": One, "hosts": Hosts, "postgres": Postgres}


def why_not(name: str) -> str:
    """Why an arrangement cannot be made here, or ""."""
    return namespaces_possible() if name == "hosts" else ""
