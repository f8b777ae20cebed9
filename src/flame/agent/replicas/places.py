"""The place of a replica on this node: its directory, ports, volumes and token, and a box for each run of a container.

DIR/work/replicas/<id>/volumes/<name>
                       <container>/token
                                   root      where its command starts
                                   tmp       its TMPDIR
                                   pipes     of its output, and of commands beside it
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from flame.agent.confinement import Ground
from flame.agent.joining import CA, for_clients
from flame.agent.replicas import environment, volumes
from flame.agent.replicas.logs import ContainerLog
from flame.agent.replicas.ports import Ports
from flame.agent.replicas.runtime import Box
from flame.agent.replicas.volumes import part
from flame.agent.zygote import MARK
from flame.core.model import messages as m
from flame.ops.config import ClusterConfig
from flame.ops.nodes import Image, image
from flame.ops.paths import write_private
from flame.platform.cgroups import Limits
from flame.shell.address import Address

SMALLEST = 8 << 20
"""Bytes below which no container is limited: not even a shell would start."""


@dataclass
class Place:
    """One replica here. `boxes`: the run of each container that is, or was last."""

    order: m.StartReplica
    directory: Path
    ports: dict[str, int]
    volumes: dict[str, Path]
    logs: dict[str, ContainerLog]
    boxes: dict[str, Box] = field(default_factory=dict)

    def spec(self, name: str) -> m.ContainerSpec:
        return next(one for one in (*self.order.spec.init, *self.order.spec.containers) if one.name == name)

    def named_ports(self) -> dict[str, int]:
        """By name, and by number as text."""
        found = dict(self.ports)
        for spec in (port for one in self.order.spec.containers for port in one.ports):
            found.setdefault(str(spec.port), found[spec.name or str(spec.port)])
        return found


class Places:
    """Makes them, of what this node's settings say. endpoints: where it joined the cluster, when that is on another machine."""

    def __init__(
        self, config: ClusterConfig, ground: Ground, node: m.RegisterNode, endpoints: Sequence[Address] = ()
    ) -> None:
        self.config, self.ground, self.node, self.endpoints = config, ground, node, endpoints
        self.work = config.data_dir / "work" / "replicas"
        self.logs = config.data_dir / "logs" / "replicas"
        self.ports = Ports()
        self.images: dict[str, Image] = {name: image(name, given) for name, given in config.images.items()}

    def clear(self) -> None:
        """What replicas of an agent before left: it died with them."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)

    def make(self, order: m.StartReplica) -> Place:
        """Raises InvalidArgument, PortTaken, OSError; nothing is left then."""
        spec, directory = order.spec, self.work / part(order.id)
        ports = self.ports.take(port for one in spec.containers for port in one.ports)
        try:
            directory.mkdir(parents=True, mode=0o700)
            made = volumes.prepare(order, directory, self.config.data_dir, self.config.host_paths)
            space = part(spec.namespace) if spec.tenant == "default" else f"{part(spec.tenant)}@{part(spec.namespace)}"
            logs = self.logs / space / part(spec.name)
            logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        except BaseException:
            self.ports.give_back(ports.values())
            shutil.rmtree(directory, ignore_errors=True)
            raise
        everyone = (*spec.init, *spec.containers)
        return Place(
            order, directory, ports, made, {one.name: ContainerLog(logs / f"{part(one.name)}.log") for one in everyone}
        )

    def box(self, place: Place, name: str, run: int) -> Box:
        """For the next run of a container. Raises InvalidArgument, OSError."""
        order, spec = place.order, place.spec(name)
        directory = place.directory / part(name)
        for inner in ("root", "tmp", "pipes"):
            (directory / inner).mkdir(parents=True, exist_ok=True, mode=0o700)
        if order.token:
            write_private(directory / "token", order.token)
        devices = environment.share(order, spec, self.node)
        known = self._image(spec)
        box = Box(
            f"{order.id}/{name}/{run}", order, spec, directory, {}, volumes.mounts(spec, order, place.volumes), place.logs[name],
            devices, for_clients(order.endpoint, self.endpoints), known,
        )  # fmt: skip
        box.environment = self._environment(place, box, known)
        box.limits, box.rlimits = self._limits(order, spec, bool(devices))
        place.boxes[name] = box
        return box

    def _image(self, spec: m.ContainerSpec) -> Image | None:
        return self.images.get(spec.image) or self.images.get(spec.image.removesuffix(":latest"))

    def _environment(self, place: Place, box: Box, known: Image | None) -> dict[str, str]:
        order, tmp = place.order, str(box.directory / "tmp")
        ports = [port for one in order.spec.containers for port in one.ports]
        found: dict[str, str] = environment.of_node(self.ground.environment)
        found |= {"TMPDIR": tmp, "TMP": tmp, "TEMP": tmp, MARK: box.id}
        found |= dict(self.config.environment)
        found |= dict(known.env) if known is not None else {}
        found |= environment.of_replica(order, self.node)
        found |= environment.of_devices(order, box.devices, self.node)
        found |= environment.of_ports(place.ports, ports)
        found |= self._engine(box)
        return environment.complete(found, box.spec.env)

    def _engine(self, box: Box) -> Mapping[str, str]:
        """How the SDK in a replica finds the cluster."""
        found = {}
        if box.endpoint:
            found["FLAME_ENDPOINT"] = box.endpoint
        if box.order.token:
            found["FLAME_TOKEN_FILE"] = str(box.directory / "token")
        authority = self.config.data_dir / "certs" / CA
        if "tls://" in box.endpoint and authority.exists():
            found["FLAME_CA_FILE"] = str(authority)
        return found

    def _limits(self, order: m.StartReplica, spec: m.ContainerSpec, devices: bool) -> tuple[Limits, dict[str, int]]:
        """What the spec limits is held to, unless the node's policy limits nothing of the kind."""
        alone = len(order.spec.containers) == 1
        wanted = dict(spec.requests) or (dict(order.resources) if alone else {})
        like = m.StartPlacement(
            order.id,
            order.node,
            "",
            "",
            m.AppSpec(),
            wanted,
            order.devices if devices else {},
            "",
            "",
            dict(spec.limits),
        )
        found, policy = self.ground.limits(like), self.ground.policy
        memory, cpu = spec.limits.get("memory", 0), spec.limits.get("cpu", 0)
        if memory and policy.memory in ("enforce", "strict"):
            found = replace(found, memory=max(memory, SMALLEST), memory_share=0)
        if cpu and policy.cpu != "off":
            found = replace(found, cpu_max=cpu)
        return found, self.ground.rlimits(like)

    def leave(self, place: Place) -> None:
        """Give its ports back. The directory goes in a thread, it may be large."""
        self.ports.give_back(place.ports.values())
        for log in place.logs.values():
            log.close()
