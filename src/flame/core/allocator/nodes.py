"""What agents say: nodes come, beat, fall silent, leave."""

from __future__ import annotations

from flame.core.allocator import shown
from flame.core.allocator.placements import adopt, end, stop
from flame.core.allocator.records import NodeReleased, NodeSeen
from flame.core.allocator.state import Book, Node
from flame.core.base import ids
from flame.core.base.errors import PermissionDenied
from flame.core.model.messages import AgentTuned, Heartbeat, NodeInfo, RegisterNode, ReleaseNode
from flame.core.model.reactor import Close, Peer
from flame.core.model.resources import Gpu, interned, occupy
from flame.core.model.states import NodeState
from flame.core.objects.settings import HEARTBEAT, UPDATES

READY_CODE, SILENT_CODE, LOST_CODE = 4001, 4002, 4003


def register(book: Book, peer: Peer, message: RegisterNode) -> None:
    """A node comes, or comes again: on a new connection what it runs is what it says it runs."""
    who = book.who.get(peer)
    if who is not None and who.name != message.name:
        raise PermissionDenied(f"the certificate is of node {who.name}; it may not register {ids.shown(message.name)}")
    node = book.nodes.get(message.name)
    if node is not None and node.peer is not None and node.peer > peer:
        return  # an earlier connection of the agent, read late
    if node is None:
        node = Node(message, peer, NodeState.UNKNOWN, book.now)
        book.nodes[message.name] = node
        look_again(book, node, book.now + silence(book))
    returned = node.peer != peer
    node.info = RegisterNode(
        name=message.name,
        capacity=interned(message.capacity),
        allocatable=interned(message.allocatable),
        arch=message.arch,
        os=message.os,
        labels=message.labels,
        devices=message.devices,
        driver=message.driver,
        shim=message.shim,
        grace=message.grace,
        address=message.address,
        taints=message.taints,
        images=message.images,
        runtimes=message.runtimes,
        max_workloads=message.max_workloads,
    )
    sharers = book.view.gpu_max_sharers if book.view.gpu_sharing else 1
    node.devices = tuple(
        Gpu(device.uuid, device.model, device.memory, max_sharers=device.max_sharers or sharers)
        for device in message.devices
    )
    for placement in node.placements.values():
        occupy(node.devices, placement.devices)
    was = node.state
    # The timer stopped looking while the node was away.
    if node.state == NodeState.NOT_READY or node.peer is None:
        look_again(book, node, book.now + silence(book))
    node.peer, node.last_beat = peer, book.now
    node.step("register")
    running = {placed.id: placed for placed in message.running}
    if returned:
        if (book.view.heartbeat_interval, book.view.resource_update_interval) != (HEARTBEAT, UPDATES):
            tune(book)
        for placement in [p for p in node.placements.values() if p.id not in running]:
            end(book, placement, "not running on the agent any more")
        for placement in node.placements.values():
            if placement.told is not None:
                stop(book, placement, *placement.told)
    for placed in running.values():
        if placed.id not in book.placements:
            adopt(book, placed, node)
    node.overdraw()
    node.shown_beat = book.now
    remember(book, node)
    if was != NodeState.READY:
        book.note(f"node/{message.name}", "NodeReady", READY_CODE, f"node {message.name} is ready")
    book.changed()
    book.viewed()


def silence(book: Book) -> float:
    """Seconds without a heartbeat after which a node is Unknown: three intervals."""
    return book.settings.beat_timeout * book.view.heartbeat_interval / HEARTBEAT


def look_again(book: Book, node: Node, moment: float) -> None:
    """At its heartbeat, not before; a timer that was set for an earlier moment does nothing."""
    node.check_at = moment
    book.wake(moment, "beat", node.info.name)


def tune(book: Book) -> None:
    """Agents are to live by the settings that hold now."""
    view = book.view
    for node in book.nodes.values():
        look_again(book, node, book.now + silence(book))
    for peer in dict.fromkeys(node.peer for node in book.nodes.values()):
        book.say(peer, AgentTuned(view.heartbeat_interval, view.resource_update_interval))


