"""The zygote: a single-threaded process (no event loop, no grpc, no numpy) that forks executors, and starts containers of replicas.

Forking it costs 1-2 ms where starting Python costs 50. A few children wait forked already (the warm pool), each in a control group of its
own; none has entered a session. It is told what to start on a socket and tells what started and ended. Executors die with it, it dies with
its agent. What a service leaves running is killed with its executor: all of its control group, or what bears its name.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from flame.agent.entering import enter_container, enter_sandbox, redirect
from flame.agent.orders import Order, Report
from flame.platform.cgroups import Cgroups, Group, Limits
from flame.platform.confine import (
    EnvironmentBlock,
    adopt_orphans,
    children,
    forbid_new_privileges,
    marked,
    offer_as_victim,
    set_limits,
)
from flame.platform.death import die_with_parent, let_in, name_process

if TYPE_CHECKING:
    from flame.agent.confinement import Ground

KIND = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
_LIMIT = 1 << 20
MARK = "FLAME_EXECUTOR_ID"
"""Names the executor to which a process belongs, in the environment that the kernel shows of it."""
LOOK = 0.03
"""Seconds between looks at what is not done yet: a pool to fill, groups whose last processes still end."""
ORPHANED = signal.SIGUSR2
"""How it learns that its agent was killed: it has something to clear up."""
HAUNTED = 1.0
"""Seconds during which what an executor left running is looked for, where there are no control groups."""
LAST = 20.0
"""Seconds to remove control groups at the end; milliseconds are enough unless a killed process cannot die yet."""
NOT_SET_UP = 71
"""Exit code (EX_OSERR of sysexits.h) of a child for which the node lacked something, such as room on its disk."""
NODE_LACKS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
_encode, _decode = msgspec.json.encode, msgspec.json.decode


class Zygote:
    """Runs until its socket ends."""

    def __init__(self, sock: socket.socket, pool: int, block: EnvironmentBlock, cgroups: Cgroups | None) -> None:
        self.sock, self.pool, self.block, self.cgroups = sock, pool, block, cgroups
        self.warm: list[tuple[int, socket.socket]] = []
        self.running: dict[int, str] = {}
        self.sandboxes: set[int] = set()
        self.containers: set[int] = set()
        self.groups: dict[int, Group] = {}
        self.doomed: list[Group] = []
        self.haunted: dict[str, float] = {}
        self._made = 0
        self._failure = ""
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def run(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        preload()
        gc.collect()
        gc.freeze()  # children share these pages: no collection should touch them
        inputs: list[socket.socket | int] = [self.sock, self._wake]
        while True:
            hungry = len(self.warm) < self.pool
            # The pool is filled while nobody asks for anything: forks must not compete with a session that just begins.
            ready = select.select(inputs, (), (), LOOK if hungry or self._unburied() else None)[0]
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
                self._bury()
            if self.sock in ready:
                data = self.sock.recv(_LIMIT)
                if not data:
                    self.finish()
                self._start(_decode(data, type=Order))
            if not ready and hungry:
                self._fork_warm()
            if not ready:
                self._bury()

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
            execute(_decode(data, type=Order), self.block) if data else os._exit(0)
        theirs.close()
        self.warm.append((pid, ours))
        self._enclose(pid)

    def _enclose(self, pid: int) -> None:
        """A control group for a child that does nothing yet. Without one it runs as before; the agent's log says so."""
        if self.cgroups is None:
            return
        self._made += 1
        try:
            group = self.cgroups.make(f"e{self._made}")
            self.groups[pid] = group
            group.limit(Limits())
            group.add(pid)
        except OSError as error:
            if str(error) != self._failure:
                self._failure = str(error)
                os.write(2, f"zygote: an executor has no control group: {error}\n".encode())

    def _start(self, order: Order) -> None:
        if order.sandbox or order.argv:
            self._start_apart(order)
            return
        if not self.warm:
            self._fork_warm()
        if not self.warm:
            self._tell(Report(order.id, "failed", reason="fork failed: no more processes or memory"))
            return
        pid, channel = self.warm.pop(0)
        self.running[pid] = order.id
        if self._limit(pid, order):
            with contextlib.suppress(OSError), channel:
                channel.send(_encode(order))
        channel.close()
        self._tell(Report(order.id, "started", pid))

    def _limit(self, pid: int, order: Order) -> bool:
        """False, and the child ends, when its control group cannot be limited as it must be."""
        group = self.groups.get(pid)
        try:
            if group is not None:
                group.limit(order.limits)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(order.directory, "err").write_text(f"cannot limit its control group: {error}\n")
            os.kill(pid, signal.SIGKILL)
            return False
        return True

    def _start_apart(self, order: Order) -> None:
        """A child that becomes another program, once its control group is as it must be."""
        parent, (go, ready) = os.getpid(), os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(go)
            os.close(ready)
            self._tell(Report(order.id, "failed", reason=f"fork failed: {error.strerror}"))
            return
        if pid == 0:
            os.close(ready)
            self._become_child(parent, order.tty)
            if not os.read(go, 1):
                os._exit(1)
            enter_container(order) if order.argv else enter_sandbox(order)
        os.close(go)
        if not order.tty:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)  # whoever hears of it may send signals to its group at once
        self.running[pid] = order.id
        if order.sandbox:
            self.sandboxes.add(pid)
        if order.argv:
            self.containers.add(pid)
        if order.join:
            self._join(pid, order.join)
        else:
            self._enclose(pid)
        if self._limit(pid, order):
            os.write(ready, b"1")
        os.close(ready)
        self._tell(Report(order.id, "started", pid))

    def _join(self, pid: int, id: str) -> None:
        """Into the control group of a container. Where there is none it runs as it is."""
        owner = next((other for other, name in self.running.items() if name == id), 0)
        if (group := self.groups.get(owner)) is not None:
            with contextlib.suppress(OSError):
                group.add(pid)

    def _become_child(self, parent: int, leads: bool = False) -> None:
        die_with_parent(parent)
        os.setsid() if leads else os.setpgid(0, 0)
        forbid_new_privileges()
        offer_as_victim()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, ORPHANED):
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
            group = self.groups.pop(pid, None)
            if not id:
                self.warm = [(p, c) for p, c in self.warm if p != pid]
                if group is not None:
                    self._discard(group)
                continue
            # Its children lose their group leader: whatever a service left running ends with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._tell(self._ended(id, pid, os.waitstatus_to_exitcode(status), group))
            if group is not None:
                self._discard(group)
            else:
                self.haunted[id] = time.monotonic() + HAUNTED

    def _ended(self, id: str, pid: int, code: int, group: Group | None) -> Report:
        """What became of it. Out of a sandbox signals come as a shell tells them: 128 and the number."""
        if pid in self.sandboxes:
            self.sandboxes.discard(pid)
            code = 128 - code if 128 < code <= 192 else code
        report = Report(id, "ended", pid, code) if code >= 0 else Report(id, "ended", pid, signal=-code)
        killed = code == -signal.SIGKILL or code == 128 + signal.SIGKILL
        if pid in self.containers:  # a shell that starts a program may end by itself when the kernel ends that
            self.containers.discard(pid)
            killed = code != 0
        if group is not None and killed and group.oom_kills():
            report.out_of_memory, report.peak = True, group.peak()
        return report

    def _discard(self, group: Group) -> None:
        """Nothing of a session outlives its executor."""
        group.kill()
        if not group.remove():
            self.doomed.append(group)

    def _unburied(self) -> bool:
        return bool(self.doomed or self.haunted) or (self.cgroups is not None and not self.cgroups.swept)

    def _bury(self) -> None:
        """What could not be removed before, and what an executor left behind where no group holds it together."""
        self.doomed = [group for group in self.doomed if not (group.kill() and group.remove())]
        if self.cgroups is not None and not self.cgroups.swept:
            self.cgroups.sweep()
        now = time.monotonic()
        self.haunted = {id: until for id, until in self.haunted.items() if until > now}
        if self.haunted:
            ours = {*self.running, *(pid for pid, _ in self.warm)}
            for pid in children():
                if pid not in ours and marked(pid, MARK) in self.haunted:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)

    def _tell(self, report: Report) -> None:
        try:
            self.sock.send(_encode(report))
        except OSError:
            self.finish()

    def finish(self) -> NoReturn:
        """The agent is done: what still runs dies with this process, its groups go before."""
        deadline, pause = time.monotonic() + LAST, 0.001
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        while self.cgroups is not None and not self.cgroups.close() and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        os._exit(0)


