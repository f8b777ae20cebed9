"""What managers are told for lists and for `explain`, on change and not too often."""

from __future__ import annotations

from flame.core.allocator.nodes import info_of
from flame.core.allocator.state import Book, Placement
from flame.core.model.messages import ClusterChanged, ExecutorInfo, NodeInfo, Reasons
from flame.core.model.states import ExecutorState, NodeState, PlacementState


def tell(book: Book) -> None:
    """Send what has changed to the managers it concerns."""
    if book.view_changed:
        view = cluster(book)
        for manager in book.managers.values():
            if manager.joined:
                book.say(manager.peer, view)
        book.view_changed = False
    for session in book.reasons_changed:
        demand = book.demands.get(session)
        if demand is not None and demand.manager is not None and demand.told != demand.reasons:
            demand.told = demand.reasons
            book.say(demand.manager, Reasons(session, demand.reasons))
    book.reasons_changed.clear()


def cluster(book: Book) -> ClusterChanged:
    """All nodes, those that have not come back since a restart included, and all executors."""
    nodes = [info_of(book, node, node.last_beat) for node in book.nodes.values()]
    nodes += [_absent(info) for name, info in book.known.items() if name not in book.nodes]
    executors = [
        executor(placement) for placement in book.placements.values() if placement.rank is None and not placement.zombie
    ]
    return ClusterChanged(tuple(nodes), tuple(executors))


def _absent(info: NodeInfo) -> NodeInfo:
    return NodeInfo(
        name=info.name,
        state=int(NodeState.NOT_READY),
        capacity=info.capacity,
        allocatable=info.allocatable,
        arch=info.arch,
        os=info.os,
        labels=info.labels,
        driver=info.driver,
    )


def executor(placement: Placement) -> ExecutorInfo:
    state = placement.executor
    if placement.state in (PlacementState.RESERVED, PlacementState.STARTING):
        state = ExecutorState.VOID
    elif placement.state == PlacementState.DRAINING:
        bound = state in (ExecutorState.BOUND, ExecutorState.UNBINDING)
        state = ExecutorState.UNBINDING if bound else ExecutorState.RELEASING
    return ExecutorInfo(
        id=placement.id,
        node=placement.node,
        state=int(state),
        session=placement.session,
        resources=placement.resources,
        shim=placement.shim,
        pid=placement.pid,
    )
