"""Workloads in the allocator: from objects to demands, from placements to replicas, and back into status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flame.core.allocator import counted, shown
from flame.core.allocator.identities import drop_workload_tokens
from flame.core.allocator.outlook import outlook
from flame.core.allocator.placements import enter, stop
from flame.core.allocator.policy import workload_view
from flame.core.allocator.replicas import order
from flame.core.allocator.state import Book, Demand, Node, Placement
from flame.core.base.errors import InvalidState, NotFound, Unavailable
from flame.core.model import messages as m
from flame.core.model.messages import AppSpec, DemandChanged
from flame.core.model.reactor import Peer
from flame.core.model.resources import interned
from flame.core.model.states import PlacementState
from flame.core.objects.check import ignored_fields
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.stamps import seconds
from flame.core.objects.state import Key, Stored
from flame.core.objects.workload import config_names, read_workload
from flame.core.workloads.diagnosis import Facts, diagnose_workload
from flame.core.workloads.job import PENDING, Job, Replica, restore
from flame.core.workloads.reconcile import Decision, ended, reconcile
from flame.core.workloads.status import status_of

CODE = 5001
STATUS_PAUSE = 0.05
"""Seconds between two writes of one status, unless its phase changes."""
DOUBLINGS = 8
"""Times at most that the protection of who waited too long grows: its work would be lost again and again, and never come to an end."""
KIND = "FlameWorkload"


def key_of(key: Key) -> str:
    """What a workload is called where sessions and workloads are together: it has slashes, which no session's name has."""
    return f"job/{key.tenant}/{key.namespace}/{key.name}"


def stored_of(book: Book, job: Job) -> Stored | None:
    _, tenant, namespace, name = job.key.split("/", 3)
    return book.objects.find(KIND, tenant, namespace, name)


def sync(book: Book, key: Key) -> None:
    """A workload was made, changed or deleted."""
    stored = book.objects.find(*key)
    name = key_of(key)
    job = book.jobs.get(name)
    if stored is None:
        if job is not None:
            _drop(book, job)
        return
    spec = read_workload(stored.body, book.view, configs(book, stored))
    if job is not None and job.uid != stored.metadata["uid"]:
        _drop(book, job)
        job = None
    if job is None:
        job = Job(name, key.tenant, stored.metadata["uid"], spec, seconds(stored.metadata["creationTimestamp"]))
        restore(job, stored.status)
        if stored.status.get("replicas"):
            job.not_before = book.now + book.settings.adopt_grace  # agents that run some of it may come back
        book.jobs[name] = job
    job.take(spec)
    job.ignored = tuple(ignored_fields(WORKLOAD, stored.body))
    job.deleting = bool(stored.metadata.get("deletionTimestamp"))
    book.dirty_jobs[name] = None


def configs(book: Book, stored: Stored) -> dict[str, Mapping[str, Any]]:
    """The ConfigMaps that its template names, as far as they are there."""
    found = {
        name: book.objects.find("ConfigMap", stored.key.tenant, stored.key.namespace, name)
        for name in config_names(stored.body)
    }
    return {name: config.body for name, config in found.items() if config is not None}


def config_changed(book: Book, key: Key) -> None:
    """Workloads that name this ConfigMap are read again."""
    for stored in list(book.objects.list(KIND, key.tenant, key.namespace).items):
        if key.name in config_names(stored.body):
            sync(book, stored.key)


def sync_all(book: Book) -> None:
    """Settings, classes or quotas have changed."""
    for stored in list(book.objects.each(KIND)):
        sync(book, stored.key)


def tend_all(book: Book) -> None:
    """Whatever follows for the workloads about which something is new."""
    while book.dirty_jobs:
        name = next(iter(book.dirty_jobs))
        del book.dirty_jobs[name]
        job = book.jobs.get(name)
        if job is not None:
            tend(book, job)


def tend(book: Book, job: Job) -> None:
    decision = reconcile(job, book.now)
    follow(book, job, decision)
    if job.deleting and not job.replicas:
        _finalize(book, job)
        return
    _wish(book, job, decision)
    write_status(book, job)


