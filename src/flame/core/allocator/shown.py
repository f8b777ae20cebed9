"""Objects that only show what the allocator knows: pods, nodes, agents, events. They are in the store, so that they are listed and watched
like all others, and not in the journal: they are made again from what agents say."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from flame.core.allocator.state import Book, Node, Placement
from flame.core.base.quantity import format_milli
from flame.core.model import messages as m
from flame.core.model.states import NodeState
from flame.core.objects.kinds import KINDS
from flame.core.objects.records import ObjectGone, ObjectKept
from flame.core.objects.stamps import stamp
from flame.core.objects.state import Key, Stored
from flame.core.workloads.job import Job, Replica

GROUP = "flame.xflops.cn"
HEARTBEAT_SHOWN = 30.0
"""Seconds after which a newer heartbeat is shown."""
OVER_KEPT = 3
"""Pods of a finished workload that stay to be looked at, for each rank: its last one."""


def show(book: Book, kind: str, tenant: str, namespace: str, name: str, body: dict[str, Any]) -> None:
    """Write a view; nothing happens when it says the same as before."""
    old = book.objects.find(kind, tenant, namespace, name)
    metadata: dict[str, Any] = {"name": name, "uid": body["metadata"].get("uid") or _uid(kind, namespace, name)}
    if namespace:
        metadata["namespace"] = namespace
    metadata["creationTimestamp"] = old.metadata["creationTimestamp"] if old is not None else stamp(book.now)
    metadata |= body["metadata"]
    if old is not None:
        metadata["resourceVersion"] = old.metadata["resourceVersion"]
        if {**body, "metadata": metadata} == old.body:
            return
    version = book.objects.version + 1
    data = msgspec.json.encode({**body, "metadata": {**metadata, "resourceVersion": str(version)}})
    book.commit(ObjectKept(kind, tenant, namespace, name, data, version))


def hide(book: Book, kind: str, tenant: str, namespace: str, name: str) -> None:
    if book.objects.find(kind, tenant, namespace, name) is not None:
        book.commit(ObjectGone(kind, tenant, namespace, name, book.objects.version + 1))


def _uid(*words: str) -> str:
    """The same for the same thing, in the form of a UUID."""
    text = blake2b("/".join(words).encode(), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# -- pods ---------------------------------------------------------------------------------------------------------------------


def pod(book: Book, job: Job, placement: Placement) -> None:
    """A replica, as a pod."""
    replica = job.replicas.get(placement.id)
    if replica is None:
        return
    spec = job.spec
    name = f"{spec.name}-{placement.rank}"
    labels = dict(spec.labels) | {
        f"{GROUP}/workload": spec.name,
        f"{GROUP}/rank": str(placement.rank),
        "app.kubernetes.io/managed-by": "flame",
    }
    owner = {
        "apiVersion": f"{GROUP}/v1alpha1", "kind": "FlameWorkload", "name": spec.name, "uid": job.uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    metadata: dict[str, Any] = {
        "uid": placement.id, "labels": labels, "ownerReferences": [owner], "creationTimestamp": stamp(placement.since),
        "annotations": {f"{GROUP}/attempt": str(replica.attempt)},
    }  # fmt: skip
    if replica.leaving and not _is_final(replica):
        metadata["deletionTimestamp"] = stamp(book.now)
    containers = [_container(container) for container in spec.containers]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": placement.node,
            "containers": containers,
            "restartPolicy": spec.restart,
            "terminationGracePeriodSeconds": int(spec.grace),
        },
        "status": _pod_status(book, replica, placement),
    }
    show(book, "Pod", job.tenant, spec.namespace, name, body)


def _container(container: m.ContainerSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"name": container.name, "image": container.image}
    if container.command:
        found["command"] = list(container.command)
    if container.args:
        found["args"] = list(container.args)
    if container.ports:
        found["ports"] = [
            {"containerPort": p.port, "protocol": p.protocol} | ({"name": p.name} if p.name else {})
            for p in container.ports
        ]
    found["resources"] = {"requests": amounts(container.requests), "limits": amounts(container.limits)}
    return found


def _pod_status(book: Book, replica: Replica, placement: Placement) -> dict[str, Any]:
    status = replica.status
    ready = replica.ready
    node = book.nodes.get(placement.node)
    found: dict[str, Any] = {
        "phase": status.phase if status is not None else "Pending",
        "hostIP": node.info.address if node is not None else "",
        "startTime": stamp(placement.since),
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True" if ready else "False"},
        ],
        "ready": "0/0",
        "restarts": 0,
    }
    if replica.leaving and not _is_final(replica):
        found["reason"], found["message"] = "Terminating", replica.evicted or replica.stopping
    elif status is not None and status.reason:
        found["reason"], found["message"] = status.reason, status.message
    if status is None:
        return found
    main = [container for container in status.containers if not container.init]
    found["ready"] = f"{sum(container.ready for container in main)}/{len(main)}"
    found["restarts"] = sum(container.restarts for container in status.containers)
    found["containerStatuses"] = [_container_status(container) for container in main]
    found["ports"] = dict(status.ports)
    if inits := [_container_status(container) for container in status.containers if container.init]:
        found["initContainerStatuses"] = inits
    return found


def _container_status(status: m.ContainerStatus) -> dict[str, Any]:
    state: dict[str, Any] = {"reason": status.reason, "message": status.message}
    if status.state == "running":
        state = {"startedAt": stamp(status.started)}
    elif status.state == "terminated":
        state |= {
            "exitCode": status.exit_code if status.exit_code is not None else 128 + (status.signal or 0),
            "startedAt": stamp(status.started),
            "finishedAt": stamp(status.finished),
        }
    found = {
        "name": status.name, "ready": status.ready, "restartCount": status.restarts, "image": "", "imageID": "",
        "state": {status.state: state}, "lastState": {"terminated": {"exitCode": 0, "message": status.last}} if status.last else {},
    }  # fmt: skip
    return found


def _is_final(replica: Replica) -> bool:
    return replica.status is not None and replica.status.phase in ("Succeeded", "Failed")


def ended(book: Book, job: Job, placement: Placement) -> None:
    """The pod of a placement that is gone: kept as it ended when it ran to its end, or the whole workload has; else taken away."""
    replica = job.replicas.get(placement.id)
    if replica is not None and _is_final(replica) and (job.over or not replica.leaving):
        pod(book, job, placement)
    else:
        no_pod(book, job, placement)


def no_pod(book: Book, job: Job, placement: Placement) -> None:
    hide(book, "Pod", job.tenant, job.spec.namespace, f"{job.spec.name}-{placement.rank}")


def no_pods(book: Book, job: Job) -> None:
    """The workload is gone, and what was kept of its replicas."""
    selector = f"{GROUP}/workload={job.spec.name}"
    for item in book.objects.list("Pod", job.tenant, job.spec.namespace, selector).items:
        hide(book, *item.key)


def pod_of(book: Book, tenant: str, namespace: str, name: str) -> Stored | None:
    """The pod of a replica, whose uid is that of its placement; a workload's name is its rank 0."""
    return book.objects.find("Pod", tenant, namespace, name) or book.objects.find("Pod", tenant, namespace, f"{name}-0")


