"""What a container finds in its environment, and how `$(VAR)` in its command, arguments and variables is filled in.

Later wins: the node's own few variables, the image's, the engine's about the replica, the spec's. A variable of the spec may name those
before it and all of the engine's, so `FLAME_RANK: "$(FLAME_RANK)"` is the replica's rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from flame.core.model import messages as m
from flame.ops.isolation import cleared

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
WHOLE = 1000


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(VAR)` by its value, `$$` by `$`; a name that is not known stays as it is written."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def of_node(inherited: Mapping[str, str]) -> dict[str, str]:
    """Where programs are and how to speak: nothing of the engine, nothing about who started it."""
    dropped = ("FLAME_", "PYTHON", "CUDA_VISIBLE", "NVIDIA_VISIBLE", "TMPDIR")
    return {name: value for name, value in cleared(inherited).items() if not name.startswith(dropped)}


def of_replica(order: m.StartReplica, node: m.RegisterNode) -> dict[str, str]:
    """What the engine says: who it is, of how many, and where the others are."""
    spec = order.spec
    found = {
        "FLAME_WORKLOAD_ID": spec.workload_id, "FLAME_WORKLOAD": spec.workload, "FLAME_NAMESPACE": spec.namespace,
        "FLAME_REPLICA": spec.name, "FLAME_RANK": str(spec.rank), "FLAME_WORLD_SIZE": str(spec.world_size),
        "FLAME_ATTEMPT": str(spec.attempt), "FLAME_NODE": order.node,
        "POD_NAME": spec.name, "POD_NAMESPACE": spec.namespace, "NODE_NAME": order.node,
        "RANK": str(spec.rank), "WORLD_SIZE": str(spec.world_size), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
    }  # fmt: skip
    if node.address:
        found |= {"POD_IP": node.address, "HOST_IP": node.address}
    if spec.rendezvous:
        host, _, port = spec.rendezvous.rpartition(":")
        found |= {"FLAME_RENDEZVOUS": spec.rendezvous, "MASTER_ADDR": host.strip("[]"), "MASTER_PORT": port}
    return found


def of_devices(order: m.StartReplica, devices: Sequence[str], node: m.RegisterNode) -> dict[str, str]:
    """Which GPUs a container sees: none where it has none, on a node that has some. Of shared ones, how much memory it may use."""
    if not node.devices and not order.devices:
        return {}
    found = {"CUDA_VISIBLE_DEVICES": ",".join(devices)}
    limits = {uuid: order.gpu_memory[uuid] for uuid in devices if order.gpu_memory.get(uuid)}
    if limits:
        # MPS counts devices as the process sees them.
        each = [f"{index}={limits[uuid] >> 20}M" for index, uuid in enumerate(devices) if uuid in limits]
        found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = ",".join(each)
        sizes = {device.uuid: device.memory for device in node.devices}
        fractions = [size / sizes[uuid] for uuid, size in limits.items() if sizes.get(uuid)]
        if fractions:
            found["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(1.0, *fractions):.3f}"
    return found


def of_ports(ports: Mapping[str, int], specs: Sequence[m.PortSpec]) -> dict[str, str]:
    """`PORT_<NAME>` (also by number) for each port of all containers of the replica."""
    found = {f"PORT_{_upper(name)}": str(port) for name, port in ports.items()}
    for spec in specs:
        if (port := ports.get(spec.name or str(spec.port))) is not None:
            found.setdefault(f"PORT_{spec.port}", str(port))
    return found


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def share(order: m.StartReplica, container: m.ContainerSpec, node: m.RegisterNode) -> list[str]:
    """The devices of one container, in the node's order: those that name GPUs share them out; where none does, all see all."""
    places = {device.uuid: place for place, device in enumerate(node.devices)}
    everyone = (*order.spec.init, *order.spec.containers)
    wanted = {one.name: one.limits.get("gpu", 0) or one.requests.get("gpu", 0) for one in everyone}
    devices = sorted(order.devices, key=lambda uuid: (places.get(uuid, len(places)), uuid))  # a map has no order
    if not any(wanted.values()):
        return devices
    if container in order.spec.init:
        return devices[: -(-wanted[container.name] // WHOLE)]
    taken = 0
    for one in order.spec.containers:
        count = -(-wanted[one.name] // WHOLE)
        if one.name == container.name:
            return devices[taken : taken + count]
        taken += count
    return []


def complete(known: Mapping[str, str], given: Sequence[m.EnvVar]) -> dict[str, str]:
    """All variables of a container: `known`, and the spec's in their order."""
    found = dict(known)
    for variable in given:
        found[variable.name] = expand(variable.value, found)
    return found