def preload() -> None:
    """Import what every executor needs, before any fork."""
    import cloudpickle  # noqa: F401

    import flame.agent.executor
    import flame.apps.ping  # noqa: F401


def execute(order: Order, block: EnvironmentBlock | None = None) -> NoReturn:
    """A warm child, or a process in a sandbox, becomes the executor of one session."""
    code = 1
    try:
        name_process("flame-executor")
        code = NOT_SET_UP
        os.umask(0o022)  # what tasks write elsewhere is theirs; the working directory is private anyway
        directory = Path(order.directory)
        os.chdir(directory)
        redirect(directory)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
        os.environ.update(order.environment)
        if block is not None:
            block.mark(MARK, order.id)
        set_limits(order.rlimits)
        code = 1
        from flame.agent import executor

        launch = executor.Launch(order.id, order.token, order.session, order.address, order.python)
        code = executor.main(launch, directory / "page")
    except BaseException as error:
        import traceback

        if isinstance(error, OSError) and error.errno in NODE_LACKS:
            code = NOT_SET_UP
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def spawn(pool: int, ground: Ground) -> tuple[int, socket.socket]:
    """Fork a zygote from this process, which must have no threads yet. Returns its pid and the socket to it. Executors inherit the
    environment of `ground`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, KIND)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LIMIT)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code: Any = 1
        try:
            ours.close()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent decides
            let_in(signal.SIGTERM)
            block = EnvironmentBlock()
            zygote = Zygote(theirs, pool, block, ground.cgroups)
            signal.signal(ORPHANED, lambda *_: zygote.finish())
            die_with_parent(parent, ORPHANED)
            name_process("flame-zygote")
            adopt_orphans()
            block.replace(ground.environment)
            zygote.run()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    theirs.close()
    return pid, ours
