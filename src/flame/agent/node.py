"""What this machine has, and what its owner says of it: CPU slots, memory, GPUs, labels, taints."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import Device, RegisterNode
from flame.ops import nodes
from flame.ops.config import ClusterConfig

MIN_SLOTS = 4
"""CPU slots of a small machine: tasks that wait should not block each other on a laptop."""
LOOPBACK = "127.0.0.1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""Kubernetes' names of what `uname` says."""
MPS_PIPES = "/tmp/nvidia-mps"
"""Where the control daemon of MPS listens, unless CUDA_MPS_PIPE_DIRECTORY says otherwise."""


def this_node(config: ClusterConfig) -> RegisterNode:
    """The node as configured; what is not configured is measured. Raises InvalidArgument for taints and simulated GPUs that are none."""
    cpus = config.cpus if config.cpus is not None else max(MIN_SLOTS, os.cpu_count() or 1)
    simulated = nodes.simulated(config.simulate_gpus)
    devices = simulated or gpus()
    count = config.gpus if config.gpus is not None else len(devices)
    devices = devices[:count] or [Device(f"gpu-{i}", "configured", 0) for i in range(count)]
    capacity = {"cpu": int(cpus * 1000), "memory": config.memory or total_memory()}
    if count:
        capacity["gpu"] = count * 1000
    try:
        taints = tuple(nodes.taint(text) for text in config.taints)
        given = nodes.labels(dict(config.labels))
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    name = config.node or socket.gethostname()
    arch, system = platform.machine(), platform.system().lower()
    return RegisterNode(
        name, capacity, capacity, arch=arch, os=system, devices=tuple(devices), address=LOOPBACK, taints=taints,
        labels=labels(name, arch, system, devices, bool(simulated)) | given, images=tuple(config.images),
        max_workloads=config.max_workloads,
    )  # fmt: skip


def labels(name: str, arch: str, system: str, devices: Sequence[Device], simulated: bool) -> dict[str, str]:
    """As Kubernetes and NVIDIA's discovery name them; `nvidia.com/gpu` is there where there are GPUs."""
    found = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": ARCHITECTURES.get(arch, arch),
        "kubernetes.io/os": system,
    }
    if devices:
        found |= {
            "nvidia.com/gpu": "true",
            "nvidia.com/gpu.count": str(len(devices)),
            "nvidia.com/gpu.product": re.sub(r"[^A-Za-z0-9._-]+", "-", devices[0].model).strip("-"),
            "nvidia.com/gpu.memory": str(min(device.memory for device in devices) >> 20),
        }
    return found | {"flame.simulated-gpus": "true"} if simulated else found


def address_towards(host: str) -> str:
    """Where `host` reaches this machine: the local address of a route to it; loopback when there is none."""
    try:
        family, kind, number, _, where = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, number) as sock:
            sock.connect(where)  # of a datagram socket: nothing is sent
            return str(sock.getsockname()[0])
    except OSError:
        return LOOPBACK


def total_memory() -> int:
    """Bytes; a cgroup's limit counts where it is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            text = limit.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            total = min(total, int(text))
    return total


def gpus() -> list[Device]:
    """By `CUDA_VISIBLE_DEVICES` when it is set (empty or -1: none), else what NVML finds; none without a driver or the `gpu` extra."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return []
    found = _nvml()
    if visible is None:
        return found
    wanted = [w.strip() for w in visible.split(",") if w.strip()]
    by_name = {d.uuid: d for d in found} | {str(i): d for i, d in enumerate(found)}
    return [by_name.get(w, Device(w, "unknown", 0)) for w in wanted]


def _nvml() -> list[Device]:
    if not any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")):
        return []  # no driver: importing NVML would only cost time
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        mps = _mps()
        out = []
        for handle in handles:
            parts = _instances(pynvml, handle)
            out += [_device(pynvml, part, True) for part in parts] or [_device(pynvml, handle, mps)]
        return out
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _device(pynvml: Any, handle: Any, enforced: bool) -> Device:
    words = [
        word.decode() if isinstance(word, bytes) else str(word)
        for word in (pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle))
    ]
    return Device(words[0], words[1], int(pynvml.nvmlDeviceGetMemoryInfo(handle).total), enforced=enforced)


def _instances(pynvml: Any, handle: Any) -> list[Any]:
    """The MIG devices of a GPU that is divided: each is held to its part by the hardware."""
    found = []
    try:
        if pynvml.nvmlDeviceGetMigMode(handle)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return []
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(pynvml.NVMLError):  # a place for one that was not made
                found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    except pynvml.NVMLError:  # not a GPU that can be divided
        return []
    return found


def _mps() -> bool:
    """Does a control daemon of MPS run, which holds its clients to the memory they were given?"""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", MPS_PIPES)) / "control").exists()
