from __future__ import annotations

from flame.core.model.resources import WHOLE_GPU
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState

STRATEGIES = ("binpack", "spread", "custom")
WEIGHT = 10.0
"""Beside the scores of `binpack` and `spread`, which are 1 at most: where GPUs are asked for they decide."""


class GpuStrategy:
    """Where GPU work goes: `binpack` fills the node whose GPUs are used most, `spread` takes the one whose are used least,
    `custom` leaves it to
    a user's plugin. Work without GPUs stays off nodes that have some free, as long as there are others."""

    name = "gpu"

    def score(self, node: NodeState, demand: DemandState) -> float | None:
        if not node.devices:
            return None
        used = sum(device.used for device in node.devices) / (WHOLE_GPU * len(node.devices))
        if not demand.view.resources.get("gpu", 0):
            return -WEIGHT * (1.0 - used) if used < 1.0 else None
        strategy = node.proposal.snapshot.gpu_strategy
        if strategy == "custom":
            return None
        return WEIGHT * used if strategy == "binpack" else -WEIGHT * used
