"""One workload in motion: its replicas by rank, its attempts, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from flame.core.model.messages import ReplicaChanged
from flame.core.objects.workload import WorkloadSpec

PENDING, RUNNING, SUCCEEDED, FAILED, SUSPENDED = "Pending", "Running", "Succeeded", "Failed", "Suspended"
CHECKPOINT = "flame.xflops.cn/checkpoint"
"""Annotation of the workload: time of its last checkpoint, in seconds since the epoch."""
MAX_HISTORY = 10
"""Failures that the status lists; all of them count."""


@dataclass(slots=True)
class Replica:
    """A placement of the workload. `template`: of the spec it was started with. `stopping`: it was told to end, and why;
    `evicted`: somebody
    else needs its room, and who."""

    id: str
    rank: int
    node: str
    attempt: int
    template: str
    since: float
    status: ReplicaChanged | None = None
    stopping: str = ""
    evicted: str = ""

    @property
    def leaving(self) -> bool:
        return bool(self.stopping or self.evicted)

    @property
    def running(self) -> bool:
        return self.status is not None and self.status.phase == RUNNING

    @property
    def ready(self) -> bool:
        return self.running and self.status is not None and self.status.ready and not self.leaving


@dataclass(frozen=True, slots=True)
class Failure:
    """How one run of one rank ended badly."""

    attempt: int
    rank: int
    reason: str
    message: str
    at: float


@dataclass(slots=True)
class Job:
    """`key`: job/tenant/namespace/name. `done`: ranks that have succeeded. `not_before`: no replica starts earlier (back-off).

    attempt:   counts starts of the whole gang, or (without a gang) of anything again
    losses:    replicas that ended through no fault of theirs: evicted, or lost with their node
    started:   when it first ran; its deadline counts from there
    """

    key: str
    tenant: str
    uid: str
    spec: WorkloadSpec
    created: float
    generation: int = 0
    template: str = ""
    """Of the current spec, as a digest: what a replica was started with is compared with it."""
    replicas: dict[str, Replica] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    attempt: int = 1
    failed: int = 0
    losses: int = 0
    history: list[Failure] = field(default_factory=list)
    not_before: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    phase: str = PENDING
    reason: str = ""
    message: str = ""
    deleting: bool = False
    ignored: tuple[str, ...] = ()
    """Fields of its spec that are accepted and not acted upon."""
    waiting: float = 0.0
    safe_until: float = 0.0
    overdue: bool = False
    """It had waited for too long when it started."""
    status_due: float = 0.0
    status_waits: bool = False
    rendezvous: str = ""
    world: int = 0
    """Replicas that the running attempt was told there are; 0: none runs."""

    @property
    def checkpoint(self) -> float:
        """When it last saved what it has, as its annotation says (seconds since the epoch); 0: never."""
        try:
            return float(self.spec.annotations.get(CHECKPOINT, 0.0))
        except ValueError:
            return 0.0

    @property
    def over(self) -> bool:
        return self.phase in (SUCCEEDED, FAILED)

    @property
    def setbacks(self) -> int:
        """How often all of it, or as much as that, was evicted or lost."""
        return max(self.attempt - 1 - self.failed, self.losses // max(1, self.spec.replicas))

    @property
    def whole(self) -> bool:
        """Do its replicas need each other, so that all of them start again when one does?"""
        return self.spec.gang and not self.spec.elastic

    @property
    def max_unavailable(self) -> int:
        """Replicas that may be missing while their template is replaced; at least one, or nothing would ever happen."""
        given = (self.spec.strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
        share = given if isinstance(given, int) else self.spec.replicas * int(str(given).rstrip("%") or 0) // 100
        return max(1, share)

    def take(self, spec: WorkloadSpec) -> None:
        """It is wanted otherwise from now on."""
        self.spec, self.generation = spec, spec.generation
        self.template = blake2b(msgspec.json.encode(spec.template, order="deterministic"), digest_size=8).hexdigest()

    def live(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if not replica.leaving]

    def ranks_wanted(self) -> list[int]:
        """Ranks that nobody has, lowest first."""
        taken = {replica.rank for replica in self.replicas.values()} | self.done
        return [rank for rank in range(self.spec.replicas) if rank not in taken]

    def remember(self, failure: Failure) -> None:
        self.failed += 1
        self.history = [*self.history, failure][-MAX_HISTORY:]


def restore(job: Job, status: Mapping[str, Any]) -> None:
    """Take up from what the stored status says: attempts, ends, deadlines outlive the process that counted them."""
    job.phase = str(status.get("phase") or PENDING)
    if job.phase not in (SUCCEEDED, FAILED):
        job.phase = PENDING
    job.attempt = int(status.get("attempt") or 1)
    job.failed = int(status.get("failed") or 0)
    job.losses = int(status.get("losses") or 0)
    job.done = {int(rank) for rank in status.get("completedRanks") or ()}
    job.rendezvous = str(status.get("rendezvous") or "")
    job.started = float(status.get("startedAt") or 0.0)
    job.finished = float(status.get("finishedAt") or 0.0)
    job.reason, job.message = str(status.get("reason") or ""), str(status.get("message") or "")
    job.history = [
        Failure(int(f["attempt"]), int(f["rank"]), str(f["reason"]), str(f["message"]), float(f["at"]))
        for f in status.get("failures") or ()
    ]
