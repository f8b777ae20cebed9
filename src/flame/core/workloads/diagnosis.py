"""`flame debug workload`: why it does not run as it should, the most likely cause first, and what would change that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flame.core.model.messages import ContainerStatus, EventInfo
from flame.core.workloads.job import FAILED, SUCCEEDED, SUSPENDED, Job, Replica

SCHEDULING = {
    "QuotaExceeded": ("quota", "raise the quota's hard value, or delete what uses it: flame describe resourcequota"),
    "NoNodes": ("no node", "start an agent (flame agent join URL), or wait until one comes back: flame get nodes"),
    "Selector": ("no node", "label a node, or change spec.scheduling.nodeSelector"),
    "Affinity": ("no node", "change spec.scheduling.affinity or the spread, or label a node"),
    "NeverFits": ("no node", "ask for less, or add a larger node"),
    "NoCapacity": ("no capacity", "wait until something ends, ask for less, or add a node"),
    "Taint": ("taint", "add a toleration for it to spec.scheduling.tolerations"),
    "Gpu": ("GPU", "ask for fewer GPUs or another model, or add a node that has them"),
    "Gang": ("gang", "ask for fewer replicas, set minAvailable, or wait until enough is free at once"),
    "Reclaiming": ("priority", "others are leaving for it; nothing to do"),
    "MaxConcurrentWorkloads": ("limit", "wait, or raise scheduling.maxConcurrentWorkloads in flame-config"),
    "ClaimNotFound": ("PVC", "create the PersistentVolumeClaim"),
    "ConfigNotFound": ("config", "create the ConfigMap"),
    "BackOff": ("crash", "see why the last attempt failed: flame logs --previous"),
    "Refused": ("plug-in", "ask whoever wrote the scheduler plug-in"),
}
CONTAINERS = {
    "ImageNotMapped": ("image", "map the image under images: in flame-cluster.yaml, or give the container a command"),
    "InvalidImageName": ("image", "correct spec.template.spec.containers[].image"),
    "ErrImagePull": ("image", "correct the image name, or log in to its registry"),
    "ImagePullBackOff": ("image", "correct the image name, or log in to its registry"),
    "OOMKilled": ("OOM", "raise resources.limits.memory, or use less"),
    "CreateContainerError": ("start", "see its message"),
    "StartError": ("start", "see its message: does the command exist there?"),
    "CrashLoopBackOff": ("crash", "flame logs --previous shows its last words"),
    "Unhealthy": ("probe", "see what the probe asks and what it got"),
    "DeadlineExceeded": ("timeout", "raise spec.timeout"),
    "Error": ("crash", "flame logs --previous shows its last words"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a diagnosis is made of. `waiting`: why not all of it is placed."""

    job: Job
    waiting: tuple[str, str] | None
    events: Sequence[EventInfo]
    now: float
    storage: str = ""
    outranked: str = ""
    """Who of a higher rank has the room, where that is why it waits."""


@dataclass(frozen=True, slots=True)
class Cause:
    """`kind`: quota, no node, image, probe, OOM, crash, PVC, gang, priority, taint, timeout, GPU ...; `next`: what would help."""

    kind: str
    reason: str
    message: str
    next: str


def diagnose_workload(facts: Facts) -> dict[str, Any]:
    """As JSON: `ok`, `summary` (the first line), `causes` (the most likely first), `events`."""
    job = facts.job
    causes = list(_causes(facts))
    if causes:
        first = causes[0]
        summary = f"{job.spec.name}: {first.kind}: {first.message}"
    elif job.phase == SUCCEEDED:
        summary = f"{job.spec.name}: it has succeeded"
    else:
        ready = sum(replica.ready for replica in job.live())
        summary = f"{job.spec.name}: {job.phase.lower()}, {ready}/{job.spec.replicas} replicas ready; nothing is wrong"
    return {
        "ok": not causes,
        "summary": summary,
        "phase": job.phase,
        "causes": [{"kind": c.kind, "reason": c.reason, "message": c.message, "next": c.next} for c in causes],
        "events": [
            {"at": e.at, "reason": e.reason, "message": e.message, "count": e.count} for e in facts.events[-10:]
        ],
    }


def _causes(facts: Facts) -> Iterator[Cause]:
    job = facts.job
    if facts.storage:
        yield Cause("storage", "StorageFull", facts.storage, "make room on the disk of the control plane")
    if job.phase == SUSPENDED:
        yield Cause("suspended", "Suspended", "spec.suspend is true: nothing of it runs", "set spec.suspend to false")
        return
    if job.phase == FAILED:
        yield _final(job)
    worst = _containers(job)
    if job.phase != FAILED and job.history and (facts.waiting is None or facts.waiting[0] == "BackOff"):
        last = job.history[-1]
        kind, hint = _kind(last.reason, last.message)
        yield Cause(
            kind, last.reason,
            f"attempt {last.attempt} failed on rank {last.rank}: {last.reason}: {last.message}".rstrip(": "), hint,
        )  # fmt: skip
    yield from worst
    if facts.waiting is not None and not job.over:
        word, message = facts.waiting
        kind, hint = SCHEDULING.get(word, (word, "flame events shows what has happened"))
        evicted = [event for event in facts.events if event.reason == "Preempted"]
        if evicted and word in ("NoCapacity", "Gpu", "Gang", "NoNodes"):
            yield Cause(
                "priority", "Preempted", f"{evicted[-1].message}; {message}", "give it a higher priority class, or wait"
            )
        elif facts.outranked:
            yield Cause("priority", word, f"{facts.outranked}; {message}", "give it a higher priority class, or wait")
        yield Cause(kind, word, message, hint)


def _final(job: Job) -> Cause:
    """Why it was given up."""
    last = job.history[-1] if job.history else None
    if job.reason == "DeadlineExceeded":
        return Cause(
            "timeout", job.reason, job.message, "raise spec.timeout, or scheduling.defaultTimeout in flame-config"
        )
    kind, hint = _kind(last.reason, last.message) if last is not None else ("crash", "flame events")
    return Cause(kind, job.reason, job.message, hint)


def _kind(reason: str, message: str) -> tuple[str, str]:
    found = CONTAINERS.get(reason)
    if found is None or found[0] == "crash":  # the message of a crash may name a better reason
        for word, better in CONTAINERS.items():
            if word in message and better[0] != "crash":
                return better
    return found or ("crash", "flame logs --previous shows its last words")


def _containers(job: Job) -> list[Cause]:
    """What is wrong with containers of replicas that are there, one cause each kind."""
    found: dict[str, Cause] = {}
    for replica in sorted(job.live(), key=lambda replica: replica.rank):
        for container in replica.status.containers if replica.status is not None else ():
            cause = _container(replica, container)
            if cause is not None and cause.kind not in found:
                found[cause.kind] = cause
    return list(found.values())


def _container(replica: Replica, container: ContainerStatus) -> Cause | None:
    where = f"rank {replica.rank} on {replica.node}, container {container.name}"
    text = f"{container.reason} {container.message} {container.last}"
    if container.state == "running":
        if container.ready:
            return None
        said = container.message or "its readiness probe has not succeeded yet"
        return Cause("probe", "Unhealthy", f"{where}: {said}", CONTAINERS["Unhealthy"][1])
    for word in ("OOMKilled", "Unhealthy", *CONTAINERS):
        if word in text:
            kind, hint = CONTAINERS[word]
            said = " ".join(part for part in (container.message, container.last) if part)
            return Cause(kind, word, f"{where}: {word}: {said}; {container.restarts} restarts", hint)
    return None
