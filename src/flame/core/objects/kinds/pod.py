"""PodTemplateSpec: the whole of core/v1 is known; what Flame does not act upon is marked."""

from __future__ import annotations

from collections.abc import Iterator

from flame.core.objects import syntax
from flame.core.objects.kinds.affinity import AFFINITY, NODE_SELECTOR, SPREAD, TOLERATIONS
from flame.core.objects.kinds.common import ANNOTATIONS, LABELS, ignored
from flame.core.objects.kinds.container import CONTAINERS, INIT_CONTAINERS
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem, unknown
from flame.core.objects.schema import Body, Boolean, Field, Integer, ListOf, Object, Quantity, Text

# fmt: off
_UNUSED_VOLUMES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "downwardAPI", "ephemeral", "fc",
    "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs",
    "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd", "scaleIO", "secret", "storageos",
    "vsphereVolume",
)
# fmt: on
_USED_VOLUMES = ("emptyDir", "persistentVolumeClaim", "hostPath", "configMap")


def _volume(value: Body, path: str) -> Iterator[Problem]:
    given = [key for key in (*_USED_VOLUMES, *_UNUSED_VOLUMES) if value.get(key) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield Problem(path, f"needs exactly one source, found {found}", f"such as {', '.join(_USED_VOLUMES)}")


_VOLUMES = ListOf(
    "What containers may mount.",
    keys=("name",),
    item=Object(
        checks=(_volume,),
        fields={
            "name": Text("Name.", required=True, pattern=syntax.LABEL, rule=syntax.LABEL_RULE, empty=False),
            "emptyDir": Object(
                "Scratch space that goes with the replica.",
                fields={
                    "medium": Text("Empty or Memory.", choices=("", "Memory", "HugePages"), unused=True),
                    "sizeLimit": Quantity("How large it may get.", unused=True),
                },
            ),
            "persistentVolumeClaim": Object(
                "What a claim holds.",
                fields={
                    "claimName": Text("The claim.", required=True, empty=False),
                    "readOnly": Boolean(default=False),
                },
            ),
            "hostPath": Object(
                "A path of the node.",
                fields={
                    "path": Text("Path.", required=True, empty=False),
                    "type": Text("What must be there.", unused=True),
                },
            ),
            "configMap": Object(
                "Keys of a ConfigMap as files.",
                fields={
                    "name": Text("The ConfigMap.", required=True, empty=False),
                    "items": ListOf(
                        "Which keys; none: all.",
                        item=Object(
                            fields={
                                "key": Text(required=True),
                                "path": Text(required=True),
                                "mode": Integer(unused=True),
                            }
                        ),
                    ),
                    "optional": Boolean("May it be missing?", default=False),
                    "defaultMode": Integer("Mode of the files.", unused=True),
                },
            ),
            **{name: ignored(f"A volume of type {name}.") for name in _UNUSED_VOLUMES},
        },
    ),
)


def _mounts(value: Body, path: str) -> Iterator[Problem]:
    volumes = [volume["name"] for volume in value.get("volumes") or []]
    names: dict[str, str] = {}
    for group in ("initContainers", "containers"):
        for index, container in enumerate(value.get(group) or []):
            place = join(join(path, group), index)
            if names.setdefault(container["name"], place) != place:
                yield Problem(
                    join(place, "name"), f"{container['name']!r} is given twice", f"see {names[container['name']]}"
                )
            for number, mount in enumerate(container.get("volumeMounts") or []):
                if mount["name"] not in volumes:
                    where = join(join(join(place, "volumeMounts"), number), "name")
                    yield unknown(where, "volume", mount["name"], volumes)


def _ports(value: Body, path: str) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for index, container in enumerate(value.get("containers") or []):
        for number, port in enumerate(container.get("ports") or []):
            place = join(join(join(join(path, "containers"), index), "ports"), number)
            name = port.get("name")
            if name and seen.setdefault(name, place).partition(".ports")[0] != place.partition(".ports")[0]:
                yield Problem(join(place, "name"), f"port {name!r} is given twice", f"see {seen[name]}")


_IGNORED = {
    "automountServiceAccountToken": "Kubernetes' token in the container.",
    "dnsConfig": "Name servers.",
    "dnsPolicy": "Where names are looked up.",
    "enableServiceLinks": "Variables of services.",
    "ephemeralContainers": "Containers for debugging.",
    "hostAliases": "Lines of /etc/hosts.",
    "hostIPC": "The node's IPC.",
    "hostNetwork": "The node's network.",
    "hostPID": "The node's processes.",
    "hostUsers": "The node's users.",
    "hostname": "Host name.",
    "hostnameOverride": "Host name.",
    "imagePullSecrets": "Secrets to fetch images with.",
    "os": "Operating system.",
    "overhead": "What the runtime itself needs.",
    "priority": "Number of the priority; name a class instead.",
    "readinessGates": "Conditions of others.",
    "resourceClaims": "Devices by dynamic resource allocation.",
    "resources": "Resources of all containers together.",
    "runtimeClassName": "Runtime.",
    "schedulerName": "Another scheduler.",
    "schedulingGates": "What scheduling waits for.",
    "securityContext": "User, groups and the like.",
    "serviceAccount": "Old name of serviceAccountName.",
    "serviceAccountName": "Service account.",
    "setHostnameAsFQDN": "Host name.",
    "shareProcessNamespace": "Do containers see each other's processes?",
    "subdomain": "Host name.",
    "workloadRef": "Gang of the Kubernetes scheduler.",
}

POD_FIELDS: dict[str, Field] = {
    "containers": CONTAINERS,
    "initContainers": INIT_CONTAINERS,
    "volumes": _VOLUMES,
    "restartPolicy": Text(
        "When a container that ended is started again; default OnFailure for Training, else Always.",
        choices=("Always", "OnFailure", "Never"),
    ),
    "terminationGracePeriodSeconds": Integer("Seconds between SIGTERM and SIGKILL.", default=30, minimum=0),
    "activeDeadlineSeconds": Integer("Seconds it may run; spec.timeout is the same.", minimum=1),
    "nodeName": Text("The node to run on."),
    "nodeSelector": NODE_SELECTOR,
    "affinity": AFFINITY,
    "tolerations": TOLERATIONS,
    "topologySpreadConstraints": SPREAD,
    "priorityClassName": Text("Priority class; that of spec.scheduling goes first."),
    "preemptionPolicy": Text("May it evict others?", choices=("PreemptLowerPriority", "Never")),
    **{name: ignored(doc) for name, doc in _IGNORED.items()},
}

POD_SPEC = Object("What a replica is.", fields=POD_FIELDS, required=True, checks=(_mounts, _ports))
TEMPLATE = Object(
    "What every replica is made of.",
    required=True,
    fields={
        "metadata": Object(
            "Labels and annotations of replicas.",
            fields={
                "labels": LABELS,
                "annotations": ANNOTATIONS,
                "name": ignored("Names of replicas are made."),
                "namespace": ignored("Replicas are in the workload's namespace."),
                "creationTimestamp": ignored("Written by some tools."),
                "finalizers": ignored("Of the pods."),
                "generateName": ignored("Names of replicas are made."),
            },
        ),
        "spec": POD_SPEC,
    },
)