# -- nodes --------------------------------------------------------------------------------------------------------------------


def node(book: Book, node: Node) -> None:
    """A node, as the two objects that show it."""
    info = node.info
    ready = node.state == NodeState.READY and node.peer is not None
    cordoned = info.name in book.cordoned
    labels = {**info.labels}
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in info.taints]
    if cordoned:
        taints.append({"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"})
    conditions = [
        {
            "type": "Ready", "status": "True" if ready else "Unknown" if node.state == NodeState.UNKNOWN else "False",
            "reason": "AgentReady" if ready else "AgentSilent", "message": "", "lastHeartbeatTime": stamp(node.shown_beat),
        }
    ]  # fmt: skip
    spec: dict[str, Any] = {"unschedulable": True} if cordoned else {}
    if taints:
        spec["taints"] = taints
    status = {
        "phase": "Ready" if ready else "NotReady" if node.peer is not None else "Lost",
        "capacity": amounts(info.capacity, node),
        "allocatable": amounts(info.allocatable, node),
        "conditions": conditions,
        "addresses": [{"type": "InternalIP", "address": info.address}, {"type": "Hostname", "address": info.name}],
        "nodeInfo": {"architecture": info.arch, "operatingSystem": info.os},
        "devices": [
            {"uuid": d.uuid, "model": d.model, "memory": d.memory, "used": d.used, "sharers": d.sharers}
            for d in node.devices
        ],
    }
    metadata = {"labels": labels}
    show(
        book,
        "Node",
        "default",
        "",
        info.name,
        {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status},
    )
    replicas = sum(placement.rank is not None for placement in node.placements.values())
    agent = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "FlameAgent",
        "metadata": metadata,
        "spec": {"nodeName": info.name, **spec}
        | ({"maxConcurrentWorkloads": info.max_workloads} if info.max_workloads else {}),
        "status": {
            **{key: status[key] for key in ("phase", "capacity", "allocatable", "conditions")},
            "allocated": amounts(node.used),
            "workloads": replicas,
            "executors": len(node.placements) - replicas,
            "lastHeartbeatTime": stamp(node.shown_beat),
        },
    }
    show(book, "FlameAgent", "default", "", info.name, agent)