def follow(book: Book, job: Job, decision: Decision) -> None:
    for id, why in decision.stop.items():
        placement = book.placements.get(id)
        if placement is not None:
            stop(book, placement, _grace(book, job), why)
            shown.pod(book, job, placement)
    for reason, message in decision.events:
        book.note(f"workload/{job.key}", reason, CODE, message)
    if decision.wake is not None:
        book.wake(decision.wake, "job", job.key)


def _grace(book: Book, job: Job) -> float:
    stored = stored_of(book, job) if job.deleting else None
    asked = stored.metadata.get("deletionGracePeriodSeconds") if stored is not None else None
    return float(asked) if asked is not None else job.spec.grace


def _wish(book: Book, job: Job, decision: Decision) -> None:
    """What the scheduler is asked for."""
    spec = job.spec
    want = max(decision.want, 0)
    wish = DemandChanged(
        session=job.key,
        app=job.key,
        app_spec=AppSpec(delay_release=0.0),
        resources=spec.requests,
        want=want,
        idle=0,
        min_instances=0 if spec.gang else min(spec.min_available, want),
        max_instances=max(want, len(job.replicas)),
        priority=0,
        created=job.created,
        hold=decision.hold or bool(counted.claims_wanting(book, job) or spec.missing),
        tenant=job.tenant,
        namespace=spec.namespace,
    )
    demand = book.demands.get(job.key)
    if demand is None:
        if not want and not job.replicas:
            return
        demand = Demand(wish, None, interned(spec.requests), accrued_at=book.now, tally=book.tally(job.tenant), job=job)
        demand.placements = {id: book.placements[id] for id in job.replicas if id in book.placements}
        book.add_demand(demand)
        book.changed()
    elif demand.wish != wish:
        demand.accrue(book.now)
        demand.wish, demand.resources = wish, interned(spec.requests)
        book.changed()
    if not want and not job.replicas:
        book.drop_demand(job.key)
        book.fleet.forget(job.key)
        return
    hungry = want > len(job.live()) and not wish.hold
    job.waiting = (job.waiting or book.now) if hungry else 0.0
    book.fleet.put(demand, workload_view(book, demand, job), job.key in book.reserved)


def waiting_for(book: Book, job: Job) -> tuple[str, str] | None:
    """Why not everything is placed, in one word and for people."""
    if wanting := counted.claims_wanting(book, job):
        return wanting
    if job.spec.missing:
        return "ConfigNotFound", f"not found in namespace {job.spec.namespace}: {', '.join(job.spec.missing)}"
    if book.now < job.not_before:
        return "BackOff", f"it is tried again in {job.not_before - book.now:.0f} s (attempt {job.attempt})"
    demand = book.demands.get(job.key)
    if demand is None or len(job.live()) >= demand.wish.want:
        return None
    ahead, first = book.fleet.backlog.ahead(job.key)
    before = book.demands.get(first) if ahead else None
    if before is not None and before.reasons:
        reason = before.reasons[0]
        name = first.rpartition("/")[2]
        return reason.reason, f"{reason.message}; {ahead} of the same size wait longer, {name} is the first"
    return (demand.reasons[0].reason, demand.reasons[0].message) if demand.reasons else None


def write_status(book: Book, job: Job) -> None:
    """Into the object, when it says something new."""
    stored = stored_of(book, job)
    if stored is None:
        return
    status = status_of(job, stored.status, waiting_for(book, job), book.now, job.ignored)
    if status == stored.status:
        return
    if status["phase"] == stored.status.get("phase") and book.now < job.status_due:
        if not job.status_waits:
            job.status_waits = True
            book.wake(job.status_due, "status", job.key)
        return
    job.status_due, job.status_waits = book.now + STATUS_PAUSE, False
    book.persist(book.objects.with_status(stored, status))


def status_due(book: Book, key: str) -> None:
    """The timer of a status that was written a moment ago."""
    job = book.jobs.get(key)
    if job is not None and job.status_waits:
        job.status_waits = False
        write_status(book, job)


def _finalize(book: Book, job: Job) -> None:
    stored = stored_of(book, job)
    if stored is not None:
        change = book.objects.plan_finalized(KIND, stored.key.tenant, stored.key.namespace, stored.key.name)
        for record in change.records:
            book.persist(record)
        counted.changed(book, stored.key)
    _drop(book, job)


