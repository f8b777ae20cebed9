"""What an agent is told to run: one replica of a workload, with everything that is known before it starts."""

from __future__ import annotations

from flame.core.allocator.identities import workload_token
from flame.core.allocator.state import Book, Node, Placement
from flame.core.model import messages as m
from flame.core.model.resources import WHOLE_GPU
from flame.core.workloads.job import Job

RUNTIME = "flame.xflops.cn/runtime"
"""Annotation: `process` (the default) or `oci`."""
RENDEZVOUS_PORTS = range(29400, 32000)
"""Where rank 0 listens for the others. Below the ports that Linux gives out by itself."""


def order(book: Book, job: Job, placement: Placement, node: Node) -> m.StartReplica:
    spec = job.spec
    if placement.rank == 0 or not job.rendezvous:
        job.rendezvous = f"{node.info.address or '127.0.0.1'}:{_port(book, node)}"
    replica = m.ReplicaSpec(
        workload=spec.name,
        workload_id=job.uid,
        name=f"{spec.name}-{placement.rank}",
        namespace=spec.namespace,
        rank=placement.rank or 0,
        world_size=spec.replicas,
        attempt=job.attempt,
        containers=spec.containers,
        init=spec.init,
        volumes=spec.volumes,
        labels=dict(spec.labels),
        restart=spec.restart,
        backoff_limit=spec.backoff_limit,
        grace=spec.grace,
        rendezvous=job.rendezvous,
        runtime=spec.annotations.get(RUNTIME, "process"),
        tenant=job.tenant,
    )
    return m.StartReplica(
        id=placement.id,
        node=placement.node,
        owner=job.key,
        spec=replica,
        resources=placement.resources,
        devices=placement.devices,
        gpu_memory=shared_memory(book, node, placement),
        endpoint=next((manager.address for manager in book.managers.values() if manager.joined), ""),
        token=workload_token(book, job.key, job.tenant),
    )


def shared_memory(book: Book, node: Node, placement: Placement) -> dict[str, int]:
    """Bytes that it may use of each device that it shares: its part of the device, and no more than `gpu.sharing.memoryFraction`."""
    fraction = book.view.gpu_memory_fraction
    found = {}
    for device in node.devices:
        part = placement.devices.get(device.uuid, WHOLE_GPU)
        if part < WHOLE_GPU:
            found[device.uuid] = int(device.memory * min(part / WHOLE_GPU, fraction or 1.0))
    return found


def _port(book: Book, node: Node) -> int:
    """One that no other workload on this node was told to use."""
    address = node.info.address or "127.0.0.1"
    taken = {job.rendezvous for job in book.jobs.values() if job.replicas}
    size = len(RENDEZVOUS_PORTS)
    for offset in range(size):
        port = RENDEZVOUS_PORTS[(book.last_port + offset) % size]
        if f"{address}:{port}" not in taken:
            book.last_port = (book.last_port + offset + 1) % size
            return port
    return RENDEZVOUS_PORTS[0]
