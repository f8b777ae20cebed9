"""How placements begin, change and end; every count that depends on them is kept here."""

from __future__ import annotations

from collections.abc import Mapping

from flame.core.allocator.policy import charge
from flame.core.allocator.state import Book, Demand, Node, Placement
from flame.core.model.messages import (
    DrainExecutor,
    ExecutorChanged,
    Granted,
    Placed,
    PlacementExited,
    PlacementGone,
    StartPlacement,
    StopPlacement,
)
from flame.core.model.resources import interned, occupy
from flame.core.model.states import ExecutorState, PlacementState

EXIT_CODE, LOST_CODE = 3001, 3002


def begin(book: Book, demand: Demand, node: Node, devices: Mapping[str, int]) -> Placement | None:
    """Reserve the room, tell the manager, then the agent; None when the plan no longer holds and nothing is done."""
    manager = book.managers.get(demand.manager) if demand.manager is not None else None
    if manager is None or not manager.joined or node.peer is None:
        return None
    wish = demand.wish
    placement = Placement(
        id=book.new_id("executor"),
        session=wish.session,
        app=wish.app,
        node=node.info.name,
        resources=demand.resources,
        since=book.now,
        token=book.new_token(),
        address=manager.address,
        devices=dict(devices),
        shim=wish.app_spec.shim,
    )
    enter(book, placement, node)
    # The manager first: its executor must not knock before it is expected.
    grant(book, placement)
    placement.step("start")
    book.say(
        node.peer,
        StartPlacement(
            id=placement.id,
            node=node.info.name,
            session=wish.session,
            app=wish.app,
            spec=wish.app_spec,
            resources=placement.resources,
            devices=placement.devices,
            address=manager.address,
            token=placement.token,
            limits={} if demand.resources == book.settings.default_resources else demand.resources,
        ),
    )
    return placement


def enter(book: Book, placement: Placement, node: Node) -> None:
    """Count a placement in everywhere."""
    demand = book.demands.get(placement.session)
    if demand is not None and not placement.zombie:
        demand.accrue(book.now)
        demand.placements[placement.id] = placement
    book.placements[placement.id] = placement
    node.placements[placement.id] = placement
    node.hold(placement.held())
    occupy(node.devices, placement.devices)
    charge(book, placement, 1)
    book.node_changed(placement.node)
    book.app_counts[placement.app] = book.app_counts.get(placement.app, 0) + 1
    if placement.rank is None:
        book.viewed()


def adopt(book: Book, placed: Placed, node: Node) -> None:
    """An agent runs this already. Kept while its session has a demand or may still get one; stopped when it was given up."""
    if placed.owner:
        _adopt_replica(book, placed, node)
        return
    demand = book.demands.get(placed.session)
    if placed.id not in book.gone and demand is not None and is_full(demand):
        replaced(book, placed.id, placed.session)
    zombie = placed.id in book.gone
    placement = Placement(
        id=placed.id,
        session=placed.session,
        app=demand.wish.app if demand is not None else "",
        node=node.info.name,
        resources=interned(placed.resources),
        since=book.now,
        token=placed.token,
        address=placed.address,
        devices=dict(placed.devices),
        shim=placed.shim,
        state=PlacementState.RUNNING,
        pid=placed.pid,
        executor=ExecutorState.IDLE,
        zombie=zombie,
    )
    enter(book, placement, node)
    placement.known_by = book.expected.pop(placed.id, None)
    if zombie:
        stop(book, placement, 0.0, "given up before the agent came back")
    elif demand is not None:
        grant(book, placement)
    else:
        until = book.now + book.settings.adopt_grace
        book.orphans.setdefault(placed.session, until)
        book.wake(until, "orphan", placed.session)


def _adopt_replica(book: Book, placed: Placed, node: Node) -> None:
    """The same of a workload: kept while that wants this rank from this attempt."""
    placement = Placement(
        id=placed.id, session=placed.owner, app=placed.owner, node=node.info.name, resources=interned(placed.resources),
        since=book.now, devices=dict(placed.devices), state=PlacementState.RUNNING, pid=placed.pid, rank=placed.rank,
    )  # fmt: skip
    placement.zombie = placed.id in book.gone or not book.keeper.take_up(placed, placement)
    enter(book, placement, node)
    if placement.zombie:
        stop(book, placement, 0.0, "no workload wants it any more")


def is_full(demand: Demand) -> bool:
    limit = demand.wish.max_instances
    return limit is not None and len(demand.placements) >= limit


def replaced(book: Book, id: str, session: str) -> None:
    """Found running beyond the limit of its session: while its agent was cut off it was replaced."""
    gone = PlacementGone(id, session, "replaced while its agent was away")
    remember(book, gone)
    if id in book.expected:
        book.say(book.expected.pop(id), gone)


def grant(book: Book, placement: Placement) -> None:
    manager = book.manager_of(placement)
    known = book.managers.get(manager) if manager is not None else None
    if known is not None and placement.address and placement.address != known.address:
        # Another session manager took over: this executor does not know where it is, and what it did would not count.
        stop(book, placement, 0.0, "its session manager moved")
        return
    placement.known_by = manager
    book.say(manager, Granted(placement.id, placement.session, placement.node, placement.token, placement.resources))


