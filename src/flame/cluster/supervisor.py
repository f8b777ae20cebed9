"""The supervisor of a cluster: which processes it has, and where they listen."""

from __future__ import annotations

import secrets
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flame.agent import sandbox
from flame.cluster import children
from flame.cluster.gateways import beyond, door
from flame.cluster.listening import ensure_certificates, listening, loopback, public
from flame.cluster.parent import Parent, preload, read_options
from flame.core.base.errors import FlameError, InvalidArgument
from flame.core.model.access import PREFIX
from flame.ops.config import ClusterConfig
from flame.ops.gateway import Door
from flame.ops.paths import RunFile, socket_dir, write_private
from flame.platform.death import name_process
from flame.shell.address import Address, edge_socket, listen
from flame.shell.candidacy import led_at
from flame.shell.gate import UNIX, Gate
from flame.shell.listener import PORTS, Public
from flame.store.pglink import shown

if TYPE_CHECKING:
    from flame.security.oidc import Issuer


class Supervisor(Parent):
    def __init__(self, config: ClusterConfig, client: int | None = None, report: int | None = None) -> None:
        super().__init__(config, client, report)
        self.compat: str | None = None
        self.gateway: str | None = None

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

    def _learn(self, note: dict[str, Any]) -> None:
        super()._learn(note)
        self.compat = note.get("compat") or self.compat

    def _complete(self) -> bool:
        return not self.config.compat or bool(self.compat) or self.children["manager"].waits

    def _run_file(self, pids: dict[str, int]) -> RunFile:
        return RunFile(
            self.epoch, str(self.endpoint), str(self.config.data_dir), str(self.token_file), pids, self.compat, self.tcp,
            gateway=self.gateway,
            durability=self.config.durability, storage=shown(self.config.storage) if self.config.storage else None,
            standby=any(child.waits for child in self.children.values()),
        )  # fmt: skip


def _socket_name(shard: int) -> str:
    return f"plane-{shard}.sock" if shard else "plane.sock"


def release() -> str:
    from flame.version import __version__

    return __version__


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
