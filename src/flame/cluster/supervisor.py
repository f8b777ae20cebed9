"""The supervisor: forks allocator, manager and agent, forks again what dies, keeps run.json true.

It has no event loop and no thread, so that it may fork at any time; it imports what its children need once, before the first fork. The
listening sockets are its own: a connection made while a process restarts waits in the backlog instead of failing.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flame.agent import confinement, sandbox, zygote
from flame.cluster import children
from flame.cluster.gateways import beyond, door
from flame.cluster.listening import ensure_certificates, listening, loopback, public, reached
from flame.core.base.errors import BY_CODE, DataDirLocked, Fenced, FlameError, InvalidArgument
from flame.core.model.access import PREFIX
from flame.ops.config import ClusterConfig
from flame.ops.gateway import Door
from flame.ops.isolation import isolation
from flame.ops.paths import RunFile, default_file, socket_dir, write_private
from flame.platform.death import die_with_parent, held_back, name_process
from flame.shell.address import Address, edge_socket, listen
from flame.shell.candidacy import led_at
from flame.shell.gate import UNIX, Gate
from flame.shell.listener import PORTS, Public
from flame.store.directory import hold_lock, refuse_network
from flame.store.pglink import shown

if TYPE_CHECKING:
    from flame.security.oidc import Issuer

MAX_RESTARTS = 20
"""Of one process within RESTART_WINDOW seconds; then the supervisor gives up."""
RESTART_WINDOW = 30.0
COME_AGAIN = 0.5
"""Seconds until a process is started again whose trouble passes by itself: a full disk, a database that is away."""
REWRITE = 0.25
"""Seconds between attempts to write a run file that could not be written."""


@dataclass
class Child:
    name: str
    start: Callable[[], NoReturn]
    pid: int = 0
    deaths: list[float] = field(default_factory=list)
    ready: bool = False
    waits: bool = False
    """It stands by."""
    proven: bool = False
    """It was ready once, in this process or an earlier one."""
    excused: bool = False
    """It ended for a trouble that passes."""


class Supervisor:
    """`run` returns when the cluster has ended. `client`: a descriptor whose end means the end of a private cluster. `report`: where the
    first outcome goes, one JSON line: the run file, or the error."""

    def __init__(self, config: ClusterConfig, client: int | None = None, report: int | None = None) -> None:
        self.config, self.client, self.report = config, client, report
        #: is it "the cluster running here", which commands find by themselves?
        self.is_default = not config.private
        self.children: dict[str, Child] = {}
        self.stopping = False
        self.failure = ""
        self.public: Public | None = None
        self.compat: str | None = None
        self.gateway: str | None = None
        self.epoch = 0
        self._lock: int | None = None
        self._status, self._tell = os.pipe()
        self._wake, self._woken = os.pipe()
        for fd in (self._status, self._wake, self._woken):
            os.set_blocking(fd, False)
        self._buffer = b""
        #: the run file is older than what runs
        self._late = False

    # -- life ------------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        try:
            try:
                self._refuse_policy()
                self._prepare()
            except OSError as error:
                text = f"cannot start in {self.config.data_dir}: {error.strerror or error} ({error.filename})"
                raise InvalidArgument(text, hint="--data-dir chooses another place") from error
        except FlameError as error:
            self._say({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
            raise
        try:
            for child in self.children.values():
                self._fork(child)
            self._watch()
        finally:
            self._stop()
        if self.failure:
            self._say({"error": json.loads(self.failure)})
            found = json.loads(self.failure)
            raise BY_CODE.get(found["code"], FlameError)(found["message"], hint=found["hint"])
        return 0

    def _take_directory(self) -> None:
        """Raises DataDirLocked, StorageRefused."""
        directory = self.config.data_dir
        os.umask(0o077)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_network(directory)
        self._lock = hold_lock(directory / "up.lock")
        if self._lock is None:
            raise DataDirLocked(
                f"a cluster is running in {directory}", hint="`flame down` stops it; --data-dir chooses another place"
            )

    def _take_signals(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def _refuse_policy(self) -> None:
        """Raises InvalidArgument: executors could not run here as they are to."""
        policy = isolation(self.config.isolation, self.config.private)
        sandbox.refuse(policy.runtime, policy.namespaces)

    def _prepare(self) -> None:
        config = self.config
        if config.compat and config.managers > 1:
            raise InvalidArgument(
                f"--compat-listener with {config.managers} session managers",
                hint="published clients know one session manager only",
            )
        if config.standby and not config.storage:
            raise InvalidArgument("--standby without a shared database", hint="--storage postgresql://... beside it")
        self._take_directory()
        self.token_file = config.data_dir / "token"
        if not self.token_file.exists():
            write_private(self.token_file, PREFIX + secrets.token_urlsafe(32) + "\n")
        token = self.token_file.read_text().strip()
        gate = Gate(None, token, self._issuer())
        self.tcp: str | None = None
        tcp = self._listen(gate)
        sockets = socket_dir(config.data_dir)
        planes = [Address(path=str(sockets / _socket_name(shard))) for shard in range(config.managers)]
        alloc = Address(path=str(sockets / "alloc.sock"))
        self.endpoint = planes[0]
        self._take_signals()
        if config.with_node:
            self._add("agent", lambda: self._agent(self._led(alloc)))
        entrance = door(config)
        shards = tuple(self._reached(shard, plane) for shard, plane in enumerate(planes)) if config.managers > 1 else ()
        for shard, plane in enumerate(planes):
            listeners = [(listen(plane), UNIX), (listen(sandbox.inner_socket(plane)), Gate())]
            listeners += tcp if not shard else []
            listeners += [(listen(edge_socket(plane)), gate)] if entrance else []
            self._add_manager(shard, plane, alloc, listeners, shards, gate)
        alloc_listener = listen(alloc)
        self._add("allocator", lambda: self._live("allocator", lambda: children.allocator(
            config, listener=alloc_listener, public=self.public, reached=beyond(self.public, entrance), address=str(alloc),
            may_wait=self._may_wait("allocator"), waits=lambda: self._note(waits="allocator"),
            ready=lambda epoch: self._note(ready="allocator"),
        )))  # fmt: skip
        if entrance is not None:
            self._add_gateways(entrance, edge_socket(planes[0]), token)

    def _listen(self, gate: Gate) -> list[tuple[socket.socket, Gate]]:
        """Beyond the unix sockets: plain TCP on loopback, TLS everywhere (which the processes serve themselves)."""
        config = self.config
        if config.compat and loopback(config.compat, "--compat-listener").tls:
            ensure_certificates(config.data_dir / "certs", [], config.node)
        if not config.listen:
            return []
        asked = listening(config.listen)
        if not asked.tls:
            return [(self._tcp(asked), gate)]
        self.public = public(config, asked)
        self.tcp = str(self.public.advertised())
        return []

    def _of_shard(self, shard: int) -> Public | None:
        return None if self.public is None else replace(self.public, port=self.public.port + shard * PORTS)

    def _reached(self, shard: int, plane: Address) -> str:
        """Where clients reach a session manager."""
        where = self._of_shard(shard)
        return str(plane) if where is None else f"{plane},{where.advertised()}"

    def _add_manager(
        self, shard: int, plane: Address, alloc: Address, listeners: list[tuple[socket.socket, Gate]], shards: tuple[str, ...],
        gate: Gate,
    ) -> None:  # fmt: skip
        name = f"manager-{shard}" if shard else "manager"
        self._add(name, lambda: self._live(name, lambda: children.manager(
            self.config, address=plane, allocator=alloc, listeners=listeners, compat=self._compat_at(), release=release(),
            public=self._of_shard(shard), gate=gate, shard=shard, shards=shards, may_wait=self._may_wait(name),
            waits=lambda: self._note(waits=name), ready=lambda epoch, at: self._note(ready=name, epoch=epoch, compat=at),
        )))  # fmt: skip

    def _add_gateways(self, entrance: Door, edge: Address, token: str) -> None:
        """All of them accept from one socket."""
        self.gateway = entrance.url

        def add(name: str) -> None:
            self._add(name, lambda: self._live(name, lambda: children.gateway(
                self.config, door=entrance, edge=edge, token=token, ready=lambda: self._note(ready=name),
            )))  # fmt: skip

        for number in range(entrance.options.replicas):
            add(f"gateway-{number}" if number else "gateway")

    def _may_wait(self, name: str) -> bool:
        """A process that was deposed stands by; at the first start that has to be asked for."""
        return self.config.standby or self.children[name].proven

    def _led(self, alloc: Address) -> Any:
        """Where agents find the allocator: ours; with a shared database whichever leads."""
        storage = self.config.storage
        return (alloc,) if storage is None else lambda: led_at(storage, "allocator")

    def _issuer(self) -> Issuer | None:
        if self.config.issuer is None:
            return None
        from flame.security.oidc import Issuer

        given = dict(self.config.issuer)
        ca_file = given.pop("ca_file", None)
        url, audience = given.pop("url"), given.pop("audience")
        return Issuer(url, audience, ca_file=Path(ca_file) if ca_file else None, **given)  # type: ignore[arg-type]

    def _compat_at(self) -> Address | None:
        """Where the compat listener listens: once a port was found, a restarted manager takes the same."""
        if self.config.compat is None:
            return None
        asked = loopback(self.config.compat, "--compat-listener")
        found = loopback(self.compat, "--compat-listener") if self.compat else asked
        return Address(host=found.host, port=found.port, tls=asked.tls)

    def _tcp(self, address: Address) -> socket.socket:
        sock = listen(address)
        host, port = sock.getsockname()[:2]
        self.tcp = str(Address(host=host, port=port))
        return sock

    def _add(self, name: str, start: Callable[[], Any]) -> None:
        self.children[name] = Child(name, start)

    def _live(self, name: str, make: Callable[[], children.Process]) -> NoReturn:
        children.live(name, self.config, make, lambda text: self._note(failed=text, by=name))

    def _agent(self, allocators: Any, endpoints: tuple[Address, ...] = ()) -> NoReturn:
        """The zygote is forked first, while this process has neither loop nor thread."""
        children.log_to(self.config.data_dir / "logs", "agent")
        slots = self.config.cpus or max(4, os.cpu_count() or 1)
        with held_back(signal.SIGTERM):  # the zygote clears up behind it, from here on
            ground = confinement.prepare(self.config)
            _, sock = zygote.spawn(min(8, max(1, int(slots))), ground)
        self._live("agent", lambda: children.agent(
            self.config, sock, allocators, endpoints, ground, address=reached(self.public),
        ))  # fmt: skip

    def _asked_to_stop(self, *_: object) -> None:
        self.stopping = True

    # -- children --------------------------------------------------------------------------------------------------------

    def _fork(self, child: Child) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            child.pid = pid
            child.ready = False
            return
        try:
            die_with_parent(parent)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.close(self._status)
            for fd in (self.client, self.report):
                if fd is not None:
                    os.close(fd)
            name_process(f"flame-{child.name}")
            child.start()
        finally:
            os._exit(1)

    def _note(self, **what: Any) -> None:
        """From a child: one line to the supervisor."""
        with contextlib.suppress(OSError):
            os.write(self._tell, json.dumps(what).encode() + b"\n")

    def _watch(self) -> None:
        fds = [self._status, self._wake] + ([self.client] if self.client is not None else [])
        while not self.stopping:
            ready = select.select(fds, (), (), REWRITE if self._late else None)[0]
            if self._late:
                self._write_run()
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            if self._status in ready:
                self._read_notes()
            if self.client in ready and not os.read(self.client, 1):
                self.stopping = True
            if not self.stopping:
                self._reap()

    def _read_notes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._buffer += os.read(self._status, 65536)
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            note = json.loads(line)
            if "failed" in note:
                failed, code = self.children[note["by"]], json.loads(note["failed"])["code"]
                if self._is_final(failed, code):
                    self.failure, self.stopping = note["failed"], True
                failed.excused = BY_CODE.get(code, FlameError).retryable
                continue
            child = self.children[note.get("ready") or note["waits"]]
            child.ready = child.proven = True
            child.waits = "waits" in note
            self.epoch = note.get("epoch", self.epoch)
            self.compat = note.get("compat") or self.compat
            self._write_run()

    def _is_final(self, child: Child, code: str) -> bool:
        """Would it help to start it again? Not when it never could, nor against another cluster that took the store."""
        if self.report is not None:
            return True  # nobody was told yet that it runs
        if code == Fenced.code:
            return self.config.storage is None  # else it stands by
        return not child.ready and not (child.proven and BY_CODE.get(code, FlameError).retryable)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children.values():
                if child.pid == pid:
                    self._read_notes()
                    self._restart(child)

    def _restart(self, child: Child) -> None:
        now = time.monotonic()
        child.deaths = [t for t in child.deaths if now - t < RESTART_WINDOW] + [now] * (not child.excused)
        if len(child.deaths) > MAX_RESTARTS or self.stopping:
            where = f"{self.config.data_dir}/logs/{child.name}.log"
            text = f"{child.name} died {len(child.deaths)} times in {RESTART_WINDOW:.0f} s; see {where}"
            self.failure = self.failure or json.dumps({"code": "internal", "message": text, "hint": ""})
            self.stopping = True
            return
        if child.excused:
            time.sleep(COME_AGAIN)
        elif len(child.deaths) > 3:
            time.sleep(min(1.0, 0.05 * len(child.deaths)))
        child.excused = False
        self._fork(child)
        self._write_run()

    def _stop(self) -> None:
        """The agent first: executors leave their sessions while the manager still listens."""
        grace = 0.8 if self.config.private else 5.0
        for child in self.children.values():
            if child.pid:
                _end(child.pid, grace)
        run = self.config.data_dir / "run.json"
        run.unlink(missing_ok=True)
        found = RunFile.read(default_file())
        if found is not None and found.data_dir == str(self.config.data_dir):
            default_file().unlink(missing_ok=True)
        if self._lock is not None:
            sockets = socket_dir(self.config.data_dir)
            for path in sockets.glob("*.sock"):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                sockets.rmdir()

    # -- what others read --------------------------------------------------------------------------------------------------

    def _write_run(self) -> None:
        """Everything is up: say so, here and to whoever waits for it."""
        if not all(child.ready for child in self.children.values() if child.name != "agent"):
            return
        pids = {"supervisor": os.getpid()} | {c.name: c.pid for c in self.children.values()}
        run = self._run_file(pids)
        try:
            run.write(self.config.data_dir / "run.json")
            if self.is_default:
                run.write(default_file())
        except OSError:
            if self.report is not None:
                raise  # nobody knows yet that anything runs
            self._late = True  # a full disk is no reason to end what runs
            return
        self._late = False
        if self.config.compat and not self.compat and not self.children["manager"].waits:
            return
        self._say({"run": run.__dict__})

    def _run_file(self, pids: dict[str, int]) -> RunFile:
        return RunFile(
            self.epoch, str(self.endpoint), str(self.config.data_dir), str(self.token_file), pids, self.compat, self.tcp,
            gateway=self.gateway,
            durability=self.config.durability, storage=shown(self.config.storage) if self.config.storage else None,
            standby=any(child.waits for child in self.children.values()),
        )  # fmt: skip

    def _say(self, what: dict[str, Any]) -> None:
        if self.report is not None:
            with contextlib.suppress(OSError):
                os.write(self.report, json.dumps(what).encode() + b"\n")
                os.close(self.report)
            self.report = None


def _socket_name(shard: int) -> str:
    return f"plane-{shard}.sock" if shard else "plane.sock"


def _end(pid: int, grace: float) -> None:
    """SIGTERM, then SIGKILL."""
    deadline = time.monotonic() + grace
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
                continue
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def release() -> str:
    from flame.version import __version__

    return __version__


def preload(config: ClusterConfig) -> None:
    """Import what the children need, once."""
    import flame.allocation.process
    import flame.manager.process  # noqa: F401

    with contextlib.suppress(ImportError):
        import uvloop  # noqa: F401
    if config.storage is not None:
        with contextlib.suppress(ImportError):
            import asyncpg  # noqa: F401
    zygote.preload()


def read_options() -> dict[str, Any]:
    """What the command that starts a supervisor writes to its standard input. Not by argument: everybody may read those, and options may
    hold a password."""
    options: dict[str, Any] = json.load(sys.stdin)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return options


def main() -> int:
    """`python -m flame.cluster.supervisor < OPTIONS-AS-JSON`: how `up --detach` and private clusters start it."""
    options = read_options()
    client, report = options.pop("client_fd", None), options.pop("report_fd", None)
    config = ClusterConfig(
        **(
            options
            | {"data_dir": Path(options["data_dir"]), "policies": tuple(options.get("policies", ("priority", "drf")))}
        )
    )
    supervisor = Supervisor(config, client, report)
    name_process("flame")
    preload(config)
    try:
        return supervisor.run()
    except FlameError as error:
        print(f"flame: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
