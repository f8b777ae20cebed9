"""Commands beside a container: those somebody talks to (`CallReplica` exec), and those that are waited for (probes, pre-stop).

They run in the container's environment, directory and control group, and end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

from flame.agent.orders import Order, Report
from flame.agent.replicas.pipes import Reader
from flame.core.base.errors import Exhausted, InvalidArgument, InvalidState, NotFound

BUFFER = 1 << 20
"""Bytes kept of output that nobody has read, and of input that the command has not."""
MOST = 16
"""Commands beside the containers of one replica at once."""
IDLE = 600.0
"""Seconds after which a command that nobody calls for is ended."""
END_OF_INPUT = b"\x04"
"""What says it on a terminal."""
OUTPUT = 4096
"""Bytes kept of what a probe prints."""

Launch = Callable[[Order, Callable[[Report], None]], None]
"""Sends an order to the zygote; the callback gets the reports about it. Raises OSError."""


def _size(terminal: int, rows: int, cols: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


class Exec:
    """One command that somebody talks to."""

    def __init__(self, owner: str, directory: Path, order: Order, launch: Launch, size: tuple[int, int]) -> None:
        """owner: the placement; directory: for its pipes; size: rows and columns of a terminal. Raises OSError."""
        self.id, self.owner, self.box = secrets.token_urlsafe(16), owner, order.join
        self.pid, self.ended = 0, False
        self.code: int | None = None
        self._loop = asyncio.get_running_loop()
        self._out, self._base = bytearray(), 0
        self._in, self._closing = bytearray(), False
        self._changed = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None
        self._doomed, self._tty = False, order.tty
        self._open: list[int] = []
        order.id = f"{owner}/exec/{self.id}"
        place = directory / self.id
        place.mkdir(parents=True, mode=0o700)
        self._terminal(order, size) if order.tty else self._pipes(order, place)
        self.touch()
        launch(order, self._told)

    def _pipes(self, order: Order, place: Path) -> None:
        order.stdin, order.stdout = str(place / "in"), str(place / "out")
        order.stderr = order.stdout
        os.mkfifo(order.stdin, 0o600)
        self._open.append(
            os.open(order.stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        )  # keeps what nobody has read yet
        self._input = os.open(order.stdin, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._reader = Reader.of(place / "out", self._came)

    def _terminal(self, order: Order, size: tuple[int, int]) -> None:
        ours, theirs = os.openpty()
        self._open.append(theirs)  # without it ours would end before the command has opened its own
        _size(theirs, *size)
        order.stdin = order.stdout = order.stderr = os.ttyname(theirs)
        os.set_blocking(ours, False)
        self._input = os.dup(ours)
        os.set_blocking(self._input, False)
        self._reader = Reader(ours, self._came)

    # -- what its caller does

    def touch(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._loop.call_later(IDLE, self.kill)

    def write(self, data: bytes) -> None:
        """Nothing means the end of the input. Raises Exhausted when the command does not read what it has, InvalidState at its end."""
        if self.ended or self._closing:
            raise InvalidState("the command has ended" if self.ended else "the input of this command was closed")
        if len(self._in) + len(data) > BUFFER:
            raise Exhausted(f"the command has not read {len(self._in):,} bytes of its input")
        self._closing = not data and not self._tty
        self._in += data or (END_OF_INPUT if self._tty else b"")
        self._flush()

    def resize(self, rows: int, cols: int) -> None:
        """Its terminal has another size; the command gets SIGWINCH. Raises InvalidArgument without a terminal, InvalidState at its end."""
        if not self._tty:
            raise InvalidArgument("the command has no terminal", hint="exec with tty")
        if self.ended or self._input < 0:
            raise InvalidState("the command has ended")
        _size(self._input, rows, cols)

    def _flush(self) -> None:
        try:
            while self._in:
                del self._in[: os.write(self._input, self._in[: 64 * 1024])]
        except BlockingIOError:
            self._loop.add_writer(self._input, self._flush)
            return
        except OSError:
            self._in.clear()
        if self._input >= 0:
            self._loop.remove_writer(self._input)
        if self._closing:
            self._close_input()

    def _close_input(self) -> None:
        fd, self._input = self._input, -1
        if fd >= 0:
            self._loop.remove_writer(fd)
            os.close(fd)

    async def read(self, offset: int, limit: int, wait: float) -> tuple[int, bytes]:
        """Output from `offset` on, which is then forgotten up to there. Returns where it begins, and the bytes."""
        until = self._loop.time() + wait
        while not self.ended and self._base + len(self._out) <= offset and (left := until - self._loop.time()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        if offset > self._base:
            read = min(offset - self._base, len(self._out))
            del self._out[:read]
            self._base += read
        if len(self._out) < BUFFER:
            self._reader.resume()
        return self._base, bytes(self._out[:limit])

    @property
    def end(self) -> int:
        return self._base + len(self._out)

    def kill(self) -> None:
        self._doomed = True
        if self.pid and not self.ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    # -- what becomes of it

    def _came(self, data: bytes) -> None:
        self._out += data
        if len(self._out) >= BUFFER:
            self._reader.pause()
        self._wake()

    def _told(self, report: Report) -> None:
        if report.kind == "started":
            self.pid = report.pid
            if self._doomed:
                self.kill()
            return
        self.code = 127 if report.kind == "failed" else report.code if report.signal is None else 128 + report.signal
        self._reader.resume()
        self._reader.drain()
        self._reader.close()
        self._close_input()
        for fd in self._open:
            os.close(fd)
        self._open = []
        if self._idle is not None:
            self._idle.cancel()
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Execs:
    """Those of all replicas of an agent."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._all: dict[str, Exec] = {}

    def start(self, owner: str, directory: Path, order: Order, size: tuple[int, int] = (24, 80)) -> Exec:
        """Raises Exhausted, OSError."""
        mine = [one for one in self._all.values() if one.owner == owner]
        for old in [one for one in mine if one.ended][: max(0, len(mine) - MOST + 1)]:
            del self._all[old.id]
            mine.remove(old)
        if len(mine) >= MOST:
            raise Exhausted(f"{MOST} commands run beside this replica already")
        made = Exec(owner, directory, order, self._launch, size)
        self._all[made.id] = made
        return made

    def get(self, owner: str, id: str) -> Exec:
        """Raises NotFound, also for a command of another replica."""
        found = self._all.get(id)
        if found is None or found.owner != owner:
            raise NotFound(f"no command {id!r} runs there")
        found.touch()
        return found

    def close(self, owner: str, id: str) -> Exec:
        found = self.get(owner, id)
        found.kill()
        self._all.pop(id, None)
        return found

    def end(self, owner: str, box: str = "") -> None:
        """Those beside one container, or all of a replica."""
        for one in [one for one in self._all.values() if one.owner == owner and box in ("", one.box)]:
            one.kill()
            if not box:
                del self._all[one.id]


