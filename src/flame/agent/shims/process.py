"""One foreign service process: started, watched until its socket is there, ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from typing import NoReturn

from flame.agent.shims.environment import Plan
from flame.core.base.errors import InvalidArgument, ServiceFailed
from flame.platform.death import die_with_parent

POLL_SECONDS = 0.01
TERM_SECONDS = 5.0
"""Between SIGTERM and SIGKILL."""
TAIL = 50


class ServiceProcess:
    """Leads a process group of its own, which ends with it; the kernel ends it with the executor."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        plan.socket.unlink(missing_ok=True)
        parent = os.getpid()
        with plan.out.open("wb") as out, plan.err.open("wb") as err:
            try:
                self._child = subprocess.Popen(
                    plan.command,
                    cwd=plan.directory,
                    env=plan.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    preexec_fn=lambda: die_with_parent(parent),
                )
            except OSError as error:
                self._tidy()
                hint = "is the command on the agent's PATH?"
                raise InvalidArgument(f"cannot start {plan.command[0]!r}: {error.strerror}", hint=hint) from error

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._child.poll()

    def wait_until_listening(self, deadline: float, limit: float) -> None:
        """Raises ServiceFailed when it exits, or its socket is not there in time."""
        while not self.plan.socket.exists():
            self.refuse_the_dead()
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"the service did not listen on FLAME_INSTANCE_ENDPOINT within {limit:g} s{self.said()}"
                )
            time.sleep(POLL_SECONDS)

    def refuse_the_dead(self) -> None:
        """Raises ServiceFailed when it has ended before it served."""
        if (code := self.exit_code) is not None:
            raise ServiceFailed(f"the service {how(code)} before it listened{self.said()}")

    def settled(self, seconds: float) -> int | None:
        """The exit code, waiting a little for it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        return self.exit_code

    def said(self, lines: int = 3) -> str:
        """`: last words`, or nothing."""
        words = self.last_words(lines)
        return f": {words}" if words else ""

    def last_words(self, lines: int = TAIL) -> str:
        """The end of what it printed."""
        found: list[str] = []
        for path in (self.plan.out, self.plan.err):
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 32 * 1024))
                found += file.read().decode(errors="replace").splitlines()
        return "\n".join(found[-lines:])

    def stop(self) -> None:
        """SIGTERM to its group, then SIGKILL."""
        if self.exit_code is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(TERM_SECONDS)
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1)
        self._tidy()

    def follow(self) -> NoReturn:
        """End this executor the way the service ended: the agent reports signal, exit code and last lines, the task is a loss."""
        code = self.exit_code or 0
        os.write(2, f"{self.last_words()}\nthe service {how(code)}\n".encode())
        self._signal(signal.SIGKILL)
        self._tidy()
        if code < 0:
            if -code not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code or 1)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _tidy(self) -> None:
        self.plan.socket.unlink(missing_ok=True)
        shutil.rmtree(self.plan.private, ignore_errors=True)


def how(code: int) -> str:
    """`exited with code 3`, `was killed by SIGSEGV`."""
    if code >= 0:
        return f"exited with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
