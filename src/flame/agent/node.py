"""What this machine has: CPU slots, memory, GPUs."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

from flame.core.model.messages import Device, RegisterNode
from flame.ops.config import ClusterConfig

MIN_SLOTS = 4
"""CPU slots of a small machine: tasks that wait should not block each other on a laptop."""


def this_node(config: ClusterConfig) -> RegisterNode:
    """The node as configured; what is not configured is measured."""
    cpus = config.cpus if config.cpus is not None else max(MIN_SLOTS, os.cpu_count() or 1)
    devices = gpus()
    count = config.gpus if config.gpus is not None else len(devices)
    capacity = {"cpu": int(cpus * 1000), "memory": config.memory or total_memory()}
    if count:
        capacity["gpu"] = count * 1000
    return RegisterNode(
        config.node or socket.gethostname(), capacity, capacity, arch=platform.machine(), os=platform.system().lower(),
        devices=tuple(devices[:count]) or tuple(Device(f"gpu-{i}", "configured", 0) for i in range(count)),
    )  # fmt: skip


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
        out = []
        for i in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(i)
            text = [
                v.decode() if isinstance(v, bytes) else str(v)
                for v in (pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle))
            ]
            out.append(Device(text[0], text[1], int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)))
        return out
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
