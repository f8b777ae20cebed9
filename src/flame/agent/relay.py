"""The way of this node's executors to a session manager on another machine.

Executors speak unix sockets only: it keeps them small, and gRPC away from processes that fork. The agent listens for them and joins every
connection to a gRPC stream of its own, all on one TLS channel. What they are allowed to say, the session manager decides by their tokens.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

from flame.core.base.errors import FlameError
from flame.shell.address import Address, listen
from flame.shell.carrier import Carrier, Remote, pair
from flame.shell.stream import Stream

log = logging.getLogger("flame.relay")


class Relay:
    """`at`: the unix socket it listens on. Where to, the orders of the allocator say (`lead`): a standby that took over is found so."""

    def __init__(self, at: Address, ca: Path, identity: Path) -> None:
        self.at, self._ca, self._identity = at, ca, identity
        self._remotes: list[Remote] = []
        self._sock: socket.socket | None = None
        self._pairs: set[tuple[Stream, Carrier]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble = ""

    def start(self) -> None:
        self._sock = listen(self.at)
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)

    def lead(self, addresses: tuple[Address, ...]) -> None:
        """Where the session manager is from now on; connections that stand go on."""
        wanted = [address for address in addresses if address.tls]
        if wanted and wanted != [remote.address for remote in self._remotes]:
            self._remotes = [Remote(address, self._ca, self._identity) for address in wanted]

    async def renew(self) -> None:
        """The certificate has changed: new connections show the new one."""
        self._remotes = [Remote(remote.address, self._ca, self._identity) for remote in self._remotes]

    def _accept(self) -> None:
        assert self._sock is not None
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            log.error("cannot accept: %s", error)
            return
        task = asyncio.ensure_future(self._join(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, sock: socket.socket) -> None:
        for remote in self._remotes:
            try:
                call = await remote.call()
            except FlameError as error:
                if str(error) != self._trouble:
                    log.warning("%s", error)
                self._trouble = str(error)
                continue
            self._trouble = ""
            self._pair(sock, call)
            return
        sock.close()  # the executor tries again

    def _pair(self, sock: socket.socket, call: Any) -> None:
        made = pair(sock, call, lambda: self._pairs.discard(made))
        self._pairs.add(made)

    def stop(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
        for stream, _ in list(self._pairs):
            stream.close()
