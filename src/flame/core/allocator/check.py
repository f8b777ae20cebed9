"""What must be true after every event. Tests and the simulator call it; it costs O(everything)."""

from __future__ import annotations

from flame.core.allocator.state import Book
from flame.core.model.resources import total
from flame.core.model.states import NodeState, PlacementState


def check(book: Book) -> None:
    """Raises AssertionError, naming the object, when an invariant is broken."""
    check_nodes(book)
    check_demands(book)
    apps: dict[str, int] = {}
    for placement in book.placements.values():
        assert placement.state != PlacementState.GONE, f"{placement.id}: kept though it is gone"
        assert placement.state != PlacementState.RESERVED, f"{placement.id}: reserved and never started"
        assert placement.node in book.nodes, f"{placement.id}: no node {placement.node}"
        assert placement.zombie or placement.id not in book.gone, f"{placement.id}: came back after it was gone"
        apps[placement.app] = apps.get(placement.app, 0) + 1
    assert apps == book.app_counts, f"applications: counted {book.app_counts}, {apps} are"


def check_nodes(book: Book) -> None:
    held = 0
    for name, node in book.nodes.items():
        used = total(placement.held() for placement in node.placements.values())
        for resource in {**used, **node.used}:
            counted, real = node.used.get(resource, 0), used.get(resource, 0)
            assert counted == real, f"{name}: counted {counted} {resource}, {real} are used"
        for resource, free in node.free().items():
            over = node.overdraft.get(resource, 0)
            assert free >= -over, f"{name} is oversubscribed: {resource} {free} free, {over} are overdrawn"
        assert node.state != NodeState.READY or node.peer is not None, f"{name}: ready without an agent"
        kept = node.peer is not None or (node.info.grace > 0 and node.state == NodeState.UNKNOWN)
        assert kept or not node.placements, f"{name}: placements without an agent"
        for device in node.devices:
            mine = sum(p.devices.get(device.uuid, 0) for p in node.placements.values())
            assert device.used == mine <= 1000 or node.overdraft, (
                f"{name}: {device.uuid} has {device.used}, {mine} is used"
            )
        for id, placement in node.placements.items():
            assert book.placements.get(id) is placement, f"{id}: on {name} but unknown"
        held += len(node.placements)
    assert held == len(book.placements), f"{held} placements are on nodes, {len(book.placements)} are known"


def check_demands(book: Book) -> None:
    for session, demand in book.demands.items():
        for id, placement in demand.placements.items():
            assert book.placements.get(id) is placement, f"{id}: of {session} but unknown"
            assert placement.session == session, f"{id}: of {placement.session}, counted for {session}"
        limit = demand.wish.max_instances
        assert limit is None or len(demand.placements) <= limit, (
            f"{session}: {len(demand.placements)} of at most {limit}"
        )
        mine = sum(p.session == session and not p.zombie for p in book.placements.values())
        assert mine == len(demand.placements), f"{session}: {mine} placements, {len(demand.placements)} counted"
        assert demand.manager is None or demand.manager in book.managers, f"{session}: its manager is not connected"
