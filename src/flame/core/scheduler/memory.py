"""What the scheduler knows from one cycle to the next, so that a cycle costs what has changed and not what there is.

Nodes that look as before are not copied again. A shape that fitted nowhere is not tried again before some node has more room: then only
the room that came is counted, and everything is looked through again when that could be enough.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flame.core.model.resources import CPU, GPU, Resources
from flame.core.model.snapshot import NodeView
from flame.core.scheduler.nodestate import NodeState

if TYPE_CHECKING:
    from flame.core.scheduler.actions.waiting import Tally
    from flame.core.scheduler.proposal import Proposal

MAX_LOG = 50_000
"""Entries about room that came; shapes that were found full before the oldest one are looked at again."""


LEVELLED = (GPU, CPU)
"""Resources by which nodes with room are found; the first one that is asked for counts."""


def level(resource: str, amount: int) -> int:
    """Whole GPUs; CPUs by powers of two."""
    whole = max(0, amount) // 1000
    return whole if resource == GPU else whole.bit_length()


@dataclass(slots=True)
class Inquiry:
    """Why one workload waits, asked of some nodes after the others. `names`: who has not been asked."""

    session: str
    tally: Tally
    names: list[str]


class Memory:
    """Made once; every cycle hands its proposal over."""

    def __init__(self) -> None:
        self.proposal: Proposal | None = None
        self.nodes: dict[str, NodeState] = {}
        self.coming: dict[str, None] = {}
        """Nodes where something is leaving."""
        self.overdrawn: dict[str, None] = {}
        """Nodes that give more than they have."""
        self.order: dict[str, int] = {}
        """Of nodes: which was there first."""
        self._levels: dict[str, dict[int, dict[str, None]]] = {name: {} for name in LEVELLED}
        self._level_of: dict[str, tuple[int, ...]] = {}
        self._stamp = 0
        self._times: list[int] = []
        self._names: list[str] = []
        self._full: dict[object, tuple[int, int]] = {}
        self._held: frozenset[str] = frozenset()
        self._turn = 0
        self.inquiry: Inquiry | None = None
        self.explained = 0.0
        """When a reason was last found anew."""

    def adopt(self, views: Iterable[NodeView], proposal: Proposal) -> dict[str, NodeState]:
        """The nodes of this cycle, as they are before it decides anything."""
        self.proposal = proposal
        self._stamp += 1
        nodes, seen = self.nodes, 0
        for view in views:
            state = nodes.get(view.name)
            if not view.ready:
                if state is not None:
                    self._drop(view.name)
                continue
            seen += 1
            if state is not None and state.view is view and not state.touched:
                continue
            if state is None or _more(state.view, view):
                self.free(view.name)
            nodes[view.name] = NodeState(view, self)
            self._place(view)
            if view.coming:
                self.coming[view.name] = None
            else:
                self.coming.pop(view.name, None)
            if any(amount < 0 for amount in view.free.values()):
                self.overdrawn[view.name] = None
            else:
                self.overdrawn.pop(view.name, None)
        if seen < len(nodes):
            here = {view.name for view in views if view.ready}
            for name in [name for name in nodes if name not in here]:
                self._drop(name)
        return nodes

    def _place(self, view: NodeView) -> None:
        """Note how much room it has, roughly."""
        name = view.name
        self.order.setdefault(name, len(self.order))
        new = tuple(level(resource, view.free.get(resource, 0)) for resource in LEVELLED)
        old = self._level_of.get(name)
        if old == new:
            return
        for at, resource in enumerate(LEVELLED):
            if old is not None:
                self._levels[resource][old[at]].pop(name, None)
            self._levels[resource].setdefault(new[at], {})[name] = None
        self._level_of[name] = new

    def roomy(self, need: Resources) -> Iterator[NodeState]:
        """Nodes that may have room for this now, and surely all that have."""
        resource = next((name for name in LEVELLED if need.get(name, 0) > 0), None)
        if resource is None:
            yield from self.nodes.values()
            return
        least = level(resource, need[resource])
        for at, names in self._levels[resource].items():
            if at >= least:
                for name in list(names):
                    yield self.nodes[name]

    def _drop(self, name: str) -> None:
        del self.nodes[name]
        levels = self._level_of.pop(name, None)
        for at, resource in enumerate(LEVELLED if levels is not None else ()):
            self._levels[resource][levels[at]].pop(name, None)  # type: ignore[index]
        self.coming.pop(name, None)
        self.overdrawn.pop(name, None)

    def finish(self, held: Iterable[str]) -> bool:
        """The cycle is over; `held`: nodes with room that is reserved. Where none is any more, others may look again: is there such a
        node?"""
        self._stamp += 1
        now = frozenset(held)
        before, self._held = self._held, now
        for name in sorted(before - now):
            self.free(name)
        return bool(before - now)

    def free(self, name: str) -> None:
        """There is more room on this node, or something else about it may help somebody."""
        self._times.append(self._stamp)
        self._names.append(name)
        if len(self._times) > MAX_LOG:
            floor = self._times[MAX_LOG // 2]
            del self._times[: MAX_LOG // 2], self._names[: MAX_LOG // 2]
            self._full = {shape: entry for shape, entry in self._full.items() if entry[0] >= floor}

    def note_full(self, shape: object, found: int) -> None:
        """Only `found` of this shape fit at once."""
        self._full[shape] = self._stamp, found

    def is_full(self, shape: object) -> bool:
        """Was it full when it was last tried?"""
        return shape in self._full

    def still_full(self, shape: object, need: Resources, count: int) -> bool:
        """Can it be told, without a look at all nodes, that `count` of this shape do not fit?"""
        entry = self._full.get(shape)
        if entry is None:
            return False
        stamp, bound = entry
        names = dict.fromkeys(self._names[bisect_right(self._times, stamp) :])
        for name in names:
            node = self.nodes.get(name)
            if node is not None:
                bound += _fitting(node, need)
        if bound >= count:
            del self._full[shape]
            return False
        self._full[shape] = self._stamp, bound
        return True

    def turns(self, count: int, most: int) -> Iterator[int]:
        """At most `most` indices out of `count`, others than last time: whoever cannot be served in one cycle is in another."""
        for _ in range(min(count, most)):
            self._turn = (self._turn + 1) % count
            yield self._turn


def _more(old: NodeView, new: NodeView) -> bool:
    """Is there something on the node that was not there before?"""
    if old.labels != new.labels or old.taints != new.taints or old.devices is not new.devices or old.shim != new.shim:
        return True
    if any(amount > old.free.get(name, 0) for name, amount in new.free.items()):
        return True
    return any(amount > old.coming.get(name, 0) for name, amount in new.coming.items()) or new.replicas < old.replicas


def _fitting(node: NodeState, need: Resources) -> int:
    """How many of this size there is room for, now or later, as far as amounts tell."""
    most = 1 << 30
    for name, amount in need.items():
        if amount > 0:
            most = min(most, max(node.free.get(name, 0), node.later.get(name, 0)) // amount)
    return most