class Command:
    """One command that is waited for."""

    def __init__(self, directory: Path, order: Order, launch: Launch) -> None:
        """Raises OSError."""
        self.pid, self._output = 0, bytearray()
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        name = secrets.token_hex(8)
        order.id = f"{order.join}/command/{name}"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pipe = directory / name
        self._reader = Reader.of(self._pipe, self._came)
        order.stdout = order.stderr = str(self._pipe)
        launch(order, self._told)

    def _came(self, data: bytes) -> None:
        self._output += data[: OUTPUT - len(self._output)]

    def _told(self, report: Report) -> None:
        if report.kind == "started":
            self.pid = report.pid
            if self._done.done():
                self._kill()
            return
        self._reader.drain()
        self._reader.close()
        self._pipe.unlink(missing_ok=True)
        if not self._done.done():
            self._done.set_result(127 if report.kind == "failed" else report.code if report.code is not None else 128)

    def _kill(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def run(self, timeout: float) -> tuple[int, str]:
        """Exit code, and the beginning of its output. Raises TimeoutError; it is killed then."""
        try:
            async with asyncio.timeout(timeout):
                code = await self._done
        finally:
            if not self._done.done() or self._done.cancelled():
                self._done.cancel()
                self._kill()
        return code, self._output.decode(errors="replace").strip()
