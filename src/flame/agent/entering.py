"""What a fresh child of the zygote does to become another program: the maker of a sandbox, or the command of a container."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NoReturn

from flame.agent.orders import Order
from flame.platform.confine import set_limits

NOT_STARTED = "not-started"
"""File in a container's directory: why its command could not be executed."""
RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
"""What Python or the zygote ignores, and a program does not expect to be ignored."""


def redirect(directory: Path) -> None:
    """Standard output and error to files, input from nowhere."""
    for name, fd in (("out", 1), ("err", 2)):
        file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, fd)
        os.close(file)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def enter_sandbox(order: Order) -> NoReturn:
    """This process becomes the one that makes the sandbox. SIGTERM is for the executor inside, whose end ends the sandbox."""
    try:
        redirect(Path(order.directory))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.execve(order.sandbox[0], order.sandbox, order.environment)
    except OSError as error:
        os.write(2, f"cannot start {order.sandbox[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def enter_container(order: Order) -> NoReturn:
    """This process becomes the command of a container, or one that runs beside it. What is around it is there already: process group,
    control group, no new privileges. In a sandbox SIGTERM is for the command inside, which gets it by `env --default-signal`."""
    line = order.sandbox or order.argv
    try:
        for number, path in enumerate((order.stdin or os.devnull, order.stdout, order.stderr)):
            way = os.O_RDWR if order.tty else os.O_RDONLY if number == 0 else os.O_WRONLY
            # Nobody may have the other end of the input open any more: that is an end of file, nothing to wait for.
            file = os.open(path or os.devnull, way | (os.O_NONBLOCK if number == 0 else 0))
            os.dup2(file, number)
            os.set_blocking(number, True)
            os.close(file)
        if order.tty:
            _own_terminal()
        os.closerange(3, 256)
        os.umask(0o022)
        os.chdir(order.cwd)
        for which in RESET:
            signal.signal(which, signal.SIG_DFL)
        if order.sandbox:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        set_limits(order.rlimits)
        os.execve(line[0], line, order.environment)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            Path(order.directory, NOT_STARTED).write_text(f"{line[0]}: {getattr(error, 'strerror', None) or error}")
    finally:
        os._exit(127)


def _own_terminal() -> None:
    """It leads a session: the terminal on its standard input becomes its own, so that ^C reaches what runs there."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
