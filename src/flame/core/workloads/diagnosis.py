"""`flame debug workload`: why it does not run as it should, the most likely cause first, and what would change that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_quantity
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
class Outlook:
    """What others have to do with it. outranked: who of a higher rank has the room, where that is why it waits; ends: whose end makes
    room, at: when that is at the latest (0: nobody knows)."""

    outranked: str = ""
    ends: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a diagnosis is made of. `waiting`: why not all of it is placed."""

    job: Job
    waiting: tuple[str, str] | None
    events: Sequence[EventInfo]
    now: float
    storage: str = ""
    outlook: Outlook = Outlook()


@dataclass(frozen=True, slots=True)
class Cause:
    """`kind`: quota, no node, image, probe, OOM, crash, PVC, gang, priority, taint, timeout, GPU ...; `next`: what would help;
    `counterfactual`: with what it would start, as a sentence; empty: nobody can tell."""

    kind: str
    reason: str
    message: str
    next: str
    counterfactual: str = ""

    @property
    def line(self) -> str:
        return f"{self.kind}: {self.message}" + (f"; {self.counterfactual}" if self.counterfactual else "")


def diagnose_workload(facts: Facts) -> dict[str, Any]:
    """As JSON: `ok`, `summary` (the first line), `causes` (the most likely first), `events`."""
    job = facts.job
    causes = list(_causes(facts))
    if causes:
        first = causes[0]
        summary = f"{job.spec.name}: {first.line}"
    elif job.phase == SUCCEEDED:
        summary = f"{job.spec.name}: it has succeeded"
    else:
        ready = sum(replica.ready for replica in job.live())
        summary = f"{job.spec.name}: {job.phase.lower()}, {ready}/{job.spec.replicas} replicas ready; nothing is wrong"
    return {
        "ok": not causes,
        "summary": summary,
        "phase": job.phase,
        "causes": [
            {
                "kind": c.kind,
                "reason": c.reason,
                "message": c.message,
                "next": c.next,
                "counterfactual": c.counterfactual,
            }
            for c in causes
        ],
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
        yield from _waits(facts, *facts.waiting)


ROOM = ("NoCapacity", "Gpu", "Gang", "NoNodes", "Reclaiming")
"""Reasons behind which there may be somebody who has the room."""


def _waits(facts: Facts, word: str, text: str) -> Iterator[Cause]:
    """Why not all of it is placed: somebody goes first, and then what it would need."""
    kind, hint = SCHEDULING.get(word, (word, "flame events shows what has happened"))
    message, cut = _cut(word, text)
    options = [option for option in (cut, _in_time(facts.outlook)) if option]
    counterfactual = "it would start " + ", or ".join(options) if options else ""
    evicted = [event for event in facts.events if event.reason == "Preempted"]
    higher = "give it a higher priority class, or wait"
    if evicted and word in ROOM and not facts.job.live():
        said = _OWNER.sub(r"\1", evicted[-1].message)
        yield Cause("priority", "Preempted", f"{said}; {message}", higher, counterfactual)
    elif facts.outlook.outranked and word in ROOM:
        yield Cause("priority", word, f"{facts.outlook.outranked} has the room; {message}", higher, counterfactual)
    yield Cause(kind, word, message, hint, counterfactual)


_OWNER = re.compile(r"\bjob/[^/\s]+/[^/\s]+/(\S+)")
_CUT = re.compile(r"; it would start(?P<where> on \S+)? with (?P<amount>\S+?)(?: (?P<name>\S+))? (?:less|fewer)")
_QUOTA = re.compile(r"^quota \S+: (?P<resource>\S+) used \S+, .*?asked (?P<asked>\S+)$")


def _cut(word: str, text: str) -> tuple[str, str]:
    """The sentence of the scheduler without its counterfactual, and that as `on vm with 2 GPUs fewer`; empty when it asks for less
    than nothing."""
    match = _CUT.search(text)
    if match is None:
        return text, ""
    amount, name = match["amount"], match["name"] or ""
    message = text[: match.start()] + text[match.end() :].removeprefix(", or when as much is given back")
    quota = _QUOTA.match(text[: match.start()])
    if quota is not None:
        name = quota["resource"].partition("@")[0].rpartition("requests.")[2].rpartition("limits.")[2]
        if _number(amount) >= _number(quota["asked"]):
            return message, ""
    where = f"{match['where'].strip()} " if match["where"] else ""
    return message, f"{where}with {_fewer(amount, name)}"


def _number(text: str) -> float:
    try:
        return float(parse_quantity(text.removesuffix("B")))
    except InvalidArgument:
        return 0.0


def _fewer(amount: str, name: str) -> str:
    """`2 GPUs fewer`, `1 replica fewer`, `1Gi of memory less`."""
    nouns = {
        "gpu": "GPU",
        "nvidia.com/gpu": "GPU",
        "cpu": "CPU",
        "replicas": "replica",
        "pods": "replica",
        "count/pods": "replica",
    }
    noun = nouns.get(name)
    if noun is not None:
        return f"{amount} {noun}{'' if amount == '1' else 's'} fewer"
    return f"{amount}{f' of {name}' if name else ''} less"


def _in_time(outlook: Outlook) -> str:
    """`when job-7 ends, about 14:05 UTC`."""
    if not outlook.ends:
        return ""
    minutes = round(outlook.at / 60) % (24 * 60)
    return f"when {outlook.ends} ends" + (f", about {minutes // 60:02}:{minutes % 60:02} UTC" if outlook.at else "")


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
    if _KILLED.search(message):
        return CONTAINERS["Unhealthy"]
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


_KILLED = re.compile(r"\b(startup|liveness) probe failed \d+ times in a row")


def _container(replica: Replica, container: ContainerStatus) -> Cause | None:
    where = f"rank {replica.rank} on {replica.node}, container {container.name}"
    text = f"{container.reason} {container.message} {container.last}"
    if container.state == "running":
        if container.ready:
            return None
        said = container.message or "its readiness probe has not succeeded yet"
        return Cause("probe", "Unhealthy", f"{where}: {said}", CONTAINERS["Unhealthy"][1])
    for word in ("OOMKilled", "Unhealthy", *CONTAINERS):
        if word in text or (word == "Unhealthy" and _KILLED.search(text)):
            kind, hint = CONTAINERS[word]
            said = " ".join(part for part in (container.message, container.last) if part)
            return Cause(kind, word, f"{where}: {word}: {said}; {container.restarts} restarts", hint)
    return None
