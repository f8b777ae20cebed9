"""Plugins that say where an executor may start, and where it should."""

from __future__ import annotations

from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState


class Shim:
    """An application runs only where its shim is. Always on: without it services would be started by the wrong protocol."""

    name = "shim"

    def fits(self, node: NodeState, demand: DemandState) -> bool | None:
        return demand.view.workload or node.view.shim == demand.view.shim


class Gang:
    """Accepted by name for configurations that list it.

    Sessions are served by any number of executors from one up, so all-or-nothing has nothing to decide for them; the gangs of workloads are
    placed whole by the actions themselves.
    """

    name = "gang"


class Binpack:
    """Fills the fullest node that still has room, so that large requests find whole nodes."""

    name = "binpack"

    def score(self, node: NodeState, demand: DemandState) -> float | None:
        return used_fraction(node)


class Spread:
    """Takes the emptiest node, so that one lost node takes little with it."""

    name = "spread"

    def score(self, node: NodeState, demand: DemandState) -> float | None:
        return -used_fraction(node)


def used_fraction(node: NodeState) -> float:
    """How full a node is, by its scarcest resource: 0 empty, 1 full."""
    fractions = [1.0 - node.free.get(name, 0) / size for name, size in node.view.allocatable.items() if size > 0]
    return max(fractions, default=1.0)
