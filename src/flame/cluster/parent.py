"""The parent of all processes of a data directory: forks them, forks again what dies, keeps run.json true.

It has no event loop and no thread, so that it may fork at any time; it imports what its children need once, before the first fork. The
listening sockets are its own: a connection made while a process restarts waits in the backlog instead of failing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from flame.agent import confinement, sandbox, zygote
from flame.cluster import children
from flame.cluster.listening import reached
from flame.core.base.errors import BY_CODE, DataDirLocked, Fenced, FlameError, InvalidArgument
from flame.ops.config import ClusterConfig
from flame.ops.isolation import isolation
from flame.ops.paths import RunFile, default_file, socket_dir
from flame.platform import confine
from flame.platform.death import die_with_parent, held_back, name_process
from flame.shell.address import Address
from flame.shell.listener import Public
from flame.store.directory import hold_lock, refuse_network

MAX_RESTARTS = 20
"""Of one process within RESTART_WINDOW seconds; then the supervisor gives up."""
RESTART_WINDOW = 30.0
COME_AGAIN = 0.5
"""Seconds until a process is started again whose trouble passes by itself: a full disk, a database that is away."""
ORPHANS = 5.0
"""Seconds that a new agent waits for the end of what a killed one has left."""
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


class Parent(ABC):
    """`run` returns when all of it has ended. `client`: a descriptor whose end means the end of a private cluster. `report`: where the
    first outcome goes, one JSON line: the run file, or the error."""

    def __init__(self, config: ClusterConfig, client: int | None = None, report: int | None = None) -> None:
        self.config, self.client, self.report = config, client, report
        #: is it "the cluster running here", which commands find by themselves?
        self.is_default = not config.private
        self.children: dict[str, Child] = {}
        self.stopping = False
        self.failure = ""
        self.public: Public | None = None
        self.epoch = 0
        self._lock: int | None = None
        self._status, self._tell = os.pipe()
        self._wake, self._woken = os.pipe()
        for fd in (self._status, self._wake, self._woken):
            os.set_blocking(fd, False)
        self._buffer = b""
        #: the run file is older than what runs
        self._late = False

    # -- what differs ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _prepare(self) -> None:
        """Take the directory, listen, and `_add` what is to run. Raises FlameError, OSError."""

    @abstractmethod
    def _run_file(self, pids: dict[str, int]) -> RunFile: ...

    def _learn(self, note: dict[str, Any]) -> None:
        """What a child says of itself when it is ready."""
        self.epoch = note.get("epoch", self.epoch)

    def _complete(self) -> bool:
        """May whoever waits for it be told that it runs?"""
        return True

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
        confine.adopt_orphans()
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
            self._learn(note)
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
        self._bury()
        self._fork(child)
        self._write_run()

    def _bury(self) -> None:
        """The zygote of a killed agent ends what it started, then itself. What is started again before that would run twice."""
        deadline = time.monotonic() + ORPHANS
        ours = {child.pid for child in self.children.values()}
        while (orphans := set(confine.children()) - ours) and time.monotonic() < deadline:
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.005)

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
        if self._complete():
            self._say({"run": run.__dict__})

    def _say(self, what: dict[str, Any]) -> None:
        if self.report is not None:
            with contextlib.suppress(OSError):
                os.write(self.report, json.dumps(what).encode() + b"\n")
                os.close(self.report)
            self.report = None


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
