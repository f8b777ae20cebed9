"""FlameWorkload: replicas that run to completion together (Training), stay up (Inference), or both (Hybrid)."""

from __future__ import annotations

from collections.abc import Iterator

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_quantity
from flame.core.objects.kinds.affinity import AFFINITY, NODE_SELECTOR, SPREAD, TOLERATIONS
from flame.core.objects.kinds.common import ANNOTATIONS, Column, Kind, conditions, top
from flame.core.objects.kinds.container import GPU
from flame.core.objects.kinds.pod import TEMPLATE
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem, unknown
from flame.core.objects.schema import (
    Body,
    Boolean,
    Duration,
    Field,
    Integer,
    IntOrText,
    MapOf,
    Number,
    Object,
    Quantity,
    Text,
)

GROUP, VERSION = "flame.xflops.cn", "v1alpha1"
PRIORITY, AUTO_SCALING, GPU_FRACTION = f"{GROUP}/priority", f"{GROUP}/auto-scaling", f"{GROUP}/gpu-fraction"
PRIORITIES = ("high", "normal", "low")
"""Legal words of the annotation; each means class `flame-<word>-priority`."""
TRAINING, INFERENCE, HYBRID = "Training", "Inference", "Hybrid"
MOST_REPLICAS = 100_000


def _annotations(value: Body, path: str) -> Iterator[Problem]:
    word = value.get(PRIORITY)
    if word is not None and word not in PRIORITIES:
        problem = unknown(join(path, PRIORITY), "priority", word, PRIORITIES)
        yield problem._replace(hint=f"legal: {', '.join(PRIORITIES)}")
    if value.get(AUTO_SCALING) not in (None, "true", "false"):
        yield Problem(join(path, AUTO_SCALING), f'must be "true" or "false", found {value[AUTO_SCALING]!r}')
    fraction = value.get(GPU_FRACTION)
    if fraction is not None:
        try:
            legal = 0 < parse_quantity(fraction) <= 1
        except InvalidArgument:
            legal = False
        if not legal:
            yield Problem(join(path, GPU_FRACTION), f"must be more than 0 and at most 1, found {fraction[:40]!r}")


def _strategy(value: Body, path: str) -> Iterator[Problem]:
    own = {"RollingUpdate": "rollingUpdate", "BlueGreen": "blueGreen", "Canary": "canary"}
    chosen = own[value.get("type") or "RollingUpdate"]
    for key in own.values():
        if value.get(key) is not None and key != chosen:
            yield Problem(
                join(path, key), f"has no meaning with type {value.get('type') or 'RollingUpdate'}", f"give {chosen}"
            )


def _nothing(value: object) -> bool:
    return value in (0, "0%")


def _rolling(value: Body, path: str) -> Iterator[Problem]:
    if _nothing(value.get("maxUnavailable", "25%")) and _nothing(value.get("maxSurge", "25%")):
        yield Problem(path, "maxUnavailable and maxSurge are both nothing: no replica could ever be replaced")


def _canary(value: Body, path: str) -> Iterator[Problem]:
    first, most = value.get("initialReplicas") or 1, value.get("maxReplicas")
    if most is not None and most < first:
        yield Problem(join(path, "maxReplicas"), f"is {most}, fewer than initialReplicas ({first})")


STRATEGY = Object(
    "How a new template replaces the old one.",
    checks=(_strategy,),
    fields={
        "type": Text("Strategy.", choices=("RollingUpdate", "BlueGreen", "Canary"), default="RollingUpdate"),
        "rollingUpdate": Object(
            "Some replicas at a time.",
            checks=(_rolling,),
            fields={
                "maxUnavailable": IntOrText("Replicas that may be missing.", default="25%", percent=True),
                "maxSurge": IntOrText("Replicas that may be too many.", default="25%", percent=True),
            },
        ),
        "blueGreen": Object(
            "A second full set, then all traffic at once.",
            fields={
                "autoPromotion": Boolean("Promote as soon as the new set is ready?", default=True),
                "promotionTimeout": Duration("Not promoted for so long: the new set goes.", default="10m"),
                "scaleDownDelay": Duration("How long the old set stays after promotion.", default="5m"),
            },
        ),
        "canary": Object(
            "A growing share of the traffic.",
            checks=(_canary,),
            fields={
                "initialReplicas": Integer("Replicas of the first step.", default=1, minimum=1),
                "maxReplicas": Integer("Replicas before promotion, at most; none: spec.replicas.", minimum=1),
                "stepWeight": Integer("Percent of the traffic that a step adds.", default=25, minimum=1, maximum=100),
                "stepInterval": Duration("Shortest time between steps.", default="5m"),
                "autoPromotion": Boolean("Go from step to step alone?", default=True),
            },
        ),
    },
)

SCHEDULING = Object(
    "Where and when replicas run.",
    fields={
        "nodeSelector": NODE_SELECTOR,
        "tolerations": TOLERATIONS,
        "affinity": AFFINITY,
        "topologySpreadConstraints": SPREAD,
        "priorityClassName": Text("Priority class; none: the annotation's, else the global default."),
        "preemptionPolicy": Text("May it evict others?", choices=("PreemptLowerPriority", "Never")),
        "gang": Boolean("Start all ranks together or none? Default: true for Training, else false."),
        "minAvailable": Integer("Replicas that must start together; none: all of them.", minimum=1),
        "gpu": Object(
            "GPUs by more than their number.",
            fields={
                "fraction": Number("Part of one GPU that each replica takes.", above=0, maximum=1),
                "memory": Quantity("Memory a GPU must have."),
                "model": Text("Model of the GPU, or a part of its name."),
            },
        ),
    },
)


