"""What a workload needs next: which replicas end, how many may start, when to look again.

    Training:   ranks 0..n-1 run to completion; a gang starts and restarts whole, an elastic one rank by rank
    Inference:  n replicas stay up; one that ends is replaced
    Hybrid:     like Inference, but it is over once all its replicas have succeeded

Failures count against `maxRetries`, what is evicted or lost with its node does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flame.core.base.backoff import Backoff
from flame.core.workloads.job import FAILED, PENDING, RUNNING, SUCCEEDED, SUSPENDED, Failure, Job, Replica

BACKOFF = Backoff(first=1.0, ceiling=60.0)
"""Between attempts."""


@dataclass(slots=True)
class Decision:
    """stop: placement -> (seconds of grace, why); want: replicas it should have, those that it has included; hold: start none now;
    wake: when time alone changes the answer; events: (reason, message) to remember."""

    want: int = 0
    hold: bool = False
    wake: float | None = None
    stop: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)


def reconcile(job: Job, now: float) -> Decision:
    """The next step. Changes only the job's phase, and what it decides is done by whoever asked."""
    decision = Decision()
    if job.deleting:
        _stop_all(job, decision, "the workload is deleted")
        return decision
    if not job.over and job.spec.suspend:
        _stop_all(job, decision, "the workload is suspended")
        job.phase, job.world = SUSPENDED, 0
        return decision
    _check_deadline(job, now, decision)
    if job.over:
        _stop_all(job, decision, job.reason)
        return decision
    if job.whole and job.world and job.live() and (job.world != job.spec.replicas or _outdated(job)):
        _again(job, decision, "Restarted", "its specification has changed")
    elif not job.whole:
        _shrink(job, decision)
        _replace_outdated(job, decision)
    if not job.replicas:
        job.world = 0
    job.phase = RUNNING if any(replica.running for replica in job.live()) else PENDING
    leaving = any(replica.leaving for replica in job.replicas.values())
    if now < job.not_before:
        decision.hold, decision.wake = True, job.not_before
    elif job.whole and leaving:
        decision.hold = True  # the next attempt begins when this one is gone
    decision.want = job.spec.replicas - len(job.done)
    if (deadline := _deadline(job)) is not None:
        decision.wake = min(deadline, decision.wake or deadline)
    return decision


def ended(job: Job, id: str, outcome: str, reason: str, message: str, now: float) -> Decision:
    """A placement is gone. `outcome`: succeeded, failed, or lost (evicted, or its node went away)."""
    decision = Decision()
    replica = job.replicas.pop(id, None)
    if replica is None or job.over or (replica.attempt != job.attempt and job.whole):
        return decision
    if outcome == "succeeded" and job.spec.type != "Inference":
        job.done.add(replica.rank)
        if len(job.done) >= job.spec.replicas:
            _finish(job, SUCCEEDED, "Completed", "all replicas have succeeded", now)
            decision.events.append(("Completed", job.message))
    elif replica.stopping:
        pass  # it ended because it was told to
    elif outcome == "lost":
        job.losses += 1
        decision.events.append(("ReplicaLost", f"rank {replica.rank} on {replica.node}: {reason}"))
        _restart(job, replica, decision, "a replica was lost")
    else:
        _failed(job, replica, reason, message, now, decision)
    return decision


def _failed(job: Job, replica: Replica, reason: str, message: str, now: float, decision: Decision) -> None:
    job.remember(Failure(replica.attempt, replica.rank, reason, message, now))
    decision.events.append(
        ("ReplicaFailed", f"rank {replica.rank}, attempt {replica.attempt}, on {replica.node}: {reason}: {message}")
    )
    limit = job.spec.retries
    if job.spec.type != "Inference" and job.failed > limit:
        said = f"failed {job.failed} times, maxRetries is {limit}; last: rank {replica.rank}: {reason}: {message}"
        _finish(job, FAILED, reason if limit == 0 else "RetriesExceeded", said, now)
        decision.events.append((job.reason, said))
        return
    job.not_before = now + BACKOFF.delay(min(job.failed, 32))
    _restart(job, replica, decision, "a replica failed")


def _restart(job: Job, replica: Replica, decision: Decision, why: str) -> None:
    """The others of a gang end too: without the one they are of no use."""
    if job.whole:
        _again(job, decision, "GangRestarted", why)
    else:
        job.attempt += 1


def _again(job: Job, decision: Decision, reason: str, why: str) -> None:
    job.attempt += 1
    job.done.clear()
    job.rendezvous, job.world = "", 0
    decision.events.append((reason, f"{why}: attempt {job.attempt}"))
    _stop_all(job, decision, why)


def _check_deadline(job: Job, now: float, decision: Decision) -> None:
    due = _deadline(job)
    if due is not None and now >= due and not job.over:
        said = f"it ran for longer than {job.spec.timeout:g} s"
        _finish(job, FAILED, "DeadlineExceeded", said, now)
        decision.events.append(("DeadlineExceeded", said))


def _deadline(job: Job) -> float | None:
    return job.started + job.spec.timeout if job.spec.timeout and job.started and not job.over else None


def _finish(job: Job, phase: str, reason: str, message: str, now: float) -> None:
    job.phase, job.reason, job.message, job.finished = phase, reason, message, now


def _stop(replica: Replica, decision: Decision, why: str) -> None:
    if not replica.stopping:
        replica.stopping = why
        decision.stop[replica.id] = why


def _stop_all(job: Job, decision: Decision, why: str) -> None:
    for replica in job.replicas.values():
        _stop(replica, decision, why)


def _shrink(job: Job, decision: Decision) -> None:
    for replica in job.live():
        if replica.rank >= job.spec.replicas:
            _stop(replica, decision, f"scaled to {job.spec.replicas}")


def _outdated(job: Job) -> bool:
    return any(replica.template != job.template for replica in job.live())


def _replace_outdated(job: Job, decision: Decision) -> None:
    """As many at a time as may be missing; the ones that are not ready first."""
    old = [replica for replica in job.live() if replica.template != job.template]
    if not old:
        return
    missing = job.spec.replicas - len(job.done) - sum(replica.ready for replica in job.live())
    for replica in sorted(old, key=lambda replica: (replica.ready, -replica.rank)):
        if replica.ready and missing >= job.max_unavailable:
            break
        missing += replica.ready
        _stop(replica, decision, "its template has changed")
