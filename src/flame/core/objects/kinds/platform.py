"""What surrounds workloads: claims, services, accounts, roles, network policies. Most of it has a meaning on Kubernetes only."""

from __future__ import annotations

from collections.abc import Iterator

from flame.core.objects import syntax
from flame.core.objects.kinds.common import AGE, STRINGS, Column, Kind, LabelText, ignored, label_selector, top
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem
from flame.core.objects.schema import (
    Body,
    Boolean,
    Field,
    Integer,
    IntOrText,
    ListOf,
    MapOf,
    Object,
    Quantity,
    Text,
)

RBAC, RBAC_VERSION = "rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1"

CLAIM = Kind(
    name="PersistentVolumeClaim",
    group="",
    version="v1",
    plural="persistentvolumeclaims",
    short=("pvc",),
    subresources=("status",),
    columns=(
        Column("Status", "status.phase"),
        Column("Capacity", "spec.resources.requests.storage"),
        Column("StorageClass", "spec.storageClassName"),
        AGE,
    ),
    schema=top(
        "PersistentVolumeClaim",
        "v1",
        {
            "spec": Object(
                "What is wanted.",
                required=True,
                fields={
                    "accessModes": ListOf(
                        "Who may mount it.",
                        item=Text(choices=("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")),
                    ),
                    "resources": Object(
                        "How much.",
                        fields={
                            "requests": MapOf("At least.", item=Quantity()),
                            "limits": MapOf("At most.", item=Quantity()),
                        },
                    ),
                    "storageClassName": Text("Class; none: the cluster's."),
                    "volumeName": Text("The volume itself."),
                    "volumeMode": Text("Mode.", choices=("Filesystem", "Block"), default="Filesystem"),
                    "volumeAttributesClassName": ignored("Attributes of the volume."),
                    "selector": label_selector("Which volumes.", unused=True),
                    "dataSource": ignored("What is in it at first."),
                    "dataSourceRef": ignored("What is in it at first."),
                },
            ),
            "status": Object("What is so.", open=True),
        },
        doc="Storage that outlives replicas.",
    ),
)

SERVICE = Kind(
    name="Service",
    group="",
    version="v1",
    plural="services",
    short=("svc",),
    only_kubernetes=True,
    subresources=("status",),
    columns=(
        Column("Type", "spec.type"),
        Column("Cluster-IP", "spec.clusterIP"),
        Column("Status", "status.phase"),
        AGE,
    ),
    schema=top(
        "Service",
        "v1",
        {
            "spec": Object(
                "Which pods, and by which ports.",
                required=True,
                open=True,
                fields={
                    "type": Text(
                        "Type.", choices=("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"), default="ClusterIP"
                    ),
                    "selector": MapOf("Labels of the pods.", item=LabelText(), key=syntax.wrong_key),
                    "ports": ListOf(
                        "Ports.",
                        keys=("port", "protocol"),
                        item=Object(
                            fields={
                                "name": Text("Name."),
                                "port": Integer("Port.", required=True, minimum=1, maximum=65535),
                                "targetPort": IntOrText("Port of the pod."),
                                "protocol": Text(choices=("TCP", "UDP", "SCTP"), default="TCP"),
                                "nodePort": Integer("Port of the nodes.", minimum=0, maximum=65535),
                                "appProtocol": Text("What is spoken."),
                            }
                        ),
                    ),
                    "clusterIP": Text("Address; None: no own one."),
                    "loadBalancerIP": Text("Address of the load balancer."),
                    "sessionAffinity": Text(choices=("None", "ClientIP"), default="None"),
                },
            ),
            "status": Object("What is so.", open=True),
        },
        doc="One address for several pods.",
    ),
)

SERVICE_ACCOUNT = Kind(
    name="ServiceAccount",
    group="",
    version="v1",
    plural="serviceaccounts",
    short=("sa",),
    schema=top(
        "ServiceAccount",
        "v1",
        {
            "secrets": ListOf("Secrets.", item=Field()),
            "imagePullSecrets": ListOf("Secrets to fetch images with.", item=Field()),
            "automountServiceAccountToken": Boolean("A token in every pod?"),
        },
        doc="Who a pod is.",
    ),
)


def _rule(value: Body, path: str) -> Iterator[Problem]:
    if not value.get("nonResourceURLs") and not value.get("resources"):
        yield Problem(join(path, "resources"), "is missing", "name resources, or nonResourceURLs")


