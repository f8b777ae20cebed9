"""The nodes that have room for one shape, the best first, kept in order while a cycle places on them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState, Proposal

MANY = 64
"""With fewer nodes than this a look at all of them is as quick."""


class Candidates:
    """For all demands of one shape in one cycle. Of equal scores the node that was there first goes first."""

    def __init__(self, proposal: Proposal, policy: Policy, demand: DemandState) -> None:
        self._proposal, self._policy, self._demand = proposal, policy, demand
        self._order = proposal.memory.order
        self._heap: list[tuple[float, int, int, NodeState]] = []
        for node in proposal.memory.roomy(demand.view.resources):
            if (score := self._score(node)) is not None:
                self._heap.append((-score, self._order[node.name], node.version, node))
        heapify(self._heap)

    def _score(self, node: NodeState) -> float | None:
        proposal, policy, demand = self._proposal, self._policy, self._demand
        if (
            proposal.has_room(node, demand) is None
            or not proposal.allows(demand, node)
            or not policy.fits(node, demand)
        ):
            return None
        return policy.score(node, demand)

    def refresh(self, node: NodeState) -> None:
        """It has changed."""
        if (score := self._score(node)) is not None:
            heappush(self._heap, (-score, self._order[node.name], node.version, node))

    def best(self) -> NodeState | None:
        while self._heap:
            _, _, version, node = self._heap[0]
            if version == node.version:
                return node
            heappop(self._heap)
        return None