def beat(book: Book, peer: Peer, message: Heartbeat) -> None:
    node = book.nodes.get(message.node)
    if node is None or node.peer is None:
        # An earlier connection of the same agent was read after this one and ended after it: have it register again.
        book.out.append(Close(peer, f"node {message.node} is not registered"))
        return
    if node.peer != peer:
        return
    node.last_beat = book.now
    if book.now - node.shown_beat >= shown.HEARTBEAT_SHOWN:
        node.shown_beat = book.now
        shown.node(book, node)
    if node.state == NodeState.UNKNOWN:
        node.step("beat")
        remember(book, node)
        book.note(f"node/{message.node}", "NodeReady", READY_CODE, f"node {message.node} is heard again")
        book.changed()
        book.viewed()


def check_beat(book: Book, name: str) -> None:
    """The timer of a node: silence makes it Unknown, longer silence loses it."""
    node = book.nodes.get(name)
    if node is None or node.state == NodeState.NOT_READY or node.peer is None or book.now < node.check_at:
        return
    timeout = silence(book)
    silent = node.last_beat + timeout
    lost = silent + book.settings.drain_timeout
    if book.now >= lost:
        lose(book, node, f"silent for {timeout + book.settings.drain_timeout:g} s")
    elif book.now >= silent:
        if node.state == NodeState.READY:
            node.step("miss")
            remember(book, node)
            book.note(f"node/{name}", "NodeSilent", SILENT_CODE, f"node {name} was silent for {timeout:g} s")
            book.changed()
            book.viewed()
        look_again(book, node, lost)
    else:
        look_again(book, node, silent)


def agent_lost(book: Book, peer: Peer) -> None:
    """On one machine a connection ends with its agent, and executors with it. From another machine it may be the network: what runs
    there is kept for the grace that the agent named, and it goes on when it comes back."""
    for node in [node for node in book.nodes.values() if node.peer == peer]:
        if node.info.grace <= 0:
            lose(book, node, "agent lost")
            continue
        node.peer, node.lost_at = None, book.now
        if node.state == NodeState.READY:
            node.step("miss")
        remember(book, node)
        text = f"the connection to node {node.info.name} broke; it has {node.info.grace:g} s to come back"
        book.note(f"node/{node.info.name}", "NodeUnreachable", SILENT_CODE, text)
        book.wake(book.now + node.info.grace, "rejoin", node.info.name)
        book.changed()
        book.viewed()


def not_back(book: Book, name: str) -> None:
    """The timer of a node whose connection broke."""
    node = book.nodes.get(name)
    if node is None or node.peer is not None or node.state == NodeState.NOT_READY:
        return
    if book.now >= node.lost_at + node.info.grace:
        lose(book, node, f"its agent did not come back within {node.info.grace:g} s")


def lose(book: Book, node: Node, reason: str) -> None:
    node.peer = None
    if node.state != NodeState.NOT_READY:
        node.step("lose")
    for placement in list(node.placements.values()):
        end(book, placement, reason)
    remember(book, node)
    book.note(f"node/{node.info.name}", "NodeNotReady", LOST_CODE, f"node {node.info.name} is not ready: {reason}")
    book.changed()
    book.viewed()


def release(book: Book, peer: Peer, message: ReleaseNode) -> None:
    """The node leaves for good."""
    node = book.nodes.get(message.node)
    if node is None or node.peer != peer:
        return
    for placement in list(node.placements.values()):
        stop(book, placement, book.settings.stop_grace, "node released")
        end(book, placement, "node released")
    del book.nodes[message.node]
    book.fleet.node(message.node)
    book.persist(NodeReleased(message.node))
    shown.no_node(book, message.node)
    book.changed()
    book.viewed()


def remember(book: Book, node: Node) -> None:
    """Make the node's state durable, unless it is already; and show it."""
    book.fleet.node(node.info.name)
    shown.node(book, node)
    info = info_of(book, node, 0.0)
    if book.known.get(info.name) != info:
        book.persist(NodeSeen(info))


def info_of(book: Book, node: Node, last_beat: float) -> NodeInfo:
    info = node.info
    return NodeInfo(
        cordoned=info.name in book.cordoned,
        name=info.name,
        state=int(node.state),
        capacity=info.capacity,
        allocatable=info.allocatable,
        arch=info.arch,
        os=info.os,
        last_heartbeat=last_beat,
        labels=info.labels,
        driver=info.driver,
        address=info.address,
        devices=info.devices,
        taints=info.taints,
    )