_RULES = ListOf(
    "What is allowed.",
    item=Object(
        checks=(_rule,),
        fields={
            "apiGroups": ListOf('Groups; "" is core.', item=Text()),
            "resources": ListOf("Resources; * is all.", item=Text()),
            "resourceNames": ListOf("Names; none: all.", item=Text()),
            "verbs": ListOf("Verbs; * is all.", item=Text(), required=True, least=1),
            "nonResourceURLs": ListOf("Paths.", item=Text()),
        },
    ),
)


def _subject(value: Body, path: str) -> Iterator[Problem]:
    if value["kind"] == "ServiceAccount" and not value.get("namespace"):
        yield Problem(join(path, "namespace"), "is missing: a ServiceAccount is in a namespace")


_BINDING: dict[str, Field] = {
    "subjects": ListOf(
        "Who.",
        item=Object(
            checks=(_subject,),
            fields={
                "kind": Text("Kind.", choices=("User", "Group", "ServiceAccount"), required=True),
                "name": Text("Name.", required=True, empty=False),
                "namespace": Text("Namespace of a ServiceAccount."),
                "apiGroup": Text("Group."),
            },
        ),
    ),
    "roleRef": Object(
        "Which role.",
        required=True,
        fields={
            "kind": Text("Kind.", choices=("Role", "ClusterRole"), required=True),
            "name": Text("Name.", required=True, empty=False),
            "apiGroup": Text("Group.", choices=(RBAC,), default=RBAC),
        },
    ),
}


def _rbac(
    name: str, plural: str, fields: dict[str, Field], namespaced: bool, doc: str, **more: tuple[str, ...]
) -> Kind:
    return Kind(
        name=name,
        group=RBAC,
        version="v1",
        plural=plural,
        namespaced=namespaced,
        schema=top(name, RBAC_VERSION, fields, namespaced=namespaced, doc=doc),
        columns=(Column("Role", "roleRef.name"), AGE) if "roleRef" in fields else (AGE,),
        immutable=more.get("immutable", ()),
    )


_AGGREGATION: dict[str, Field] = {"rules": _RULES, "aggregationRule": ignored("Rules of other roles.")}
CLUSTER_ROLE = _rbac("ClusterRole", "clusterroles", _AGGREGATION, False, "What may be done, everywhere.")
ROLE = _rbac("Role", "roles", {"rules": _RULES}, True, "What may be done in a namespace.")
CLUSTER_ROLE_BINDING = _rbac(
    "ClusterRoleBinding", "clusterrolebindings", _BINDING, False, "Who has a role, everywhere.", immutable=("roleRef",)
)
ROLE_BINDING = _rbac(
    "RoleBinding", "rolebindings", _BINDING, True, "Who has a role in a namespace.", immutable=("roleRef",)
)

_PEERS = ListOf(
    "Who; none: everybody.",
    item=Object(
        fields={
            "podSelector": label_selector("Pods."),
            "namespaceSelector": label_selector("Namespaces."),
            "ipBlock": Object("Addresses.", fields={"cidr": Text("Range.", required=True), "except": STRINGS}),
        }
    ),
)
_POLICY_PORTS = ListOf(
    "Ports; none: all.",
    item=Object(
        fields={
            "protocol": Text("Protocol.", choices=("TCP", "UDP", "SCTP"), default="TCP"),
            "port": IntOrText("Port, or its name."),
            "endPort": Integer("Last port of a range.", minimum=1, maximum=65535),
        }
    ),
)
NETWORK_POLICY = Kind(
    name="NetworkPolicy",
    group="networking.k8s.io",
    version="v1",
    plural="networkpolicies",
    short=("netpol",),
    only_kubernetes=True,
    schema=top(
        "NetworkPolicy",
        "networking.k8s.io/v1",
        {
            "spec": Object(
                "Rules.",
                required=True,
                fields={
                    "podSelector": label_selector("The pods it is for; empty: all.", required=True),
                    "policyTypes": ListOf("Directions.", item=Text(choices=("Ingress", "Egress"))),
                    "ingress": ListOf(
                        "What may come in.", item=Object(fields={"from": _PEERS, "ports": _POLICY_PORTS})
                    ),
                    "egress": ListOf("What may go out.", item=Object(fields={"to": _PEERS, "ports": _POLICY_PORTS})),
                },
            ),
        },
        doc="Which connections pods may have.",
    ),
)

KINDS = (CLAIM, SERVICE, SERVICE_ACCOUNT, CLUSTER_ROLE, ROLE, CLUSTER_ROLE_BINDING, ROLE_BINDING, NETWORK_POLICY)
