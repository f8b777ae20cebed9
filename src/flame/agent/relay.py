"""The way of this node's executors to session managers on other machines.

Executors speak unix sockets only: it keeps them small, and gRPC away from processes that fork. The agent listens for them and joins
every connection to a gRPC stream of its own, all to one manager on one TLS channel. What executors are allowed to say, the session
manager decides by their tokens.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flame.core.base.errors import FlameError
from flame.shell.address import Address, listen
from flame.shell.carrier import Carrier, Remote, pair
from flame.shell.stream import Stream

log = logging.getLogger("flame.relay")


class Relays:
    """One for every session manager that placements on this node serve, made when first needed."""

    def __init__(self, directory: Path, ca: Path, identity: Path) -> None:
        """directory: for the sockets."""
        self._directory, self._ca, self._identity = directory, ca, identity
        self._relays: dict[tuple[Address, ...], Relay] = {}

    def to(self, addresses: Sequence[Address]) -> Address:
        """The socket that leads to the manager at these addresses."""
        key = tuple(addresses)
        relay = self._relays.get(key)
        if relay is None:
            name = hashlib.sha256(",".join(map(str, key)).encode()).hexdigest()[:8]
            at = Address(path=str(self._directory / f"relay-{name}.sock"))
            relay = self._relays[key] = Relay(at, key, self._ca, self._identity)
            relay.start()
        return relay.at

    def renew(self) -> None:
        """The certificate has changed: new connections show the new one."""
        for relay in self._relays.values():
            relay.renew()

    def stop(self) -> None:
        for relay in self._relays.values():
            relay.stop()


class Relay:
    """`at`: the unix socket it listens on; `to`: where the manager is, tried in order."""

    def __init__(self, at: Address, to: Sequence[Address], ca: Path, identity: Path) -> None:
        self.at, self._to, self._ca, self._identity = at, to, ca, identity
        self._remotes: list[Remote] = []
        self.renew()
        self._sock: socket.socket | None = None
        self._pairs: set[tuple[Stream, Carrier]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble = ""

    def start(self) -> None:
        self._sock = listen(self.at)
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)

    def renew(self) -> None:
        self._remotes = [Remote(address, self._ca, self._identity) for address in self._to]

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
            Path(self.at.path).unlink(missing_ok=True)
        for stream, _ in list(self._pairs):
            stream.close()
