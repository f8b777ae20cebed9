"""What the allocator knows of objects and workloads: beside nodes and sessions, the other half of its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flame.core.allocator.fleet import Fleet
from flame.core.base.errors import Unimplemented
from flame.core.model import messages as m
from flame.core.model.reactor import Peer
from flame.core.model.snapshot import QuotaView
from flame.core.objects.admission import admission
from flame.core.objects.records import ObjectGone, ObjectKept, ObjectsSeen
from flame.core.objects.settings import ClusterSettings, Parse
from flame.core.objects.state import Key
from flame.core.objects.store import Objects
from flame.core.scheduler.quota import QuotaTree
from flame.core.workloads.job import Job

if TYPE_CHECKING:
    from flame.core.allocator.state import Placement


@dataclass(slots=True)
class Watch:
    """Somebody who waits for changes of one kind. `until`: then it is answered with nothing."""

    peer: Peer
    request: int
    ask: m.WatchObjects
    kind: str
    until: float


@dataclass(frozen=True, slots=True)
class RankClass:
    """A priority class. `preempts`: may its workloads evict others?"""

    name: str = ""
    value: int = 0
    preempts: bool = True


class Keeper(Protocol):
    """What placements ask about the workload they belong to."""

    def take_up(self, placed: m.Placed, placement: Placement) -> bool:
        """An agent came back with it: is it still wanted?"""
        ...

    def evict(self, placement: Placement, reason: str) -> None:
        """It must go for somebody else, or with its node."""
        ...

    def gone(self, placement: Placement, reason: str, exit: m.PlacementExited | None) -> None:
        """It has ended."""
        ...


def no_parse(text: str) -> tuple[object, Mapping[str, int]]:
    """For an allocator that was not told how YAML is read."""
    raise Unimplemented("this allocator reads no YAML")


class Holdings:
    """Objects, the workloads made of them, and who waits for news about them."""

    keeper: Keeper

    def __init__(self, parse: Parse, reached: bool) -> None:
        self.parse = parse
        self.job_tokens: dict[str, str] = {}
        """Workload -> its token, as far as one was given out in this life."""
        self.view = ClusterSettings()
        """The cluster's settings, as far as the core looks at them."""
        self.objects = Objects(admission(parse, lambda: self.view, reached))
        self.classes: dict[str, RankClass] = {}
        self.default_class = RankClass()
        self.quotas: tuple[QuotaView, ...] = ()
        self.tree = QuotaTree(())
        """What is used of them."""
        self.fleet = Fleet()
        self.accounted = 0.0
        self.quotas_of: dict[tuple[str, str], tuple[str, ...]] = {}
        """(tenant, namespace) -> the quotas that count what runs there."""
        self.counted: dict[Key, tuple[tuple[str, ...], Mapping[str, int]]] = {}
        """Objects that are admitted: the quotas that count them, and what."""
        self.refused_kinds: frozenset[str] = frozenset()
        """Of those that do not wait for a quota: the ones that some quota counts."""
        self.queued: dict[Key, str] = {}
        """Claims and services that wait for a quota, the oldest first, and why."""
        self.settings_changed = False
        self.jobs: dict[str, Job] = {}
        self.dirty_jobs: dict[str, None] = {}
        self.reserved: Mapping[str, tuple[str, ...]] = {}
        """What the last plan keeps for whom, see Snapshot."""
        self.watches: dict[str, list[Watch]] = {}  # by kind
        self.objects_changed: dict[str, None] = {}  # kinds
        self.stale_nodes: dict[str, None] = {}
        """Whose objects do not show yet what runs there."""
        self.calls: dict[int, tuple[Peer, int, Peer]] = {}
        """What agents were asked: who asked, its request, who was asked."""
        self.last_call = 0
        self.last_port = 0

    def commit(self, record: ObjectKept | ObjectGone | ObjectsSeen) -> None:
        """Let it be so among the objects, without a journal: what is only shown, or was read from the journal."""
        self.objects.commit(record)
        if not isinstance(record, ObjectsSeen):
            self.objects_changed[record.kind] = None
