"""Say why what waits waits: what was asked, what there is, and what would work."""

from __future__ import annotations

from flame.core.base.quantity import describe, format_amount
from flame.core.model.resources import fits, lacking
from flame.core.model.snapshot import Reason
from flame.core.scheduler.actions.waiting import Tally, why_at_once, why_workload
from flame.core.scheduler.actions.why import Why
from flame.core.scheduler.candidates import MANY
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.memory import Inquiry
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState, Proposal
from flame.core.scheduler.settings import SchedulingSettings

BUDGET, PAUSE, SOON = 2_000, 1.0, 0.02
"""Of a large cluster: nodes that are asked for a workload's reason in one cycle; seconds, for every 1,000 nodes, after which a
reason that is
known is found anew; and until the next cycle when not all nodes were asked."""


def explain(proposal: Proposal, policy: Policy, settings: SchedulingSettings) -> None:
    """One reason for every demand that did not get all it could use. Who has none keeps the one before."""
    lacking = [demand for demand in proposal.demands.values() if _lacks(demand)]
    large = len(proposal.nodes) > MANY
    whole = [demand for demand in lacking if waits_whole(demand)] if large else []
    for demand in lacking:
        if not large or not waits_whole(demand):
            found = (why_workload if waits_whole(demand) else why_waiting)(proposal, policy, demand)
            _say(proposal, demand, *found)
    asking = []
    for demand in whole:
        known = why_at_once(proposal, demand)
        if known is not None:
            _say(proposal, demand, *known)
        else:
            asking.append(demand)
    proposal.unexplained = {demand.view.session for demand in asking}
    if asking:
        _ask_on(proposal, policy, asking)


def _say(proposal: Proposal, demand: DemandState, why: Why, message: str) -> None:
    proposal.reasons[demand.view.session] = [Reason(why, why.word, message)]


def _ask_on(proposal: Proposal, policy: Policy, demands: list[DemandState]) -> None:
    """Ask some more nodes about one of these demands, the one that was begun with; when all have answered there is a reason."""
    memory = proposal.memory
    inquiry = memory.inquiry
    demand = proposal.demands.get(inquiry.session) if inquiry is not None else None
    if inquiry is None or demand is None or demand.view.session not in proposal.unexplained:
        demand = _next(proposal, demands)
        if demand is None:
            return
        inquiry = memory.inquiry = Inquiry(demand.view.session, Tally(demand), list(proposal.nodes))
    for name in inquiry.names[-BUDGET:]:
        if name in proposal.nodes:
            inquiry.tally.ask(policy, proposal, demand, proposal.nodes[name])
    del inquiry.names[-BUDGET:]
    if not inquiry.names:
        memory.inquiry, memory.explained = None, proposal.now
        proposal.unexplained.discard(demand.view.session)
        _say(proposal, demand, *inquiry.tally.answer(proposal, policy, demand))
    if memory.inquiry is not None or any(not other.view.explained for other in demands if other is not demand):
        proposal.recheck_at(proposal.now + SOON)


def _next(proposal: Proposal, demands: list[DemandState]) -> DemandState | None:
    """Who has no reason yet; else, now and then, the next in turn."""
    memory = proposal.memory
    for demand in demands:
        if not demand.view.explained:
            return demand
    pause = PAUSE * max(1.0, len(proposal.nodes) / 1000)
    proposal.recheck_at(max(memory.explained + pause, proposal.now + SOON))
    if proposal.now - memory.explained < pause:
        return None
    return demands[next(memory.turns(len(demands), 1))]


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