def _drop(book: Book, job: Job) -> None:
    """Nothing of it is wanted any more."""
    book.jobs.pop(job.key, None)
    demand = book.drop_demand(job.key)
    book.fleet.forget(job.key)
    for placement in list(demand.placements.values()) if demand is not None else ():
        stop(book, placement, job.spec.grace, "the workload is gone")
        shown.no_pod(book, job, placement)
    shown.no_pods(book, job)
    drop_workload_tokens(book, job.key)
    book.changed()


# -- placements ------------------------------------------------------------------------------------------------------------


def begin(book: Book, demand: Demand, job: Job, node: Node, devices: dict[str, int]) -> Placement | None:
    """Start the replica of the lowest rank that nobody has; None when there is none to start, or nobody to start it."""
    ranks = job.ranks_wanted()
    if not ranks or node.peer is None or job.over or job.deleting:
        return None
    rank, spec = ranks[0], job.spec
    late = job.waiting > 0 and book.now - job.waiting >= book.settings.scheduling.aging
    job.overdue = late or (job.overdue and bool(job.replicas))
    if late:
        job.safe_until = book.now + book.settings.scheduling.protect * 2 ** min(job.setbacks, DOUBLINGS)
    placement = Placement(
        id=book.new_id("replica"), session=job.key, app=job.key, node=node.info.name, resources=demand.resources,
        since=book.now, devices=dict(devices), rank=rank,
    )  # fmt: skip
    if not job.world:
        job.world = spec.replicas
    enter(book, placement, node)
    book.stale_nodes[placement.node] = None
    job.replicas[placement.id] = Replica(placement.id, rank, node.info.name, job.attempt, job.template, book.now)
    placement.step("start")
    book.say(node.peer, order(book, job, placement, node))
    shown.pod(book, job, placement)
    book.note(f"workload/{job.key}", "Scheduled", CODE, f"rank {rank} (attempt {job.attempt}) on node {node.info.name}")
    book.dirty_jobs[job.key] = None
    return placement


def take_up(book: Book, placed: m.Placed, placement: Placement) -> bool:
    """An agent that came (back) runs this replica. False: nobody wants it."""
    job = book.jobs.get(placed.owner)
    if job is None or job.over or job.deleting or (job.whole and placed.attempt != job.attempt):
        return False
    if placed.rank not in job.ranks_wanted():
        return False
    job.replicas[placed.id] = Replica(
        placed.id, placed.rank, placement.node, placed.attempt, job.template, book.now, placed.replica
    )
    job.world = job.world or job.spec.replicas
    shown.pod(book, job, placement)
    book.dirty_jobs[job.key] = None
    return True


def replica_changed(book: Book, message: m.ReplicaChanged) -> None:
    """What an agent says about one that it runs."""
    placement = book.placements.get(message.id)
    job = book.jobs.get(placement.session) if placement is not None else None
    replica = job.replicas.get(message.id) if job is not None else None
    if placement is None or job is None or replica is None:
        return
    was = replica.status.phase if replica.status is not None else PENDING
    replica.status = message
    if message.phase == "Running" and placement.state == PlacementState.STARTING:
        placement.step("run")
    if message.phase == "Running" and not job.started:
        job.started = message.started or book.now
    if was != message.phase or message.reason:
        text = f"rank {replica.rank}: {message.reason or message.phase}" + (
            f": {message.message}" if message.message else ""
        )
        book.note(f"pod/{job.key}-{replica.rank}", message.reason or message.phase, CODE, text)
    shown.pod(book, job, placement)
    book.dirty_jobs[job.key] = None


def evict(book: Book, placement: Placement, reason: str) -> None:
    """It must go for somebody else, or with its node."""
    job = book.jobs.get(placement.session)
    replica = job.replicas.get(placement.id) if job is not None else None
    if job is None or replica is None or replica.leaving:
        return
    replica.evicted = reason
    stop(book, placement, job.spec.grace, reason)
    book.note(f"workload/{job.key}", "Preempted", CODE, f"rank {replica.rank} on {placement.node}: {reason}")
    shown.pod(book, job, placement)
    book.dirty_jobs[job.key] = None


