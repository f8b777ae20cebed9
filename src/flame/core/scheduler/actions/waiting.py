"""Why a workload waits: each node's first objection, counted, and what would have to be different.

The sentences count nodes as Kubernetes' scheduler does: `0/4 nodes take it: 2 lack the label ..., 1 has the taint ..., 1 has too few GPUs`.
"""

from __future__ import annotations

from flame.core.base.quantity import format_amount
from flame.core.model.resources import GPU, WHOLE_GPU, Resources, lacking
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
    view = demand.view
    if not proposal.admits(demand):
        limit = proposal.snapshot.max_workloads
        return (
            Why.MAX_CONCURRENT_WORKLOADS,
            f"{proposal.workloads} workloads run and scheduling.maxConcurrentWorkloads is {limit}; it starts when one of them ends",
        )
    count = demand.together
    if view.quotas and (refusal := proposal.quotas.refusal(view.quotas, view.charge, count)):
        return Why.QUOTA_EXCEEDED, quota_text(refusal)
    if demand.promised:
        return (
            Why.RECLAIMING,
            f"room for {demand.promised} of its replicas is reserved; they start when others have left it",
        )
    if not proposal.nodes:
        known = len(proposal.snapshot.nodes)
        return Why.NO_NODES, f"no node is ready ({known} known); start an agent or wait until one comes back"
    objections = {node.name: objection(policy, proposal, demand, node) for node in proposal.nodes.values()}
    if count > 1 and not all(objections.values()):
        return Why.GANG, _gang(proposal, policy, demand, count)
    said: dict[str, int] = {}
    worst = Why.NO_CAPACITY
    for why, text in filter(None, objections.values()):
        said[text] = said.get(text, 0) + 1
        worst = min(worst, why, key=PERMANENCE.index) if said[text] == 1 and len(said) > 1 else why
    ranked = sorted(said.items(), key=lambda item: -item[1])
    parts = [f"{number} {text}" if number > 1 else f"{text}" for text, number in ranked[:MOST]]
    if len(ranked) > MOST:
        parts.append(f"{sum(number for _, number in ranked[MOST:])} for other reasons")
    hint = _counterfactual(proposal, policy, demand)
    return worst, f"0/{len(objections)} nodes take it: {'; '.join(parts)}{hint}"


PERMANENCE = (Why.NO_CAPACITY, Why.GPU, Why.AFFINITY, Why.TAINT, Why.SELECTOR, Why.REFUSED, Why.NEVER_FITS)
"""Of several objections the one that is easiest to overcome names the reason: it is what the workload waits for."""


def objection(policy: Policy, proposal: Proposal, demand: DemandState, node: NodeState) -> tuple[Why, str] | None:
    """The first thing that keeps a replica off this node; None when it could start there."""
    rules, view, need = demand.view.rules, node.view, demand.view.resources
    if missing := selector_refusal(rules, view.labels):
        return Why.SELECTOR, f"without the label {missing} (nodeSelector)"
    if affinity := affinity_refusal(rules, view.labels, node.name):
        return Why.AFFINITY, f"not matching the required node affinity {affinity}"
    if taint := taint_refusal(rules, view.taints):
        return Why.TAINT, f"with the taint {taint}, which it does not tolerate"
    if names := lacking(need, view.allocatable):
        return Why.GPU if GPU in names else Why.NEVER_FITS, f"too small: {_asked(need, view.allocatable, names)}"
    if GPU in need and not any(demand.gpu.takes(device) for device in node.devices) and node.devices:
        return Why.GPU, f"without a GPU of model {demand.gpu.model or 'any'} and the memory it asks for"
    if names := lacking(need, node.free):
        return Why.GPU if names == [GPU] else Why.NO_CAPACITY, f"full: {_asked(need, node.free, names)} free"
    if names := lacking(need, node.later):
        return Why.NO_CAPACITY, "with room that is reserved for others"
    if proposal.has_room(node, demand) is None:
        return Why.GPU, _gpu_text(demand, node)
    if not proposal.allows(demand, node):
        return Why.NO_CAPACITY, f"with {node.replicas} replicas, which is its maxConcurrentWorkloads"
    if names := policy.objectors(node, demand):
        text = "by affinity or spread with what runs there" if names == ["rules"] else f"by {', '.join(names)}"
        return Why.AFFINITY if names == ["rules"] else Why.REFUSED, f"refused {text}"
    return None


def quota_text(refusal: Refusal) -> str:
    name = refusal.resource.partition("@")[0].rpartition(".")[2]
    kind = "gpu" if refusal.resource.partition("@")[0].endswith("nvidia.com/gpu") else name

    def amount(number: int) -> str:
        return format_amount(kind, number)

    limit = (
        f"hard {amount(refusal.limit)}" if not refusal.borrowing else f"{amount(refusal.limit)} with what others lend"
    )
    over = refusal.used + refusal.asked - refusal.limit
    return (
        f"quota {refusal.quota}: {refusal.resource} used {amount(refusal.used)}, {limit}, asked {amount(refusal.asked)}; "
        f"it would start with {amount(over)} less, or when as much is given back"
    )


def _asked(need: Resources, have: Resources, names: list[str]) -> str:
    return ", ".join(
        f"{name} {format_amount(name, need.get(name, 0))} asked, {format_amount(name, max(0, have.get(name, 0)))}"
        for name in names
    )


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


def _counterfactual(proposal: Proposal, policy: Policy, demand: DemandState) -> str:
    """The smallest cut in one resource with which a replica would start now."""
    need, best = demand.view.resources, ""
    least = 1.0
    for node in proposal.nodes.values():
        names = lacking(need, node.free)
        rules, view = demand.view.rules, node.view
        barred = selector_refusal(rules, view.labels) or affinity_refusal(rules, view.labels, node.name)
        if len(names) != 1 or barred or taint_refusal(rules, view.taints):
            continue
        name, asked = names[0], need[names[0]]
        over = asked - max(0, node.free.get(name, 0))
        if over < asked and over / asked < least:
            least = over / asked
            best = f"; it would start on {node.name} with {format_amount(name, over)} {name} less"
    return best
