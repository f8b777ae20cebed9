"""One container of core/v1: what is run, with what, and how one knows that it is well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flame.core.base.quantity import parse_quantity
from flame.core.objects import syntax
from flame.core.objects.kinds.common import ignored
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem, unknown
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

GPU = "nvidia.com/gpu"


def wrong_resource(name: str) -> str:
    """What is wrong with the name of a resource; empty: nothing. Names without a domain are Kubernetes' own."""
    if "/" in name:
        return syntax.wrong_key(name)
    if name in ("cpu", "memory", "ephemeral-storage") or name.startswith("hugepages-"):
        return ""
    return (
        f"unknown resource {name[:80]!r}; known: cpu, memory, ephemeral-storage, and names with a domain such as {GPU}"
    )


def _resources(value: Body, path: str) -> Iterator[Problem]:
    requests, limits = value.get("requests") or {}, value.get("limits") or {}
    for name, asked in requests.items():
        limit = limits.get(name)
        if limit is not None and asked is not None and parse_quantity(asked) > parse_quantity(limit):
            yield Problem(join(join(path, "requests"), name), f"asks for {asked}, more than its limit of {limit}")
    for part, other in (("limits", requests), ("requests", limits)):
        given = value.get(part) or {}
        for name, count in given.items():
            if "/" not in name or count is None:
                continue
            place = join(join(path, part), name)
            if parse_quantity(count) % 1:
                yield Problem(place, f"must be whole, found {count}", "share a GPU by spec.scheduling.gpu.fraction")
            elif part == "requests" and other.get(name) is None:
                yield Problem(place, "needs a limit of the same amount")
            elif (
                other.get(name) is not None
                and parse_quantity(other[name]) != parse_quantity(count)
                and part == "limits"
            ):
                yield Problem(place, f"is {count}, and the request is {other[name]}: they must be equal")


_AMOUNTS = {
    "requests": MapOf("What is set aside.", item=Quantity(), key=wrong_resource),
    "limits": MapOf("What may not be exceeded.", item=Quantity(), key=wrong_resource),
}
RESOURCES = Object(
    "What the container needs.",
    checks=(_resources,),
    fields={**_AMOUNTS, "claims": ignored("Devices by dynamic resource allocation.")},
)


def _one_of(names: tuple[str, ...], least: int) -> Any:
    def check(value: Body, path: str) -> Iterator[Problem]:
        given = [name for name in names if value.get(name) is not None]
        if len(given) > 1:
            yield Problem(join(path, given[1]), f"{' and '.join(given)} exclude each other")
        if len(given) < least:
            yield Problem(path, f"needs one of {', '.join(names)}")

    return check


_PROBE_PORT = IntOrText("Number, or name of a port.", required=True)
_HTTP_GET = Object(
    "An HTTP request that answers 200 to 399.",
    fields={
        "path": Text("Path.", default="/"),
        "port": _PROBE_PORT,
        "host": Text("Host; none: the replica."),
        "scheme": Text("Scheme.", choices=("HTTP", "HTTPS"), default="HTTP"),
        "httpHeaders": ListOf(
            "Headers.", item=Object(fields={"name": Text(required=True), "value": Text(required=True)})
        ),
    },
)
_TCP = Object("A connection that opens.", fields={"port": _PROBE_PORT, "host": Text("Host; none: the replica.")})
_EXEC = Object(
    "A command that ends with 0.", fields={"command": ListOf("Command.", item=Text(), required=True, least=1)}
)


def _probe(doc: str) -> Object:
    return Object(
        doc,
        checks=(_one_of(("httpGet", "tcpSocket", "exec", "grpc"), 1),),
        fields={
            "httpGet": _HTTP_GET,
            "tcpSocket": _TCP,
            "exec": _EXEC,
            "grpc": ignored("A call of grpc.health.v1."),
            "initialDelaySeconds": Integer("Seconds before the first.", default=0, minimum=0),
            "periodSeconds": Integer("Seconds between two.", default=10, minimum=1),
            "timeoutSeconds": Integer("Seconds one may take.", default=1, minimum=1),
            "successThreshold": Integer("Successes in a row that count.", default=1, minimum=1),
            "failureThreshold": Integer("Failures in a row that count.", default=3, minimum=1),
            "terminationGracePeriodSeconds": Integer("Seconds between SIGTERM and SIGKILL after it failed.", minimum=1),
        },
    )


def _key_of(doc: str, what: str, unused: bool = False) -> Object:
    return Object(
        doc,
        unused=unused,
        fields={
            "name": Text(f"The {what}.", required=True),
            "key": Text("The key.", required=True),
            "optional": Boolean("May it be missing?", default=False),
        },
    )


def _env_value(value: Body, path: str) -> Iterator[Problem]:
    if value.get("value") and value.get("valueFrom") is not None:
        yield Problem(join(path, "valueFrom"), "value and valueFrom exclude each other")


_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels['KEY']",
    "metadata.annotations['KEY']",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)


def _field_path(value: str, path: str) -> Iterator[Problem]:
    keyed = value.startswith(("metadata.labels['", "metadata.annotations['")) and value.endswith("']")
    if not keyed and value not in _FIELD_PATHS:
        yield unknown(path, "field of a pod", value, _FIELD_PATHS)


