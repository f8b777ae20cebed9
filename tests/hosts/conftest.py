"""A control plane on one host, nodes on others, and this process as a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hosts.net import Host, Network, possible

import flame
from flame.ops.paths import RunFile
from flame.testing.cluster import eventually

WHY_NOT = possible()
PORT = 8080


@dataclass
class Machines:
    """`main` has the control plane; `nodes` have joined it."""

    net: Network
    main: Host
    nodes: dict[str, Host] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"tls://{self.main.address}:{PORT}"

    @property
    def run(self) -> RunFile:
        found = RunFile.read(self.main.home / "data" / "run.json")
        assert found is not None
        return found

    def up(self, *more: object) -> None:
        self.main.run(
            "flame",
            "up",
            "--detach",
            "--data-dir",
            self.main.home / "data",
            "--name",
            "main",
            "--listen",
            self.main.address,
            *more,
        )

    def client(self, **more: object) -> flame.Client:
        token = (self.main.home / "data" / "token").read_text().strip()
        return flame.connect(self.endpoint, token=token, ca_file=self.main.home / "data" / "certs" / "ca.pem", **more)

    def flame(self, *words: object, code: int | None = 0) -> str:
        """A command on the main host, as its operator; what it printed."""
        return self.main.run("flame", *words, code=code).stdout

    def join(self, name: str, *, relay: bool = False, cpus: int = 2, settings: str = "") -> Host:
        """A new host that becomes a node by the line that `flame token create` prints. settings: of its flame-cluster.yaml."""
        host = self.net.host(name, relay=relay)
        (host.home / "flame-cluster.yaml").write_text(settings or "cluster: {}\n")
        said = self.main.run(
            "flame", "token", "create", name, "--role", "join", "--data-dir", self.main.home / "data"
        ).stdout
        line = next(text for text in said.splitlines() if text.strip().startswith("flame agent join")).split()
        config = host.home / "flame-cluster.yaml"
        host.run(
            *line, "--name", name, "--cpus", cpus, "--data-dir", host.home / "node", "--config", config, "--detach"
        )
        self.nodes[name] = host
        with self.client() as client:
            eventually(
                lambda: any(n.name == name and n.state == 1 for n in client.list_nodes()), 20, f"{name} is not ready"
            )
        return host


@pytest.fixture
def machines() -> Iterator[Machines]:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Network() as net:
        made = Machines(net, net.host("m"))
        made.up()
        yield made
