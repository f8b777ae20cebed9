"""Arithmetic of resources: int64 amounts by name, and GPUs as single devices.

`cpu` is in milli-CPU, `memory` in bytes, `gpu` in milli-GPU; any other name is a plain count. A name that is missing is 0, so
`{}` fits everywhere. Values are never changed in place: every function returns a new dict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import TypeAlias

Resources: TypeAlias = Mapping[str, int]

CPU, MEMORY, GPU = intern("cpu"), intern("memory"), intern("gpu")
WHOLE_GPU = 1000


def interned(amounts: Resources) -> dict[str, int]:
    """The same amounts without zeros, names interned: equal vectors compare by identity of their names."""
    return {intern(name): amount for name, amount in amounts.items() if amount}


def fits(need: Resources, free: Resources) -> bool:
    """Is there as much of everything as needed?"""
    for name, amount in need.items():  # noqa: SIM110 - a generator costs three times as much, and this is the scheduler's inner loop
        if amount > 0 and amount > free.get(name, 0):
            return False
    return True


def lacking(need: Resources, free: Resources) -> list[str]:
    """Names of what there is not enough of, in the order they were asked for."""
    return [name for name, amount in need.items() if amount > 0 and amount > free.get(name, 0)]


def add(left: Resources, right: Resources) -> dict[str, int]:
    """The sum, name by name."""
    total = dict(left)
    for name, amount in right.items():
        total[name] = total.get(name, 0) + amount
    return total


def sub(left: Resources, right: Resources) -> dict[str, int]:
    """The difference; it may go below zero, which `fits` reads as nothing free."""
    rest = dict(left)
    for name, amount in right.items():
        rest[name] = rest.get(name, 0) - amount
    return rest


def total(parts: Iterable[Resources]) -> dict[str, int]:
    """The sum of all parts."""
    amounts: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            amounts[name] = amounts.get(name, 0) + amount
    return amounts


def dominant_share(used: Resources, capacity: Resources) -> float:
    """The largest fraction of any one resource; infinite when something is used that the cluster does not have."""
    share = 0.0
    for name, amount in used.items():
        if amount > 0:
            whole = capacity.get(name, 0)
            share = max(share, amount / whole if whole > 0 else math.inf)
    return share


def slots(request: Resources, default: Resources) -> int:
    """How many default-sized slots a request takes: the largest of its resources counts, and never less than one."""
    needed = 1
    for name, amount in request.items():
        unit = default.get(name, 0)
        if amount > 0 and unit > 0:
            needed = max(needed, -(-amount // unit))
    return needed


@dataclass
class Gpu:
    """One GPU of a node and how much of it placements use, in thousandths. `max_sharers`: placements that may be on it, 0: any number."""

    uuid: str
    model: str = ""
    memory: int = 0
    used: int = field(default=0)
    sharers: int = 0
    max_sharers: int = 0

    @property
    def free(self) -> int:
        return WHOLE_GPU - self.used

    @property
    def open(self) -> bool:
        """May one more share it?"""
        return not self.max_sharers or self.sharers < self.max_sharers


@dataclass(frozen=True, slots=True)
class GpuWish:
    """Which GPUs will do: `model` is a part of the model's name in any case, `memory` bytes of the whole device."""

    model: str = ""
    memory: int = 0

    def takes(self, device: Gpu) -> bool:
        return device.memory >= self.memory and same_model(self.model, device.model)


ANY_GPU = GpuWish()


def same_model(wanted: str, model: str) -> bool:
    """Is it that model? `nvidia-a100` and `A100` both mean an `NVIDIA A100-SXM4-40GB`."""
    words = wanted.lower().replace("-", " ").replace("_", " ").split()
    have = model.lower().replace("-", " ").replace("_", " ")
    return all(word in have for word in words if word != "nvidia")


def choose_devices(devices: Sequence[Gpu], milli: int, wish: GpuWish = ANY_GPU) -> dict[str, int] | None:
    """Which devices to take `milli` thousandths of a GPU from, as uuid -> thousandths; None when it cannot be done.

    Whole GPUs come from empty devices. A fraction shares one device, the fullest that still has room (best fit), so that
    empty devices stay whole. 1.5 GPUs are one whole device and half of another.
    """
    if wish is not ANY_GPU:
        devices = [device for device in devices if wish.takes(device)]
    whole, fraction = divmod(milli, WHOLE_GPU)
    chosen = {device.uuid: WHOLE_GPU for device in [d for d in devices if d.used == 0][:whole]}
    if len(chosen) < whole:
        return None
    if fraction:
        roomy = [d for d in devices if d.uuid not in chosen and d.free >= fraction and d.open]
        if not roomy:
            return None
        chosen[min(roomy, key=lambda d: d.free).uuid] = fraction
    return chosen


def occupy(devices: Sequence[Gpu], taken: Mapping[str, int], sign: int = 1) -> None:
    """Book (`sign` 1) or give back (-1) what `choose_devices` chose."""
    if not taken:
        return
    for device in devices:
        if device.uuid in taken:
            device.used += sign * taken[device.uuid]
            device.sharers += sign
