"""The status of a workload, as its object shows it: counts, phase, conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame.core.objects.conditions import with_condition
from flame.core.objects.stamps import stamp
from flame.core.workloads.job import FAILED, PENDING, RUNNING, SUCCEEDED, SUSPENDED, Job

Reason = tuple[str, str]
"""One word, and the same for people."""


def status_of(
    job: Job, before: Mapping[str, Any], waiting: Reason | None, now: float, ignored: Sequence[str] = ()
) -> dict[str, Any]:
    """`before`: the stored status, whose conditions keep their times; `waiting`: why not everything is placed; `ignored`: fields
    of the spec
    that are accepted and not acted upon."""
    live = job.live()
    ready = sum(replica.ready for replica in live)
    phase = "Terminating" if job.deleting else job.phase
    reason, message = (job.reason, job.message) if job.over else waiting or ("", "")
    status: dict[str, Any] = {
        "phase": phase,
        "reason": reason,
        "message": message,
        "id": job.uid,
        "observedGeneration": job.generation,
        "replicas": len(job.replicas),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "updatedReplicas": sum(replica.template == job.template for replica in live),
        "succeeded": len(job.done),
        "failed": job.failed,
        "losses": job.losses,
        "attempt": job.attempt,
        "attempts": job.attempt,
        "selector": f"flame.xflops.cn/workload={job.spec.name}",
        "priorityClass": job.spec.priority_class,
        "conditions": _conditions(job, before, waiting, now, ignored),
    }
    if job.done:
        status["completedRanks"] = sorted(job.done)
    if job.rendezvous:
        status["rendezvous"] = job.rendezvous
    if job.started:
        status |= {"startTime": stamp(job.started), "startedAt": job.started}
    if job.finished:
        status |= {"completionTime": stamp(job.finished), "finishedAt": job.finished}
    if job.history:
        status["failures"] = [
            {"attempt": f.attempt, "rank": f.rank, "reason": f.reason, "message": f.message, "at": f.at}
            for f in job.history
        ]
    return status


def _conditions(
    job: Job, before: Mapping[str, Any], waiting: Reason | None, now: float, ignored: Sequence[str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = list(before.get("conditions") or ())
    placed, wanted = len(job.live()), job.spec.replicas - len(job.done)

    def set_(type: str, status: bool | None, reason: str, message: str = "") -> None:
        nonlocal found
        found = with_condition(found, type, status, reason, message, now, job.generation)

    if job.over:
        set_("Scheduled", True, "Ended", "it is over")
    elif job.phase == SUSPENDED:
        set_("Scheduled", False, "Suspended", "spec.suspend is true")
    elif placed >= wanted:
        set_("Scheduled", True, "Placed", f"all {wanted} replicas have a node")
    else:
        reason, message = waiting or ("Waiting", "the scheduler has not looked at it yet")
        set_("Scheduled", False, reason, f"{placed}/{wanted} replicas have a node: {message}")
    ready = sum(replica.ready for replica in job.live())
    all_ready = wanted > 0 and ready >= wanted and not job.over
    set_("Ready", all_ready, "AllReady" if all_ready else "NotReady", f"{ready}/{wanted} replicas are ready")
    set_(
        "Complete",
        job.phase == SUCCEEDED,
        job.reason if job.phase == SUCCEEDED else job.phase,
        job.message if job.over else "",
    )
    if job.phase == FAILED:
        set_("Failed", True, job.reason, job.message)
    if job.history and job.phase in (PENDING, RUNNING):
        last = job.history[-1]
        set_("Retrying", True, last.reason, f"failed {job.failed} times; last: rank {last.rank}: {last.message}")
    if ignored:
        set_("FieldsIgnored", True, "NotImplemented", f"accepted and not acted upon: {', '.join(ignored)}")
    else:
        found = [condition for condition in found if condition.get("type") != "FieldsIgnored"]
    return found
