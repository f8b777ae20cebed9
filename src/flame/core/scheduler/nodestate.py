"""A node as a proposal would have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flame.core.model.resources import Gpu, add
from flame.core.model.snapshot import NodeView

if TYPE_CHECKING:
    from flame.core.scheduler.memory import Memory
    from flame.core.scheduler.proposal import Proposal


class NodeState:
    """later:     free once everything that drains has left, less what was promised of it
    replicas:  of workloads that are here
    version:   counts changes; touched: was it ever changed?
    """

    __slots__ = (
        "_memory",
        "_own",
        "free",
        "later",
        "later_devices",
        "leaving",
        "model",
        "name",
        "replicas",
        "touched",
        "version",
        "view",
    )

    def __init__(self, view: NodeView, memory: Memory) -> None:
        self.view = view
        self._memory = memory
        self.name = view.name
        self.free: Mapping[str, int] = view.free
        self.later: Mapping[str, int] = add(view.free, view.coming) if view.coming else view.free
        self._own: tuple[Gpu, ...] | None = None
        self.later_devices: tuple[Gpu, ...] | None = None
        """As `devices` once everything that drains has left; None: as they are now."""
        self.model = view.devices[0].model if view.devices else ""
        self.replicas = view.replicas
        self.leaving = 0
        """Of these replicas, those that leave."""
        self.version = 0
        self.touched = False

    @property
    def proposal(self) -> Proposal:
        found = self._memory.proposal
        assert found is not None
        return found

    @property
    def devices(self) -> tuple[Gpu, ...]:
        """To read. Those of the view until somebody changes them."""
        return self.view.devices if self._own is None else self._own

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """To change."""
        if self._own is None:
            self._own = tuple(replace(device) for device in self.view.devices)
        return self._own

    @property
    def gpus_later(self) -> tuple[Gpu, ...]:
        """To change them, where that differs from now."""
        if self.later_devices is None:
            self.later_devices = tuple(replace(device) for device in self.devices)
        return self.later_devices
