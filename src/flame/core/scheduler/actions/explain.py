"""Say why what waits waits: what was asked, what there is, and what would work."""

from __future__ import annotations

from flame.core.base.quantity import describe, format_amount
from flame.core.model.resources import fits, lacking
from flame.core.model.snapshot import Reason
from flame.core.scheduler.actions.waiting import why_workload
from flame.core.scheduler.actions.why import Why
from flame.core.scheduler.candidates import MANY
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState, Proposal
from flame.core.scheduler.settings import SchedulingSettings

BUDGET, PAUSE = 10_000, 1.0
"""Nodes that are looked at for new reasons in one cycle of a large cluster; seconds, for every 1,000 nodes, after which one that
is known is
found anew."""


def explain(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """One reason for every demand that did not get all it could use. Who has none keeps the one before."""
    lacking = [demand for demand in proposal.demands.values() if _lacks(demand)]
    if len(proposal.nodes) > MANY:
        chosen = _chosen(proposal, [demand for demand in lacking if waits_whole(demand)])
        proposal.unexplained = {d.view.session for d in lacking if waits_whole(d) and d.view.session not in chosen}
    for demand in lacking:
        if demand.view.session not in proposal.unexplained:
            why, message = (why_workload if waits_whole(demand) else why_waiting)(proposal, policy, demand)
            proposal.reasons[demand.view.session] = [Reason(why, why.word, message)]


def _chosen(proposal: Proposal, demands: list[DemandState]) -> set[str]:
    """Whose reasons are looked for in this cycle: of those who have none as many as it may cost, else one now and then."""
    memory, most = proposal.memory, max(1, BUDGET // len(proposal.nodes))
    pause = PAUSE * max(1.0, len(proposal.nodes) / 1000)
    new = [demand for demand in demands if not demand.view.explained]
    if len(new) > most:
        proposal.recheck_at(proposal.now + 0.05)
    if new or not demands or proposal.now - memory.explained < pause:
        return {demand.view.session for demand in new[:most]}
    memory.explained = proposal.now
    proposal.recheck_at(proposal.now + pause)
    return {demands[at].view.session for at in memory.turns(len(demands), 1)}


def _lacks(demand: DemandState) -> bool:
    return max(demand.view.want, demand.view.min) > demand.count


def waits_whole(demand: DemandState) -> bool:
    return demand.view.workload and not demand.view.hold


def why_waiting(proposal: Proposal, policy: Policy, demand: DemandState) -> tuple[Why, str]:
    view = demand.view
    if view.hold and view.workload:
        return Why.HELD, "it is suspended, or waits until it may be tried again; see its conditions"
    if view.hold:
        return (
            Why.BIND_FAILURES,
            "executors failed to enter the session too often; see its events, then open a new session",
        )
    if demand.promised:
        return (
            Why.RECLAIMING,
            f"{demand.promised} executors will start as others leave at the end of their current task",
        )
    if view.max is not None and demand.present >= view.max:
        return (
            Why.MAX_INSTANCES,
            f"asked for {view.want} executors; max_instances of the session is {view.max} and {demand.present} are there",
        )
    if proposal.app_counts[view.app] >= view.app_max:
        return (
            Why.APP_MAX_INSTANCES,
            f"asked for {view.want} executors; application {view.app!r} may have {view.app_max} and has "
            f"{proposal.app_counts[view.app]} in all its sessions; raise its max_instances",
        )
    if demand.unmet == 0:
        return Why.WAITING_FOR_IDLE, f"{view.idle} executors of the session wait for a task; they get the next ones"
    return _no_node(proposal, policy, demand)


def _no_node(proposal: Proposal, policy: Policy, demand: DemandState) -> tuple[Why, str]:
    need = demand.view.resources
    nodes = list(proposal.nodes.values())
    if not nodes:
        known = len(proposal.snapshot.nodes)
        return Why.NO_NODES, f"no node is ready ({known} known); start an agent or wait until one comes back"
    if not any(node.view.shim == demand.view.shim for node in nodes):
        return (
            Why.NO_SHIM,
            f"no ready node has the shim of application {demand.view.app!r}; register a node that has it",
        )
    large = [node for node in nodes if fits(need, node.view.allocatable)]
    if not large:
        return Why.NEVER_FITS, _never_fits(demand, nodes)
    refused = [name for node in large for name in policy.objectors(node, demand)]
    if refused and all(policy.objectors(node, demand) for node in large):
        return Why.REFUSED, f"every node that is large enough is refused by {', '.join(dict.fromkeys(refused))}"
    roomiest = min(large, key=lambda node: len(lacking(need, node.free)))
    names = lacking(need, roomiest.free) or ["gpu"]
    asked = ", ".join(f"{name} {format_amount(name, need.get(name, 0))}" for name in names)
    free = ", ".join(f"{name} {format_amount(name, max(0, roomiest.free.get(name, 0)))}" for name in names)
    return (
        Why.NO_CAPACITY,
        f"an executor needs {asked}; {roomiest.name} has {free} free and no other node has more room; "
        "it starts when executors leave or a node joins",
    )


def _never_fits(demand: DemandState, nodes: list[NodeState]) -> str:
    need = demand.view.resources
    largest = min(nodes, key=lambda node: len(lacking(need, node.view.allocatable)))
    names = lacking(need, largest.view.allocatable)
    most = {name: max(node.view.allocatable.get(name, 0) for node in nodes) for name in names}
    return (
        f"an executor needs {describe(need)}, more than any node has (at most "
        f"{', '.join(f'{name} {format_amount(name, amount)}' for name, amount in most.items())}); "
        "ask for less or add a larger node"
    )