def started(book: Book, id: str, pid: int) -> None:
    placement = book.placements.get(id)
    if placement is None:
        return
    placement.pid = pid
    if placement.state == PlacementState.STARTING:
        placement.step("run")
    book.viewed()


def drain(book: Book, placement: Placement, reason: str) -> None:
    """Ask the manager to let it leave at the next task boundary; a replica is evicted."""
    if placement.state == PlacementState.DRAINING:
        return
    if placement.rank is not None:
        book.keeper.evict(placement, reason)
        return
    placement.step("drain")
    book.fleet.node(placement.node)
    book.say(book.manager_of(placement), DrainExecutor(placement.id, reason))
    book.viewed()


def stop(book: Book, placement: Placement, grace: float, reason: str) -> None:
    """Have the agent end the process."""
    if placement.state != PlacementState.DRAINING:
        placement.step("drain")
        book.fleet.node(placement.node)
    placement.told = grace, reason
    book.say(book.nodes[placement.node].peer, StopPlacement(placement.id, grace, reason))
    if placement.rank is None:
        book.viewed()


def manager_sees(book: Book, message: ExecutorChanged) -> None:
    """The manager's view of an executor: its state, whether it waits, whether it lent its slot."""
    placement = book.placements.get(message.placement)
    if placement is None or placement.zombie:
        return
    if placement.executor != message.state:
        placement.executor = ExecutorState(message.state)
        book.viewed()
    if (placement.idle_since is not None) != message.idle:
        placement.idle_since = book.now if message.idle else None
        book.changed()
    if placement.lent != message.lent:
        node = book.nodes[placement.node]
        node.give(placement.held())
        placement.lent = message.lent
        node.hold(placement.held())
        if not message.lent:
            node.overdraw()
        book.node_changed(placement.node)


def exited(book: Book, message: PlacementExited) -> None:
    placement = book.placements.get(message.id)
    if placement is None:
        _exited_before(book, message)
        return
    why = message.reason or _ending(message)
    if why and placement.rank is None and not placement.zombie and placement.state != PlacementState.DRAINING:
        book.note(f"session/{placement.session}", "ExecutorExited", EXIT_CODE, f"on node {placement.node}: {why}")
    end(book, placement, why or "left", message)


def _exited_before(book: Book, message: PlacementExited) -> None:
    """Of an earlier life of the allocator: a manager that knows the placement, now or later, hears how it ended."""
    if message.id in book.gone:
        return
    reason = message.reason or _ending(message) or "left"
    gone = PlacementGone(message.id, "", reason, message.exit_code, message.signal, message.current, message.log)
    remember(book, gone)
    if message.id in book.expected:
        book.say(book.expected.pop(message.id), gone)
        book.changed()


def end(book: Book, placement: Placement, reason: str, exit: PlacementExited | None = None) -> None:
    """Count a placement out everywhere and tell its manager."""
    placement.step("end")
    node = book.nodes[placement.node]
    demand = book.demands.get(placement.session)
    if demand is not None and placement.id in demand.placements:
        demand.accrue(book.now)
        del demand.placements[placement.id]
    del book.placements[placement.id]
    del node.placements[placement.id]
    node.give(placement.held())
    occupy(node.devices, placement.devices, -1)
    charge(book, placement, -1)
    book.node_changed(placement.node)
    book.app_counts[placement.app] -= 1
    if not book.app_counts[placement.app]:
        del book.app_counts[placement.app]
    if placement.rank is not None:
        if not placement.zombie:
            book.keeper.gone(placement, reason, exit)
        remember(book, PlacementGone(placement.id, placement.session, reason))
    elif not placement.zombie:
        gone = PlacementGone(placement.id, placement.session, reason)
        if exit is not None:
            gone = PlacementGone(
                placement.id, placement.session, reason, exit.exit_code, exit.signal, exit.current, exit.log
            )
        remember(book, gone)
        book.say(book.manager_of(placement), gone)
    book.changed()
    if placement.rank is None:
        book.viewed()


def remember(book: Book, gone: PlacementGone) -> None:
    """For as long as somebody who was away may still ask about it."""
    book.gone[gone.placement] = gone
    book.gone_at.append((book.now, gone.placement))
    settings = book.settings
    while book.gone_at[0][0] < book.now - settings.gone_kept or len(book.gone_at) > settings.max_gone:
        book.gone.pop(book.gone_at.popleft()[1], None)


def rename_app(book: Book, placement: Placement, app: str) -> None:
    """Placements adopted before their demand came belong to no application until then."""
    if placement.app != app:
        book.app_counts[placement.app] -= 1
        if not book.app_counts[placement.app]:
            del book.app_counts[placement.app]
        placement.app = app
        book.app_counts[app] = book.app_counts.get(app, 0) + 1


def _ending(message: PlacementExited) -> str:
    if message.signal:
        return f"ended by signal {message.signal}"
    return f"ended with exit code {message.exit_code}" if message.exit_code else ""
