"""The zygote: a single-threaded process (no event loop, no grpc, no numpy) that forks executors.

Forking it costs 1-2 ms where starting Python costs 50. A few children wait forked already (the warm pool); none has entered a session. It
is told what to start on a socket and tells what started and ended. Executors die with it, it dies with its agent.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from flame.platform.death import die_with_parent, name_process

KIND = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
_LIMIT = 1 << 20
_encode, _decode = msgspec.json.encode, msgspec.json.decode


class Order(msgspec.Struct):
    """Start one executor. `directory` is private to it; `environment` is added to the zygote's."""

    id: str
    token: str
    session: str
    address: str
    directory: str
    environment: dict[str, str] = {}
    python: str = ""


class Report(msgspec.Struct, omit_defaults=True):
    """`started` (pid), or `ended` (code or signal), or `failed` (why)."""

    id: str
    kind: str
    pid: int = 0
    code: int | None = None
    signal: int | None = None
    reason: str = ""


class Zygote:
    """Runs until its socket ends."""

    def __init__(self, sock: socket.socket, pool: int) -> None:
        self.sock, self.pool = sock, pool
        self.warm: list[tuple[int, socket.socket]] = []
        self.running: dict[int, str] = {}
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def run(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent decides
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        preload()
        gc.collect()
        gc.freeze()  # children share these pages: no collection should touch them
        inputs: list[socket.socket | int] = [self.sock, self._wake]
        while True:
            hungry = len(self.warm) < self.pool
            # The pool is filled while nobody asks for anything: forks must not compete with a session that just begins.
            ready = select.select(inputs, (), (), 0.03 if hungry else None)[0]
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self.sock in ready:
                data = self.sock.recv(_LIMIT)
                if not data:
                    os._exit(0)
                self._start(_decode(data, type=Order))
            if not ready and hungry:
                self._fork_warm()

    def _fork_warm(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, KIND)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return
        if pid == 0:
            ours.close()
            self._become_child(parent)
            data = theirs.recv(_LIMIT)
            theirs.close()
            execute(_decode(data, type=Order)) if data else os._exit(0)
        theirs.close()
        self.warm.append((pid, ours))

    def _start(self, order: Order) -> None:
        if not self.warm:
            self._fork_warm()
        if not self.warm:
            self._tell(Report(order.id, "failed", reason="fork failed: no more processes or memory"))
            return
        pid, channel = self.warm.pop(0)
        self.running[pid] = order.id
        with contextlib.suppress(OSError), channel:
            channel.send(_encode(order))
        self._tell(Report(order.id, "started", pid))

    def _become_child(self, parent: int) -> None:
        die_with_parent(parent)
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake)
        os.close(self._woken)
        self.sock.close()
        for _, channel in self.warm:
            channel.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            id = self.running.pop(pid, "")
            if not id:
                self.warm = [(p, c) for p, c in self.warm if p != pid]
                continue
            # Its children lose their group leader: whatever a service left running ends with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if os.WIFSIGNALED(status):
                self._tell(Report(id, "ended", pid, signal=os.WTERMSIG(status)))
            else:
                self._tell(Report(id, "ended", pid, code=os.waitstatus_to_exitcode(status)))

    def _tell(self, report: Report) -> None:
        try:
            self.sock.send(_encode(report))
        except OSError:
            os._exit(0)


def preload() -> None:
    """Import what every executor needs, before any fork."""
    import cloudpickle  # noqa: F401

    import flame.agent.executor
    import flame.apps.ping  # noqa: F401


def execute(order: Order) -> NoReturn:
    """A warm child becomes the executor of one session."""
    code = 1
    try:
        name_process("flame-executor")
        os.umask(0o022)  # what tasks write elsewhere is theirs; the working directory is private anyway
        directory = Path(order.directory)
        os.chdir(directory)
        for name, fd in (("out", 1), ("err", 2)):
            file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(file, fd)
            os.close(file)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.environ.update(order.environment)
        from flame.agent import executor

        launch = executor.Launch(order.id, order.token, order.session, order.address, order.python)
        code = executor.main(launch, directory / "page")
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def spawn(pool: int) -> tuple[int, socket.socket]:
    """Fork a zygote from this process, which must have no threads yet. Returns its pid and the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, KIND)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LIMIT)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code: Any = 1
        try:
            ours.close()
            die_with_parent(parent)
            name_process("flame-zygote")
            Zygote(theirs, pool).run()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    theirs.close()
    return pid, ours
