"""A FlameWorkload, read: what the scheduler and the reconciler need to know, with defaults and the cluster's settings filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from flame.core.base.quantity import parse_duration, parse_quantity, quantity_milli
from flame.core.model import messages as m
from flame.core.model.resources import total
from flame.core.model.rules import PlacementRules
from flame.core.objects.containers import ConfigMaps, Reading
from flame.core.objects.kinds.workload import AUTO_SCALING, GPU_FRACTION, PRIORITY, TRAINING
from flame.core.objects.paths import join
from flame.core.objects.placement import read_placement
from flame.core.objects.problems import Problem
from flame.core.objects.schema import Body
from flame.core.objects.settings import ClusterSettings


@dataclass(frozen=True)
class SessionsSpec:
    """The batch part of a Hybrid. most: None: no limit."""

    application: str
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class WorkloadSpec:
    """What a workload wants.

    gang:           start at least `min_available` replicas together, or none
    priority_class: as named by scheduling, the pod template or the annotation; empty: the global default
    preemption:     PreemptLowerPriority, Never, or empty: as the class says
    timeout:        seconds a run may take; None: no end
    retries:        runs after the first one failed
    backoff_limit:  restarts of a replica within one run
    restart:        Always, OnFailure or Never
    requests, limits: of one replica: cpu and gpu in thousandths, memory in bytes, other names as they are
    claims:         names of PersistentVolumeClaims that must exist
    missing:        what the template refers to and nobody has (ConfigMaps, keys): a reason to wait
    labels, annotations: of replicas; the workload's own labels are copied to them
    template:       the part of the spec that a rollout is about
    """

    name: str
    namespace: str
    uid: str
    generation: int
    type: str
    replicas: int
    gang: bool
    min_available: int
    elastic: bool
    suspend: bool
    auto_scaling: bool
    priority_class: str
    preemption: str
    rules: PlacementRules
    timeout: float | None
    retries: int
    backoff_limit: int
    restart: str
    grace: float
    requests: Mapping[str, int]
    limits: Mapping[str, int]
    containers: tuple[m.ContainerSpec, ...]
    init: tuple[m.ContainerSpec, ...]
    volumes: tuple[m.VolumeSpec, ...]
    claims: tuple[str, ...]
    missing: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    strategy: Mapping[str, Any]
    sessions: SessionsSpec | None
    template: Mapping[str, Any]

    @property
    def completes(self) -> bool:
        """Does it end by itself?"""
        return self.type == TRAINING


def read_workload(body: Body, settings: ClusterSettings, configs: ConfigMaps | None = None) -> WorkloadSpec:
    """Read a workload that was found legal. configs: the ConfigMaps of its namespace that it may refer to (`config_names`)."""
    about, spec = body["metadata"], body["spec"]
    notes = about.get("annotations") or {}
    scheduling, template = spec.get("scheduling") or {}, spec["template"]
    pod, meta = template["spec"], template.get("metadata") or {}
    kind = spec.get("type") or TRAINING
    replicas = 1 if spec.get("replicas") is None else spec["replicas"]
    labels = {**(about.get("labels") or {}), **(meta.get("labels") or {})}
    gang = scheduling.get("gang")
    reading = Reading(
        about.get("namespace") or "default",
        labels,
        meta.get("annotations") or {},
        configs or {},
        settings.default_limits,
        settings.default_requests,
        gpu_share(body),
        pod.get("serviceAccountName") or "default",
    )
    containers = _shared(tuple(reading.container(item) for item in pod["containers"]), body)
    init = tuple(reading.container(item) for item in pod.get("initContainers") or ())
    volumes = tuple(made for item in pod.get("volumes") or () if (made := reading.volume(item)) is not None)
    return WorkloadSpec(
        name=about.get("name") or "",
        namespace=reading.namespace,
        uid=about.get("uid") or "",
        generation=about.get("generation") or 0,
        type=kind,
        replicas=replicas,
        gang=(kind == TRAINING and settings.gpu_gang) if gang is None else gang,
        min_available=min(scheduling.get("minAvailable") or replicas, replicas),
        elastic=bool(spec.get("elastic")),
        suspend=bool(spec.get("suspend")),
        auto_scaling=notes.get(AUTO_SCALING) == "true",
        priority_class=_priority(scheduling, pod, notes),
        preemption=scheduling.get("preemptionPolicy") or pod.get("preemptionPolicy") or "",
        rules=read_placement(spec),
        timeout=_timeout(kind, spec, settings),
        retries=settings.max_retries if spec.get("maxRetries") is None else spec["maxRetries"],
        backoff_limit=settings.backoff_limit if spec.get("backoffLimit") is None else spec["backoffLimit"],
        restart=pod.get("restartPolicy") or ("OnFailure" if kind == TRAINING else "Always"),
        grace=30.0 if pod.get("terminationGracePeriodSeconds") is None else float(pod["terminationGracePeriodSeconds"]),
        requests=_together([c.requests for c in containers], [c.requests for c in init]),
        limits=_together([c.limits for c in containers], [c.limits for c in init]),
        containers=containers,
        init=init,
        volumes=volumes,
        claims=tuple(dict.fromkeys(volume.source for volume in volumes if volume.kind == "claim")),
        missing=tuple(dict.fromkeys(reading.missing)),
        labels=labels,
        annotations=reading.annotations,
        strategy=spec.get("strategy") or {},
        sessions=_sessions(spec.get("sessions")),
        template=template,
    )


def config_names(body: Body) -> tuple[str, ...]:
    """ConfigMaps that the template refers to."""
    pod = body["spec"]["template"]["spec"]
    found: list[str] = []
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        sources = [item.get("configMapRef") for item in container.get("envFrom") or ()]
        sources += [(item.get("valueFrom") or {}).get("configMapKeyRef") for item in container.get("env") or ()]
        found += [source["name"] for source in sources if source]
    found += [volume["configMap"]["name"] for volume in pod.get("volumes") or () if volume.get("configMap")]
    return tuple(dict.fromkeys(found))


def gpu_share(body: Body) -> int:
    """Thousandths of a GPU that each replica takes of one; 1000: it takes whole ones. `spec.scheduling.gpu.fraction` goes before the
    annotation."""
    fraction = ((body["spec"].get("scheduling") or {}).get("gpu") or {}).get("fraction")
    if fraction is None:
        fraction = (body["metadata"].get("annotations") or {}).get(GPU_FRACTION)
    return 1000 if fraction is None else max(1, quantity_milli(fraction))


def limit_problems(body: Body, settings: ClusterSettings) -> Iterator[Problem]:
    """Containers that ask for more than the cluster lets one have (`resources.limits` of its settings)."""
    pod = body["spec"]["template"]["spec"]
    for group in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(group) or ()):
            resources = container.get("resources") or {}
            for part in ("limits", "requests"):
                for name, most in settings.default_limits.items():
                    given = (resources.get(part) or {}).get(name)
                    scale = 1000 if name == "cpu" else 1
                    if given is not None and parse_quantity(given) * scale > most:
                        path = f"{join(f'spec.template.spec.{group}', index)}.resources.{part}.{name}"
                        allowed = f"{most / 1000:g}" if name == "cpu" else f"{most} bytes"
                        yield Problem(
                            path,
                            f"is {given}, more than this cluster allows: {allowed}",
                            "see resources.limits in flame-config",
                        )


def _shared(containers: tuple[m.ContainerSpec, ...], body: Body) -> tuple[m.ContainerSpec, ...]:
    """A workload that shares a GPU and names none in its containers: the first one has the share."""
    share = gpu_share(body)
    if share == 1000 or any("gpu" in container.requests for container in containers):
        return containers
    first = msgspec.structs.replace(
        containers[0],
        requests={**containers[0].requests, "gpu": share},
        limits={**containers[0].limits, "gpu": share},
    )
    return (first, *containers[1:])


def _priority(scheduling: Mapping[str, Any], pod: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    named = scheduling.get("priorityClassName") or pod.get("priorityClassName")
    word = notes.get(PRIORITY)
    return named or (f"flame-{word}-priority" if word else "")


def _timeout(kind: str, spec: Mapping[str, Any], settings: ClusterSettings) -> float | None:
    """The cluster's default binds what completes by itself; what serves has no end unless it says so."""
    given = [parse_duration(spec["timeout"])] if spec.get("timeout") is not None else []
    deadline = spec["template"]["spec"].get("activeDeadlineSeconds")
    given += [float(deadline)] if deadline is not None else []
    if given:
        return min(given)
    return settings.default_timeout if kind == TRAINING else None


def _together(parts: list[Mapping[str, int]], init: list[Mapping[str, int]]) -> dict[str, int]:
    """Containers run together; those of init before them, one by one: of each resource the larger need counts."""
    found = total(parts)
    for one in init:
        for name, amount in one.items():
            found[name] = max(found.get(name, 0), amount)
    return found


def _sessions(body: Mapping[str, Any] | None) -> SessionsSpec | None:
    if body is None:
        return None
    return SessionsSpec(body["application"], body.get("minInstances") or 0, body.get("maxInstances"))
