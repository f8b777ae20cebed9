"""Why a workload waits: each node's first objection, counted, and what would have to be different.

The sentences count nodes as Kubernetes' scheduler does: `0/4 nodes take it: 2 lack the label ..., 1 has the taint ..., 1 has too few GPUs`.
"""

from __future__ import annotations

from flame.core.base.quantity import format_amount
from flame.core.model.resources import ANY_GPU, GPU, WHOLE_GPU, fits, lacking
from flame.core.model.rules import affinity_refusal, selector_refusal, taint_refusal
from flame.core.scheduler.actions.allocate import best_node
from flame.core.scheduler.actions.why import Why
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState, Proposal, Undo
from flame.core.scheduler.quota import Refusal

MOST = 4
"""Kinds of objections that are told."""


def why_workload(proposal: Proposal, policy: Policy, demand: DemandState) -> tuple[Why, str]:
    """Now, whatever it costs: a look at all nodes."""
    known = why_at_once(proposal, demand)
    if known is not None:
        return known
    tally = Tally(demand)
    for node in proposal.nodes.values():
        tally.ask(policy, proposal, demand, node)
    return tally.answer(proposal, policy, demand)


def why_at_once(proposal: Proposal, demand: DemandState) -> tuple[Why, str] | None:
    """What needs no look at nodes; None when it is about them."""
    view = demand.view
    if not proposal.admits(demand):
        limit = proposal.snapshot.max_workloads
        return (
            Why.MAX_CONCURRENT_WORKLOADS,
            f"{proposal.workloads} workloads run and scheduling.maxConcurrentWorkloads is {limit}; it starts when one of them ends",
        )
    if demand.promised:
        return (
            Why.RECLAIMING,
            f"room for {demand.promised} of its replicas is reserved; they start when others have left it",
        )
    count = demand.together
    if view.quotas and (refusal := proposal.quotas.refusal(view.quotas, view.charge, count)):
        return Why.QUOTA_EXCEEDED, quota_text(refusal)
    if not proposal.nodes:
        known = len(proposal.snapshot.nodes)
        return Why.NO_NODES, f"no node is ready ({known} known); start an agent or wait until one comes back"
    return None


PERMANENCE = (Why.NO_CAPACITY, Why.GPU, Why.AFFINITY, Why.TAINT, Why.SELECTOR, Why.REFUSED, Why.NEVER_FITS)
"""Of several objections the one that is easiest to overcome names the reason: it is what the workload waits for."""
Names = tuple[str, ...]
Objection = tuple[Why, str, Names]
"""Why, in words (`{}`: the amounts), and which amounts there are too few of."""


class Tally:
    """Every node's first objection to one more of this demand, counted; of amounts the most that any of them has is remembered."""

    def __init__(self, demand: DemandState) -> None:
        self._need = demand.view.resources
        self._counts: dict[Objection, int] = {}
        self._most: dict[Objection, dict[str, int]] = {}
        self._cut: tuple[float, str, str, int] = 1.0, "", "", 0
        self._asked = self._open = 0

    def ask(self, policy: Policy, proposal: Proposal, demand: DemandState, node: NodeState) -> None:
        found = objection(policy, proposal, demand, node)
        self._asked += 1
        if found is None:
            self._open += 1
            return
        self._counts[found] = self._counts.get(found, 0) + 1
        names = found[2]
        if names:
            most = self._most.setdefault(found, {})
            have = node.view.allocatable if found[1] is SMALL else node.free
            for name in names:
                most[name] = max(most.get(name, 0), have.get(name, 0))
            if len(names) == 1:  # the smallest cut in one resource with which a replica would start
                asked = self._need[names[0]]
                over = asked - max(0, node.free.get(names[0], 0))
                if over < asked and over / asked < self._cut[0]:
                    self._cut = over / asked, node.name, names[0], over

    def answer(self, proposal: Proposal, policy: Policy, demand: DemandState) -> tuple[Why, str]:
        if self._open and demand.together > 1:
            return Why.GANG, _gang(proposal, policy, demand, demand.together)
        _, name, short, over = self._cut
        cut = f"; it would start on {name} with {format_amount(short, over)} {short} less" if name else ""
        return self.worst(), f"0/{self._asked} nodes take it: {self.text()}{cut}"

    def worst(self) -> Why:
        return min((why for why, _, _ in self._counts), key=PERMANENCE.index, default=Why.NO_CAPACITY)

    def text(self) -> str:
        ranked = sorted(self._counts.items(), key=lambda item: -item[1])
        parts = []
        for found, number in ranked[:MOST]:
            said = found[1].format(self._amounts(found, number)) if found[2] else found[1]
            parts.append(f"{number} {said}" if number > 1 else said)
        if len(ranked) > MOST:
            parts.append(f"{sum(number for _, number in ranked[MOST:])} for other reasons")
        return "; ".join(parts)

    def _amounts(self, found: Objection, number: int) -> str:
        at_most = "at most " if number > 1 else ""
        return ", ".join(
            f"{name} {format_amount(name, self._need.get(name, 0))} asked, {at_most}{format_amount(name, most)}"
            for name, most in self._most[found].items()
        )


