"""From the book to a Snapshot, and from the Plan back; every item of the plan is checked again before it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from flame.core.allocator.identities import weights
from flame.core.allocator.placements import begin, drain
from flame.core.allocator.policy import charge_of, class_of, quotas_for
from flame.core.allocator.state import Book, Demand, Node, Placement, Tally
from flame.core.allocator.workloads import begin as begin_replica
from flame.core.model.messages import EventInfo
from flame.core.model.resources import choose_devices, dominant_share, fits, total
from flame.core.model.snapshot import DemandView, NodeView, PlacementView, Plan, Reason, Snapshot
from flame.core.model.states import NodeState, PlacementState
from flame.core.scheduler.cycle import run_cycle
from flame.core.workloads.job import Job

NOTHING: Mapping[str, int] = MappingProxyType({})
PLUGIN_CODE = 5002


def schedule(book: Book) -> Plan:
    """One cycle: look, decide, do."""
    account(book)
    plan = run_cycle(look(book), book.policy, book.settings.scheduling)
    book.reserved = plan.reserved
    complain(book)
    for item in plan.drains:
        placement = book.placements.get(item.placement)
        if placement is not None:
            drain(book, placement, item.reason)
    for new in plan.placements:
        demand, node = book.demands.get(new.session), book.nodes.get(new.node)
        if demand is not None and node is not None and may_begin(book, demand, node):
            devices = new.devices
            if devices and any(d.uuid in devices and d.free < devices[d.uuid] for d in node.devices):
                devices = choose_devices(node.devices, demand.resources.get("gpu", 0)) or {}
            if demand.job is not None:
                begin_replica(book, demand, demand.job, node, dict(devices))
            else:
                begin(book, demand, node, devices)
    for session, demand in book.demands.items():
        explain(book, session, demand, plan.reasons.get(session, ()))
        if demand.job is not None:
            book.dirty_jobs[session] = None
    return plan


def may_begin(book: Book, demand: Demand, node: Node) -> bool:
    """The rules no plan may break, whatever plugins say."""
    wish = demand.wish
    return (
        node.state == NodeState.READY
        and node.peer is not None
        and node.info.name not in book.cordoned
        and fits(demand.resources, node.free())
        and (wish.max_instances is None or len(demand.placements) < wish.max_instances)
        and book.app_counts.get(wish.app, 0) < wish.app_spec.max_instances
    )


def account(book: Book) -> None:
    """Book slot time. Whoever begins, or has all it wants, does not save up time that it could not use: neither session nor tenant."""
    capacity = total(node.info.allocatable for node in book.nodes.values() if node.state == NodeState.READY)
    wants: dict[str, bool] = {}  # tenants that are there -> do they want more than they have?
    hungry: list[Demand] = []
    content: list[Demand] = []
    for demand in book.demands.values():
        demand.accrue(book.now)
        demand.unit = min(1.0, dominant_share(demand.resources, capacity)) / max(1, demand.wish.weight)
        wanted = max(demand.wish.want, demand.wish.min_instances)
        if not wanted and not demand.placements:
            demand.active = False
            continue
        more = wanted > len(demand.placements)
        wants[demand.wish.tenant] = wants.get(demand.wish.tenant, False) or more
        (hungry if demand.active and more else content).append(demand)
    _level(hungry, content, [demand for demand in book.demands.values() if demand.active])
    for name, tally in book.tallies.items():
        tally.active = tally.active and name in wants
    tallies = {name: book.tally(name) for name in wants}
    starved = [tally for name, tally in tallies.items() if tally.active and wants[name]]
    rest = [tally for name, tally in tallies.items() if not (tally.active and wants[name])]
    _level(starved, rest, [tally for tally in tallies.values() if tally.active])


def _level(hungry: Sequence[Demand | Tally], rest: Sequence[Demand | Tally], running: Sequence[Demand | Tally]) -> None:
    """Lift the rest to the least that somebody who waits was served; without such, whoever begins to the least of who runs."""
    floor = min((one.served for one in hungry), default=None)
    for one in rest:
        if floor is not None:
            one.served = max(one.served, floor)
        elif not one.active:
            one.served = max(one.served, min((other.served for other in running), default=0.0))
    for one in rest:
        one.active = True


def look(book: Book) -> Snapshot:
    """The book as the scheduler sees it."""
    nodes = []
    for node in book.nodes.values():
        coming = total(p.held() for p in node.placements.values() if p.state == PlacementState.DRAINING)
        ready = node.state == NodeState.READY and node.peer is not None and node.info.name not in book.cordoned
        info = node.info
        nodes.append(
            NodeView(
                info.name, ready, info.allocatable, node.free(), coming, info.shim, node.devices, info.labels, info.taints,
                info.max_workloads or book.view.agent_max_workloads,
            )
        )  # fmt: skip
    demands = tuple(
        _demand(book, demand)
        for demand in book.demands.values()
        if demand.manager is not None or demand.job is not None
    )
    served = {name: tally.served for name, tally in book.tallies.items()}
    view = book.view
    return Snapshot(
        book.now, tuple(nodes), demands, weights(book), served, book.quotas, view.max_concurrent_workloads,
        view.gpu_preemption, view.gpu_strategy, book.reserved,
    )  # fmt: skip


def _demand(book: Book, demand: Demand) -> DemandView:
    if demand.job is not None:
        return _workload(book, demand, demand.job)
    wish = demand.wish
    quotas = quotas_for(book, wish.tenant, wish.namespace) if book.quotas else ()
    views = tuple(
        PlacementView(p.id, p.node, p.held(), p.since, p.state == PlacementState.DRAINING, p.idle_since, p.devices)
        for p in demand.placements.values()
    )
    return DemandView(
        session=wish.session,
        app=wish.app,
        resources=demand.resources,
        want=wish.want,
        idle=wish.idle,
        min=wish.min_instances,
        max=wish.max_instances,
        app_max=wish.app_spec.max_instances,
        shim=wish.app_spec.shim,
        priority=wish.priority,
        created=wish.created,
        weight=wish.weight,
        tenant=wish.tenant,
        hold=wish.hold,
        delay_release=wish.app_spec.delay_release,
        served=demand.served,
        placements=views,
        rank=book.default_class.value,
        quotas=quotas,
        charge=charge_of(demand.resources, {}) if quotas else NOTHING,
    )


def _workload(book: Book, demand: Demand, job: Job) -> DemandView:
    wish, spec = demand.wish, job.spec
    rank, quotas = class_of(book, job), quotas_for(book, wish.tenant, wish.namespace) if book.quotas else ()
    views = tuple(
        PlacementView(
            p.id,
            p.node,
            p.held(),
            p.since,
            p.state == PlacementState.DRAINING,
            None,
            p.devices,
            cost(book, job, p),
            job.safe_until,
        )
        for p in demand.placements.values()
    )
    return DemandView(
        session=wish.session,
        app=wish.app,
        resources=demand.resources,
        want=wish.want,
        min=wish.min_instances,
        max=wish.max_instances,
        rank=rank.value,
        created=wish.created,
        tenant=wish.tenant,
        hold=wish.hold,
        served=demand.served,
        placements=views,
        workload=True,
        gang=spec.min_available if spec.gang else 0,
        labels=spec.labels,
        namespace=spec.namespace,
        rules=spec.rules,
        quotas=quotas,
        charge=charge_of(demand.resources, spec.limits) if quotas else NOTHING,
        preempts=rank.preempts,
        waiting=job.waiting,
    )


def cost(book: Book, job: Job, placement: Placement) -> float:
    """What an eviction loses: GPU-seconds (a CPU counts a hundredth) since the start, or since the last checkpoint that the
    workload told."""
    since = max(placement.since, job.checkpoint)
    size = placement.resources.get("gpu", 0) + placement.resources.get("cpu", 0) / 100
    return size / 1000 * max(0.0, book.now - since)


def complain(book: Book) -> None:
    """A user's plugin has crashed: it had no opinion, and whoever looks at the scheduler should know."""
    for name, said in book.policy.complaints.items():
        book.note(f"scheduler/{name}", "PluginFailed", PLUGIN_CODE, said)
    book.policy.complaints.clear()


def explain(book: Book, session: str, demand: Demand, reasons: tuple[Reason, ...]) -> None:
    """Keep the reasons; the time in them is when they began."""
    before = {(event.code, event.message): event for event in demand.reasons}
    now = book.now
    after = tuple(
        before.get((reason.code, reason.message)) or EventInfo(reason.code, reason.message, now, reason.reason, 1, now)
        for reason in reasons
    )
    if after != demand.reasons:
        demand.reasons = after
        book.reasons_changed[session] = None