_ENV = ListOf(
    "Environment; `$(NAME)` in a value is replaced by the variable.",
    keys=("name",),
    unique=False,
    item=Object(
        checks=(_env_value,),
        fields={
            "name": Text("Name.", required=True, empty=False, pattern=syntax.ENV_NAME),
            "value": Text("Value.", default=""),
            "valueFrom": Object(
                "Where the value comes from.",
                checks=(_one_of(("fieldRef", "configMapKeyRef", "secretKeyRef", "resourceFieldRef", "fileKeyRef"), 1),),
                fields={
                    "fieldRef": Object(
                        "A field of the pod.",
                        fields={
                            "fieldPath": Text("Path.", required=True, checks=(_field_path,)),
                            "apiVersion": Text("Version."),
                        },
                    ),
                    "configMapKeyRef": _key_of("A key of a ConfigMap.", "ConfigMap"),
                    "secretKeyRef": _key_of("A key of a Secret.", "Secret", unused=True),
                    "resourceFieldRef": ignored("An amount of a resource."),
                    "fileKeyRef": ignored("A key of a file."),
                },
            ),
        },
    ),
)
_ENV_FROM = ListOf(
    "ConfigMaps whose keys become variables.",
    item=Object(
        fields={
            "prefix": Text("In front of each name.", default=""),
            "configMapRef": Object(
                "A ConfigMap.", fields={"name": Text("Name.", required=True), "optional": Boolean(default=False)}
            ),
            "secretRef": ignored("A Secret."),
        }
    ),
)
_PORTS = ListOf(
    "Ports it listens on.",
    keys=("containerPort", "protocol"),
    item=Object(
        fields={
            "name": Text("Name.", pattern=syntax.PORT_NAME, rule=syntax.PORT_NAME_RULE),
            "containerPort": Integer("Port.", required=True, minimum=1, maximum=65535),
            "protocol": Text("Protocol.", choices=("TCP", "UDP", "SCTP"), default="TCP"),
            "hostPort": Integer("The same port on the node; 0: any free one.", minimum=0, maximum=65535),
            "hostIP": Text("Address on the node.", unused=True),
        }
    ),
)
_MOUNTS = ListOf(
    "Volumes it sees.",
    keys=("mountPath",),
    item=Object(
        fields={
            "name": Text("The volume.", required=True, empty=False),
            "mountPath": Text("Where.", required=True, pattern="[^:]+", rule="a path without ':'"),
            "readOnly": Boolean("Only to read?", default=False),
            "subPath": Text("A folder of the volume; none: its root.", default=""),
            "subPathExpr": ignored("The same with variables."),
            "mountPropagation": ignored("How mounts travel."),
            "recursiveReadOnly": ignored("Read-only below too?"),
        }
    ),
)
_HANDLER = Object(
    "What is run.",
    fields={
        "exec": _EXEC,
        "httpGet": Object("An HTTP request.", fields=_HTTP_GET.fields, unused=True),
        "tcpSocket": ignored("Not used any more."),
        "sleep": ignored("A pause."),
    },
)


def _port_names(value: Body, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, port in enumerate(value.get("ports") or []):
        name = port.get("name")
        if name and not any(char.isalpha() for char in name):
            yield Problem(
                join(join(join(path, "ports"), index), "name"), f"{name!r} has no letter", "it would look like a port"
            )
        if name and name in seen:
            yield Problem(join(join(join(path, "ports"), index), "name"), f"{name!r} is given twice")
        seen.add(name or "")


def _probe_ports(value: Body, path: str) -> Iterator[Problem]:
    names = [port["name"] for port in value.get("ports") or [] if port.get("name")]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        for handler in ("httpGet", "tcpSocket"):
            given: Mapping[str, Any] = (value.get(probe) or {}).get(handler) or {}
            port = given.get("port")
            place = join(join(join(path, probe), handler), "port")
            if isinstance(port, str) and not port.isdigit() and port not in names:
                yield Problem(place, f"no port is named {port!r}", f"named ports: {', '.join(names) or 'none'}")
            elif isinstance(port, int) and not 1 <= port <= 65535:
                yield Problem(place, f"{port} is no port", "ports are 1 to 65535")


FIELDS: dict[str, Field] = {
    "name": Text("Name.", required=True, pattern=syntax.LABEL, rule=syntax.LABEL_RULE, empty=False),
    "image": Text("Image; nodes say which they have."),
    "command": ListOf("Program and its first arguments; none: what the image says.", item=Text()),
    "args": ListOf("More arguments.", item=Text()),
    "workingDir": Text("Where it starts."),
    "env": _ENV,
    "envFrom": _ENV_FROM,
    "resources": RESOURCES,
    "ports": _PORTS,
    "volumeMounts": _MOUNTS,
    "livenessProbe": _probe("Fails: the container is started anew."),
    "readinessProbe": _probe("Fails: the replica gets no traffic."),
    "startupProbe": _probe("The others wait for it."),
    "lifecycle": Object(
        "What is run at its ends.",
        fields={
            "preStop": Object("Before SIGTERM.", fields=_HANDLER.fields),
            "postStart": ignored("After the start."),
            "stopSignal": ignored("Instead of SIGTERM."),
        },
    ),
    "imagePullPolicy": Text("When images are fetched.", choices=("Always", "IfNotPresent", "Never"), unused=True),
    "restartPolicy": Text("Of an init container.", unused=True),
    "restartPolicyRules": ignored("Restarts by exit code."),
    "resizePolicy": ignored("Resizing in place."),
    "securityContext": ignored("User, capabilities and the like."),
    "stdin": ignored("An open standard input."),
    "stdinOnce": ignored("Standard input for one client."),
    "tty": ignored("A terminal."),
    "terminationMessagePath": ignored("File of the last words."),
    "terminationMessagePolicy": ignored("Where the last words come from."),
    "volumeDevices": ignored("Block devices."),
}

CONTAINER = Object("A container.", fields=FIELDS, checks=(_port_names, _probe_ports))
CONTAINERS = ListOf("What runs.", item=CONTAINER, keys=("name",), required=True, least=1)
INIT_CONTAINERS = ListOf("What runs to its end first, one after the other.", item=CONTAINER, keys=("name",))