SMALL, FULL = "too small: {}", "full: {} free"


def objection(policy: Policy, proposal: Proposal, demand: DemandState, node: NodeState) -> Objection | None:
    """The first thing that keeps a replica off this node; None when it could start there."""
    rules, view, need = demand.view.rules, node.view, demand.view.resources
    if missing := rules.node_selector and selector_refusal(rules, view.labels):
        return Why.SELECTOR, f"without the label {missing} (nodeSelector)", ()
    if affinity := rules.required_nodes and affinity_refusal(rules, view.labels, node.name):
        return Why.AFFINITY, f"not matching the required node affinity {affinity}", ()
    if taint := view.taints and taint_refusal(rules, view.taints):
        return Why.TAINT, f"with the taint {taint}, which it does not tolerate", ()
    if not fits(need, view.allocatable):
        names = tuple(lacking(need, view.allocatable))
        return Why.GPU if GPU in names else Why.NEVER_FITS, SMALL, names
    if demand.gpu is not ANY_GPU and node.devices and not any(demand.gpu.takes(device) for device in node.devices):
        return Why.GPU, f"without a GPU of model {demand.gpu.model or 'any'} and the memory it asks for", ()
    if not fits(need, node.free):
        names = tuple(lacking(need, node.free))
        return Why.GPU if names == (GPU,) else Why.NO_CAPACITY, FULL, names
    if not fits(need, node.later):
        return Why.NO_CAPACITY, "with room that is reserved for others", ()
    if proposal.has_room(node, demand) is None:
        return Why.GPU, _gpu_text(demand, node), ()
    if not proposal.allows(demand, node):
        return Why.NO_CAPACITY, f"with {node.replicas} replicas, which is its maxConcurrentWorkloads", ()
    if refusing := policy.objectors(node, demand):
        text = "by affinity or spread with what runs there" if refusing == ["rules"] else f"by {', '.join(refusing)}"
        return Why.AFFINITY if refusing == ["rules"] else Why.REFUSED, f"refused {text}", ()
    return None


def quota_text(refusal: Refusal) -> str:
    over = _amount(refusal, refusal.used + refusal.asked - refusal.limit)
    return f"{refusal_text(refusal)}; it would start with {over} less, or when as much is given back"


def refusal_text(refusal: Refusal) -> str:
    """Which quota, which resource of it, and how much is used, may be used and was asked."""
    most = _amount(refusal, refusal.limit)
    limit = f"{most} with what others lend" if refusal.borrowing else f"hard {most}"
    used, asked = _amount(refusal, refusal.used), _amount(refusal, refusal.asked)
    return f"quota {refusal.quota}: {refusal.resource} used {used}, {limit}, asked {asked}"


def _amount(refusal: Refusal, number: int) -> str:
    resource = refusal.resource.partition("@")[0]
    return format_amount("gpu" if resource.endswith("nvidia.com/gpu") else resource.rpartition(".")[2], number)


def _gpu_text(demand: DemandState, node: NodeState) -> str:
    closed = [device for device in node.devices if not device.open and device.free]
    if closed and demand.view.resources[GPU] < WHOLE_GPU:
        return f"with GPUs that have {closed[0].max_sharers} sharers each (gpu.sharing.maxWorkloadsPerGPU)"
    return "with GPU capacity that is spread over several devices"


def _gang(proposal: Proposal, policy: Policy, demand: DemandState, count: int) -> str:
    """How many of a gang would fit at once."""
    undo: list[Undo] = []
    while len(undo) < count and (node := best_node(proposal, policy, demand)) is not None:
        undo.append(proposal.place(demand, node, proposal.has_room(node, demand) or {}))
    for take_back in reversed(undo):
        take_back()
    need = ", ".join(f"{name} {format_amount(name, amount)}" for name, amount in demand.view.resources.items())
    return (
        f"a gang of {count} starts at once or not at all: there is room for {len(undo)} now; each needs {need}; "
        f"it would start with {count - len(undo)} replicas fewer"
    )