def stale_nodes(book: Book) -> None:
    for name in book.stale_nodes:
        if name in book.nodes:
            node(book, book.nodes[name])
    book.stale_nodes.clear()


def no_node(book: Book, name: str) -> None:
    hide(book, "Node", "default", "", name)
    hide(book, "FlameAgent", "default", "", name)


def amounts(resources: Mapping[str, int], node: Node | None = None) -> dict[str, str]:
    """As Kubernetes writes them: cpu and GPUs in whole or thousandths, memory in bytes."""
    found = {}
    for name, amount in resources.items():
        if name == "gpu":
            found["nvidia.com/gpu"] = format_milli(amount)
        elif name == "cpu":
            found["cpu"] = format_milli(amount)
        else:
            found[name] = str(amount)
    if node is not None:
        found["pods"] = str(node.info.max_workloads or 110)
    return found


# -- events -------------------------------------------------------------------------------------------------------------------


def event(book: Book, about: str, info: m.EventInfo) -> None:
    """An event of an object, as an object."""
    subject_key = _subject(about)
    if subject_key is None:
        return
    kind, tenant, namespace, name = subject_key
    api = KINDS[kind].api_version
    subject = book.objects.find(kind, tenant, "" if kind == "Node" else namespace, name)
    bad = info.reason in WARNINGS
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"creationTimestamp": stamp(info.at)},
        "involvedObject": {
            "kind": kind,
            "namespace": namespace if kind != "Node" else "",
            "name": name,
            "apiVersion": api,
        }
        | ({"uid": subject.metadata["uid"]} if subject is not None else {}),
        "reason": info.reason,
        "message": info.message,
        "type": "Warning" if bad else "Normal",
        "count": info.count,
        "firstTimestamp": stamp(info.at),
        "lastTimestamp": stamp(info.last or info.at),
        "source": {"component": "flame"},
        "reportingComponent": "flame",
        "reportingInstance": "",
    }
    show(book, "Event", tenant, namespace, event_name(name, info), body)


def event_name(name: str, info: m.EventInfo) -> str:
    text = f"{info.reason}\0{info.message}\0{info.at}"
    return f"{name}.{blake2b(text.encode(), digest_size=8).hexdigest()}"


def no_event(book: Book, about: str, info: m.EventInfo) -> None:
    subject = _subject(about)
    if subject is not None:
        hide(book, "Event", subject.tenant, subject.namespace, event_name(subject.name, info))


def _subject(about: str) -> Key | None:
    """The object that an event is about; the namespace is that of the event. None for what is no object, such as a session."""
    what, _, rest = about.partition("/")
    if what == "node":
        return Key("Node", "default", "default", rest)
    if what not in ("workload", "pod", "object"):
        return None
    kind, tenant, namespace, name = rest.split("/", 3)
    return Key({"workload": "FlameWorkload", "pod": "Pod"}.get(what, kind), tenant, namespace, name)


WARNINGS = frozenset(
    (
        "ReplicaFailed", "ReplicaLost", "RetriesExceeded", "DeadlineExceeded", "Preempted", "NodeNotReady", "NodeSilent", "NodeUnreachable",
        "CrashLoopBackOff", "OOMKilled", "ImageNotMapped", "Error", "Failed", "Unhealthy", "StartError", "CreateContainerError",
        "FailedScheduling", "PluginFailed", "QuotaExceeded",
    )
)  # fmt: skip