def gone(book: Book, placement: Placement, reason: str, exit: m.PlacementExited | None) -> None:
    """Its placement has ended."""
    book.stale_nodes[placement.node] = None
    job = book.jobs.get(placement.session)
    replica = job.replicas.get(placement.id) if job is not None else None
    if job is None or replica is None:
        return
    status = replica.status
    outcome, why, message = "lost", replica.evicted or reason, reason
    if status is not None and status.phase in ("Succeeded", "Failed") and not replica.evicted:
        outcome = status.phase.lower()
        why, message = status.reason or status.phase, status.message or status.log[-500:]
    elif exit is not None and not replica.evicted:
        outcome, why, message = "failed", reason or "Error", exit.log[-500:]
    shown.ended(book, job, placement)
    follow(book, job, ended(job, placement.id, outcome, why, message, book.now))
    book.dirty_jobs[job.key] = None


# -- questions --------------------------------------------------------------------------------------------------------------


def warnings(book: Book, key: Key, body: bytes) -> tuple[str, ...]:
    """What a write should be told about a workload beyond its being legal: what is accepted and not acted upon."""
    if key.kind != KIND:
        return ()
    ignored = ignored_fields(WORKLOAD, msgspec.json.decode(body))
    return (f"accepted and not acted upon: {', '.join(ignored)}",) if ignored else ()


def diagnose(book: Book, key: Key) -> bytes:
    job = book.jobs.get(key_of(key))
    if job is None:
        raise NotFound(f"there is nothing to say about {key.kind} {key.name}", hint="workloads can be debugged")
    events = tuple(book.events.get(f"workload/{job.key}", ()))
    waiting = waiting_for(book, job)
    facts = Facts(job, waiting, events, book.now, book.storage, outlook(book, job, waiting[0] if waiting else ""))
    return msgspec.json.encode(diagnose_workload(facts))


def call(book: Book, peer: Peer, request: int, ask: m.CallReplica) -> m.Message | None:
    found = shown.pod_of(book, ask.tenant or "default", ask.namespace or "default", ask.name)
    if found is None:
        raise NotFound(
            f"there is no replica {ask.name[:80]!r} in namespace {ask.namespace or 'default'}", hint="flame get pods"
        )
    id, where = found.metadata["uid"], str(found.spec["nodeName"])
    if id not in book.placements and ask.verb != "logs":  # a replica that has ended has nothing but its logs
        phase = str(found.status.get("phase") or "over").lower()
        raise InvalidState(
            f"replica {found.key.name} does not run: it has {phase}", hint=f"flame logs {found.key.name}"
        )
    node = book.nodes.get(where)
    if node is None or node.peer is None:
        raise Unavailable(f"node {where} is not connected", hint="flame get nodes")
    book.last_call += 1
    book.calls[book.last_call] = peer, request, node.peer
    book.say(node.peer, m.AskAgent(book.last_call, id, ask))
    return None


def answered(book: Book, message: m.AgentAnswered) -> None:
    peer, request, _ = book.calls.pop(message.number, (0, 0, 0))
    if peer in book.managers:
        book.say(peer, message.failure or message.answer or m.ReplicaAnswer(), request)


def unanswered(book: Book, agent: Peer) -> None:
    """An agent is gone, with what it was asked."""
    for number, (peer, request, whom) in list(book.calls.items()):
        if whom == agent:
            del book.calls[number]
            if peer in book.managers:
                book.say(peer, m.Failure("unavailable", "the node went away before it answered"), request)


def job_due(book: Book, key: str) -> None:
    """The timer of a workload: a deadline, or the end of a back-off."""
    if key in book.jobs:
        book.dirty_jobs[key] = None
        book.changed()


class JobKeeper:
    """The answers of workloads to `holdings.Keeper`."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def take_up(self, placed: m.Placed, placement: Placement) -> bool:
        return take_up(self._book, placed, placement)

    def evict(self, placement: Placement, reason: str) -> None:
        evict(self._book, placement, reason)

    def gone(self, placement: Placement, reason: str, exit: m.PlacementExited | None) -> None:
        gone(self._book, placement, reason, exit)
