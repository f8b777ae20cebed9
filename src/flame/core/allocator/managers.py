"""What session managers say: what they want placed, and how they see what was."""

from __future__ import annotations

from flame.core.allocator.identities import tell_identities
from flame.core.allocator.placements import grant, is_full, remember, rename_app, replaced, stop
from flame.core.allocator.state import Book, Demand
from flame.core.model.messages import (
    DemandChanged,
    DemandGone,
    DrainExecutor,
    KillExecutor,
    ManagerJoined,
    PlacementGone,
)
from flame.core.model.reactor import Peer
from flame.core.model.resources import dominant_share, interned, total
from flame.core.model.states import NodeState, PlacementState


def joined(book: Book, peer: Peer, message: ManagerJoined) -> None:
    """A manager says where it is and which placements it knows; it hears about those that ended while it was away."""
    same = [other for other in book.managers.values() if other.joined and other.shard == message.shard]
    mine = message.epoch, peer
    if any((other.epoch, other.peer) > mine for other in same):
        del book.managers[peer]  # an earlier connection of the manager, read late: nothing it says counts
        return
    for other in same:
        if (other.epoch, other.peer) < mine:
            lost(book, other.peer)
    manager = book.managers[peer]
    manager.address, manager.epoch, manager.joined = message.address, message.epoch, True
    manager.shard = message.shard
    for id in message.placements:
        if id in book.gone:
            book.say(peer, book.gone[id])
        elif id in book.placements:
            book.placements[id].known_by = peer
        else:
            book.expected[id] = peer
            book.wake(book.now + book.settings.adopt_grace, "expected", id)
    tell_identities(book, peer)
    book.changed()
    book.viewed()


def not_found(book: Book, id: str) -> None:
    """The timer of a placement that a manager knows: no agent has come with it."""
    peer = book.expected.pop(id, None)
    if peer is not None:
        gone = PlacementGone(id, "", "no agent runs it")
        remember(book, gone)
        book.say(peer, gone)
        book.changed()


def wants(book: Book, peer: Peer, message: DemandChanged) -> None:
    demand = book.demands.get(message.session)
    resources = interned(message.resources or book.settings.default_resources)
    if demand is None:
        demand = Demand(message, peer, resources, accrued_at=book.now, tally=book.tally(message.tenant))
        book.add_demand(demand)
        _take_up(book, demand)
    taken_over = demand.manager != peer
    demand.accrue(book.now)
    demand.wish, demand.manager, demand.resources = message, peer, resources
    if taken_over:
        demand.told = ()
        book.reasons_changed[message.session] = None
        for placement in demand.placements.values():
            # A manager that comes new must know whom to let in.
            grant(book, placement)
            if placement.state == PlacementState.DRAINING:
                book.say(peer, DrainExecutor(placement.id, "drained before the manager came back"))
    book.changed()


def _take_up(book: Book, demand: Demand) -> None:
    """Placements that were adopted before their demand was told, or that outlived it, belong to it from now on."""
    session = demand.wish.session
    demand.unit = _unit(book, demand)
    book.orphans.pop(session, None)
    for placement in book.placements.values():
        if placement.session != session or placement.zombie:
            continue
        if is_full(demand):
            replaced(book, placement.id, session)
            placement.zombie = True
            stop(book, placement, 0.0, "given up before its manager came back")
            continue
        demand.placements[placement.id] = placement
        rename_app(book, placement, demand.wish.app)
        grant(book, placement)


def _unit(book: Book, demand: Demand) -> float:
    ready = [node.info.allocatable for node in book.nodes.values() if node.state == NodeState.READY]
    return min(1.0, dominant_share(demand.resources, total(ready))) / max(1, demand.wish.weight)


def gone(book: Book, peer: Peer | None, message: DemandGone) -> None:
    """The session is over. Its executors leave by themselves; those that have not begun are stopped, and later the rest."""
    demand = book.drop_demand(message.session)
    if demand is None:
        return
    book.reasons_changed.pop(message.session, None)
    for placement in list(demand.placements.values()):
        if placement.state in (PlacementState.RESERVED, PlacementState.STARTING):
            stop(book, placement, book.settings.stop_grace, "the session is closed")
        elif placement.state != PlacementState.DRAINING:
            placement.step("drain")
            book.fleet.node(placement.node)
    if demand.placements:
        book.wake(book.now + book.settings.leave_grace, "leave", message.session)
    book.changed()
    book.viewed()


def stop_leftovers(book: Book, session: str) -> None:
    """The timer of a closed session: what has not left by now is stopped."""
    if session in book.demands:
        return
    for placement in list(book.placements.values()):
        if placement.session == session and not placement.zombie:
            stop(book, placement, book.settings.stop_grace, "the session is closed")


def stop_orphans(book: Book, session: str) -> None:
    """The timer of placements nobody wants: no manager has announced their session."""
    until = book.orphans.get(session)
    if until is not None and book.now >= until:
        del book.orphans[session]
        for placement in list(book.placements.values()):
            if placement.session == session and not placement.zombie:
                stop(book, placement, book.settings.stop_grace, "no manager knows the session")


def kill(book: Book, message: KillExecutor) -> None:
    placement = book.placements.get(message.placement)
    if placement is not None:
        stop(book, placement, 0.0, message.reason)
        book.changed()


def lost(book: Book, peer: Peer) -> None:
    """The manager is away: its demands stay for a while and its executors keep running."""
    book.managers.pop(peer, None)
    for id in [id for id, who in book.expected.items() if who == peer]:
        del book.expected[id]
    for session, demand in book.demands.items():
        if demand.manager == peer:
            demand.manager = None
            book.wake(book.now + book.settings.manager_grace, "manager", session)
    book.changed()


def give_up(book: Book, session: str) -> None:
    """The timer of a demand whose manager is away: nobody has announced it again."""
    demand = book.demands.get(session)
    if demand is not None and demand.manager is None:
        gone(book, None, DemandGone(session))
