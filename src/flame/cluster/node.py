"""The supervisor of a node that joined a cluster elsewhere: one agent, started again when it dies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from flame.agent.joining import allocators
from flame.cluster.parent import Child, Parent, preload, read_options
from flame.core.base.errors import FlameError
from flame.ops.config import ClusterConfig
from flame.ops.paths import RunFile
from flame.platform.death import name_process
from flame.shell.address import Address, parse


class NodeSupervisor(Parent):
    """`endpoints`: where clients reach the cluster; on this machine its sockets, elsewhere TLS."""

    def __init__(
        self, config: ClusterConfig, endpoints: Sequence[Address], client: int | None = None, report: int | None = None
    ) -> None:
        super().__init__(config, client, report)
        self.endpoints = tuple(endpoints)
        self.is_default = False

    def _prepare(self) -> None:
        self._take_directory()
        self._take_signals()
        if self.endpoints[0].tls:
            self._add("agent", lambda: self._agent(allocators(self.endpoints), self.endpoints))
        else:
            here = tuple(Address(path=str(Path(one.path).with_name("alloc.sock"))) for one in self.endpoints)
            self._add("agent", lambda: self._agent(here))

    def _fork(self, child: Child) -> None:
        super()._fork(child)
        self._write_run()

    def _run_file(self, pids: dict[str, int]) -> RunFile:
        where = ",".join(str(address) for address in self.endpoints)
        return RunFile(0, where, str(self.config.data_dir), "", pids, node=self.config.node)


def main() -> int:
    """`python -m flame.cluster.node < OPTIONS-AS-JSON`: how `flame agent join` starts it."""
    options = read_options()
    client, report = options.pop("client_fd", None), options.pop("report_fd", None)
    endpoints = [parse(text) for text in options.pop("endpoints")]
    config = ClusterConfig(
        **(options | {"data_dir": Path(options["data_dir"]), "policies": tuple(options.get("policies", ()))})
    )
    supervisor = NodeSupervisor(config, endpoints, client, report)
    name_process("flame-node")
    preload(config)
    try:
        return supervisor.run()
    except FlameError as error:
        print(f"flame: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