def _numbers(value: Body, path: str) -> Iterator[Problem]:
    kind = value.get("type") or TRAINING
    replicas = value["replicas"] if value.get("replicas") is not None else 1
    scheduling = value.get("scheduling") or {}
    least = scheduling.get("minAvailable")
    if least is not None and least > replicas:
        yield Problem(join(join(path, "scheduling"), "minAvailable"), f"is {least}, more than replicas ({replicas})")
    if value.get("sessions") is not None and kind != HYBRID:
        yield Problem(join(path, "sessions"), f"has a meaning with type {HYBRID} only, and this is {kind}")
    pod = value["template"]["spec"]
    if kind == TRAINING and pod.get("restartPolicy") == "Always":
        place = join(join(join(path, "template"), "spec"), "restartPolicy")
        yield Problem(place, "Always would never let Training complete", "use Never or OnFailure")


def _fraction(value: Body, path: str) -> Iterator[Problem]:
    fraction = ((value.get("scheduling") or {}).get("gpu") or {}).get("fraction")
    if fraction is None or fraction == 1:
        return
    for index, container in enumerate(value["template"]["spec"]["containers"]):
        amounts = (container.get("resources") or {}).get("limits") or {}
        if amounts.get(GPU) is not None and parse_quantity(amounts[GPU]) > 1:
            place = join(join(join(join(path, "template"), "spec"), "containers"), index)
            yield Problem(place, f"asks for {amounts[GPU]} GPUs while spec.scheduling.gpu.fraction shares one")


SPEC_FIELDS: dict[str, Field] = {
    "type": Text(
        "Training runs to completion, Inference stays up, Hybrid is a serving part with sessions beside it.",
        choices=(TRAINING, INFERENCE, HYBRID),
        default=TRAINING,
    ),
    "replicas": Integer("Replicas; the ranks of a Training.", default=1, minimum=0, maximum=MOST_REPLICAS),
    "scheduling": SCHEDULING,
    "template": TEMPLATE,
    "timeout": Duration("How long a Training may run; none: the cluster's default.", zero=False),
    "maxRetries": Integer("Runs after the first one failed; none: the cluster's default.", minimum=0),
    "backoffLimit": Integer("Restarts of a replica in one run; none: the cluster's default.", minimum=0),
    "elastic": Boolean("May a Training go on with fewer ranks?", default=False),
    "suspend": Boolean("Hold it: nothing of it runs?", default=False),
    "strategy": STRATEGY,
    "sessions": Object(
        "The batch part of a Hybrid.",
        fields={
            "application": Text("Application whose sessions share with it.", required=True, empty=False),
            "minInstances": Integer("Executors kept for it.", default=0, minimum=0),
            "maxInstances": Integer("Executors at most; none: no limit.", minimum=0),
        },
    ),
}

STATUS = Object(
    "What is so; written by the engine.",
    open=True,
    fields={
        "phase": Text("Pending, Running, Succeeded, Failed, Suspended or Terminating."),
        "reason": Text("One word why."),
        "message": Text("The same for people."),
        "id": Text("Id of the workload; FLAME_WORKLOAD_ID in its replicas."),
        "observedGeneration": Integer("The spec it speaks of."),
        "replicas": Integer("Replicas there are.", minimum=0),
        "readyReplicas": Integer("Of these, ready.", minimum=0),
        "availableReplicas": Integer("Of these, serving.", minimum=0),
        "updatedReplicas": Integer("Of these, of the newest template.", minimum=0),
        "succeeded": Integer("Replicas that ended well.", minimum=0),
        "failed": Integer("Replicas that failed.", minimum=0),
        "attempts": Integer("Runs so far.", minimum=0),
        "selector": Text("Labels of its replicas, for the scale subresource."),
        "startTime": Text("When it first ran."),
        "completionTime": Text("When it ended."),
        "conditions": conditions(),
    },
)

WORKLOAD = Kind(
    name="FlameWorkload",
    group=GROUP,
    version=VERSION,
    plural="flameworkloads",
    short=("fw",),
    subresources=("status", "scale"),
    immutable=("spec.type",),
    foreground=True,
    columns=(
        Column("Type", "spec.type"),
        Column("Phase", "status.phase"),
        Column("Replicas", "spec.replicas", "integer"),
        Column("Ready", "status.readyReplicas", "integer"),
        Column("Reason", "status.reason"),
        Column("Priority", "status.priorityClass", wide=True),
        Column("Strategy", "spec.strategy.type", wide=True),
        Column("Age", "metadata.creationTimestamp", "date"),
    ),
    schema=top(
        "FlameWorkload",
        f"{GROUP}/{VERSION}",
        {
            "spec": Object("What is wanted.", fields=SPEC_FIELDS, required=True, checks=(_numbers, _fraction)),
            "status": STATUS,
        },
        doc="Replicas that train, serve, or both.",
        metadata={"annotations": MapOf(ANNOTATIONS.doc, item=Text(), key=ANNOTATIONS.key, checks=(_annotations,))},
    ),
)
