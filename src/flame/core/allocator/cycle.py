"""From the book to a Snapshot, and from the Plan back; every item of the plan is checked again before it is done."""

from __future__ import annotations

from collections.abc import Sequence

from flame.core.allocator.identities import weights
from flame.core.allocator.placements import begin, drain
from flame.core.allocator.policy import NOTHING, charge_of, quotas_for, workload_view
from flame.core.allocator.state import Book, Demand, Node, Tally
from flame.core.allocator.workloads import begin as begin_replica
from flame.core.model.messages import EventInfo
from flame.core.model.resources import choose_devices, dominant_share, fits
from flame.core.model.snapshot import DemandView, PlacementView, Plan, Reason, Snapshot
from flame.core.model.states import NodeState, PlacementState
from flame.core.scheduler.cycle import run_cycle

PLUGIN_CODE = 5002


def schedule(book: Book) -> Plan:
    """One cycle: look, decide, do."""
    account(book)
    snapshot = look(book)
    plan = run_cycle(snapshot, book.policy, book.settings.scheduling, book.fleet.memory)
    for key in book.reserved.keys() ^ plan.reserved.keys():
        book.dirty_jobs[key] = None
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
    for view in snapshot.demands:
        waiting = book.demands.get(view.session)
        if waiting is not None and view.session not in plan.unexplained:
            explain(book, view.session, waiting, plan.reasons.get(view.session, ()))
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
    fleet = book.fleet
    capacity = fleet.capacity
    wants: dict[str, bool] = {}  # tenants that are there -> do they want more than they have?
    hungry: list[Demand] = []
    content: list[Demand] = []
    for demand in fleet.sessions.values():
        demand.accrue(book.now)
        demand.unit = min(1.0, dominant_share(demand.resources, capacity)) / max(1, demand.wish.weight)
        wanted = max(demand.wish.want, demand.wish.min_instances)
        if not wanted and not demand.placements:
            demand.active = False
            continue
        more = wanted > len(demand.placements)
        wants[demand.wish.tenant] = wants.get(demand.wish.tenant, False) or more
        (hungry if demand.active and more else content).append(demand)
    _account_workloads(book, wants)
    _level(hungry, content, [demand for demand in fleet.sessions.values() if demand.active])
    for name, tally in book.tallies.items():
        tally.active = tally.active and name in wants
    tallies = {name: book.tally(name) for name in wants}
    starved = [tally for name, tally in tallies.items() if tally.active and wants[name]]
    rest = [tally for name, tally in tallies.items() if not (tally.active and wants[name])]
    _level(starved, rest, [tally for tally in tallies.values() if tally.active])


def _account_workloads(book: Book, wants: dict[str, bool]) -> None:
    """Theirs is booked by tenant: it does not order them among each other."""
    passed, book.accounted = max(0.0, book.now - book.accounted), book.now
    for tenant in book.fleet.tenants():
        tally = book.tally(tenant)
        tally.served += book.fleet.rate(tenant) * passed / max(1, tally.weight)
        wants.setdefault(tenant, False)
    for tenant in book.fleet.waiting():
        wants[tenant] = True


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
    fleet, view = book.fleet, book.view
    fleet.look(book)
    jobs = [*fleet.active, *fleet.backlog.first(fleet.memory)]
    demands = [_session(book, demand) for demand in fleet.sessions.values() if demand.manager is not None]
    for key in jobs:
        demand = book.demands[key]
        if demand.job is not None:
            demands.append(workload_view(book, demand, demand.job))
    served = {name: tally.served for name, tally in book.tallies.items()}
    return Snapshot(
        book.now, tuple(fleet.nodes.values()), tuple(demands), weights(book), served, book.quotas, view.max_concurrent_workloads,
        view.gpu_preemption, view.gpu_strategy, book.reserved, fleet.others(), fleet.totals(book.tree.usage()),
    )  # fmt: skip


def _session(book: Book, demand: Demand) -> DemandView:
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
        if demand.job is not None:
            book.dirty_jobs[session] = None
