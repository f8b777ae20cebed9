"""The cluster's settings as one tree: every key, what it means, and what holds where nobody says anything.

`SETTINGS` is the tree. ConfigMaps hold parts of it under the same keys (`CONFIG_MAPS`); the values file has its own form (`VALUES`), and
`from_values` says which key of the tree one of its keys is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_quantity, parse_size
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem
from flame.core.objects.schema import (
    Body,
    Boolean,
    Duration,
    Field,
    Integer,
    ListOf,
    Number,
    Object,
    Quantity,
    Text,
)

NAMESPACE = "flame-system"


def _object(doc: str, fields: dict[str, Field], **more: object) -> Object:
    return Object(doc, fields=fields, **more)  # type: ignore[arg-type]


def _ordered(value: Body, path: str) -> Iterator[Problem]:
    limits = value.get("limits") or {}
    for name, asked in (value.get("requests") or {}).items():
        limit = limits.get(name)
        if asked is not None and limit is not None and parse_quantity(asked) > parse_quantity(limit):
            yield Problem(join(join(path, "requests"), name), f"asks for {asked}, more than its limit of {limit}")


def _amounts(doc: str, cpu: str = "", memory: str = "") -> Object:
    """Amounts without defaults: nothing holds unless somebody says so."""
    fields: dict[str, Field] = {
        "cpu": Quantity("CPUs.", default=cpu or None),
        "memory": Quantity("Memory.", default=memory or None),
    }
    return Object(doc, fields=fields)


def _part_resources(limits: tuple[str, str], requests: tuple[str, str]) -> Object:
    return _object(
        "What one of them needs; rendered on Kubernetes.",
        {"limits": _amounts("At most.", *limits), "requests": _amounts("Set aside.", *requests)},
        checks=(_ordered,),
    )


_REPLICAS = {"core": 3, "agent": 5, "apiServer": 2}


def _replicas(part: str) -> Integer:
    return Integer("How many; on Kubernetes.", default=_REPLICAS[part], minimum=1)


GLOBAL = _object(
    "Images.",
    {
        "imageRegistry": Text("Prefix of every image.", default="ghcr.io/xflops"),
        "imagePullPolicy": Text(
            "When images are fetched.", choices=("Always", "IfNotPresent", "Never"), default="IfNotPresent"
        ),
        "imagePullSecrets": ListOf("Secrets to fetch images with.", default=[], item=Field()),
    },
)
WORKLOADS = Integer("Workloads that run at once; the others wait.", default=20, minimum=1)
TIMEOUT = Duration("How long a Training may run that says nothing itself.", default="2h", zero=False)
RATE_LIMIT = _object(
    "Requests of one token.",
    {
        "enabled": Boolean("Is there a limit?", default=True),
        "requestsPerSecond": Integer("Requests per second.", default=100, minimum=1),
    },
)
_METRICS_ON, _TRACING_ON = Boolean("Metrics of the core?", default=True), Boolean("Traces?", default=True)
_HEARTBEAT = Duration("How often an agent says that it lives.", default="5s", zero=False)
_UPDATES = Duration("How often an agent looks at its resources.", default="1m", zero=False)
_PER_AGENT = Integer("Replicas on one agent at once; none: no limit.", minimum=1)
_SWAGGER = Boolean("Serve /docs and /openapi.json?", default=True)
_CORS = Boolean("Answer browsers of allowed origins?", default=False)


def _sharing(value: Body, path: str) -> Iterator[Problem]:
    most = 4 if value.get("maxWorkloadsPerGPU") is None else value["maxWorkloadsPerGPU"]
    fraction = 0.25 if value.get("memoryFraction") is None else value["memoryFraction"]
    if most * fraction > 1 + 1e-9:
        yield Problem(
            join(path, "memoryFraction"),
            f"{most} workloads x {fraction:g} of the memory is {most * fraction:g}, more than one GPU has",
            f"at most {1 / most:g}",
        )


def _size(value: str, path: str) -> Iterator[Problem]:
    try:
        parse_size(value)
    except InvalidArgument as error:
        yield Problem(path, error.message, error.hint)


GPU = _object(
    "GPUs.",
    {
        "sharing": _object(
            "Several workloads on one GPU.",
            {
                "enabled": Boolean("Is it allowed?", default=True),
                "maxWorkloadsPerGPU": Integer("How many.", default=4, minimum=1),
                "memoryFraction": Number("Part of the memory that each has.", default=0.25, above=0, maximum=1),
            },
            checks=(_sharing,),
        ),
        "monitoring": _object(
            "What is measured.",
            {
                "enabled": Boolean("Anything?", default=True),
                "metrics": ListOf(
                    "Which.",
                    default=["utilization", "memory_used", "temperature", "power_draw"],
                    item=Text(choices=("utilization", "memory_used", "temperature", "power_draw")),
                ),
            },
        ),
        "scheduling": _object(
            "Which GPU.",
            {
                "strategy": Text(
                    "Fill nodes, spread over them, or ask a plugin.",
                    choices=("binpack", "spread", "custom"),
                    default="binpack",
                ),
                "preemption": Boolean("May the important evict the unimportant?", default=True),
                "gangScheduling": Boolean("Do ranks start together or not at all?", default=True),
            },
        ),
    },
)


def _metric(value: Body, path: str) -> Iterator[Problem]:
    buckets = value.get("buckets")
    if buckets is not None and value["type"] != "histogram":
        yield Problem(join(path, "buckets"), f"has a meaning with type histogram only, and this is {value['type']}")
    if buckets is not None and sorted(set(buckets)) != buckets:
        yield Problem(join(path, "buckets"), "must grow")


METRICS = _object(
    "Metrics.",
    {
        "enabled": Boolean("Serve them?", default=True),
        "port": Integer("Port.", default=9090, minimum=1, maximum=65535),
        "path": Text("Path.", default="/metrics", pattern="/.*", rule="a path begins with '/'"),
        "custom": ListOf(
            "More of them.",
            default=[],
            keys=("name",),
            item=Object(
                checks=(_metric,),
                fields={
                    "name": Text("Name.", required=True, pattern="[a-zA-Z_:][a-zA-Z0-9_:]*", empty=False),
                    "type": Text("Type.", choices=("counter", "gauge", "histogram"), required=True),
                    "help": Text("What it says.", default=""),
                    "labels": ListOf("Labels.", item=Text(pattern="[a-zA-Z_][a-zA-Z0-9_]*", empty=False)),
                    "buckets": ListOf("Upper bounds.", item=Number(), least=1),
                },
            ),
        ),
    },
)
PROMETHEUS = _object(
    "Prometheus.",
    {
        "enabled": Boolean("Render its configuration?", default=False),
        "scrapeInterval": Duration("How often.", default="15s", zero=False),
        "retention": Duration("How long points are kept.", default="30d", zero=False),
    },
)
GRAFANA = _object(
    "Grafana.",
    {
        "enabled": Boolean("Render dashboards?", default=False),
        "dashboards": ListOf(
            "Which.",
            default=[],
            keys=("name",),
            item=Object(fields={"name": Text("Name.", required=True), "url": Text("Where it comes from.")}),
        ),
    },
)


def _output(value: Body, path: str) -> Iterator[Problem]:
    needs = {"file": "path", "fluentd": "endpoint"}.get(value["type"])
    if needs and not value.get(needs):
        yield Problem(join(path, needs), f"is missing: an output of type {value['type']} needs it")


LOGGING = _object(
    "Logs.",
    {
        "level": Text("The least that is written.", choices=("debug", "info", "warn", "error"), default="info"),
        "format": Text("Form of a line.", choices=("json", "text"), default="text"),
        "outputs": ListOf(
            "Where to.",
            default=[{"type": "stdout", "enabled": True}],
            item=Object(
                checks=(_output,),
                fields={
                    "type": Text("Kind of output.", choices=("stdout", "file", "fluentd"), required=True),
                    "enabled": Boolean("Is it on?", default=True),
                    "path": Text("Folder of the files."),
                    "maxSize": Text("Size at which a file is turned over.", default="100MB", checks=(_size,)),
                    "maxBackups": Integer("Old files kept.", default=5, minimum=0),
                    "maxAge": Duration("How long old files are kept.", default="30d"),
                    "endpoint": Text("host:port.", pattern="[^:]+:[0-9]+", rule="write host:port"),
                },
            ),
        ),
        "structured": _object(
            "Fields of every line.",
            {
                "enabled": Boolean("Are they written?", default=True),
                "fields": ListOf(
                    "Which.",
                    default=[],
                    keys=("name",),
                    item=Object(fields={"name": Text("Name.", required=True), "value": Text("Value.", required=True)}),
                ),
            },
        ),
    },
)

SETTINGS = _object(
    "The settings of a cluster.",
    {
        "global": GLOBAL,
        "resources": _object(
            "Of containers that say nothing themselves.",
            {
                "limits": _amounts("At most; a container that asks for more is refused."),
                "requests": _amounts("Set aside."),
            },
            checks=(_ordered,),
        ),
        "scheduling": _object(
            "Workloads.",
            {
                "maxConcurrentWorkloads": WORKLOADS,
                "defaultTimeout": TIMEOUT,
                "maxRetries": Integer("Runs of a workload after its first failed.", default=3, minimum=0),
                "backoffLimit": Integer("Restarts of a replica within one run.", default=5, minimum=0),
            },
        ),
        "storage": _object(
            "Claims that the engine makes.",
            {
                "defaultStorageClass": Text("Class.", default="fast-ssd"),
                "persistentVolumeSize": Quantity("Size.", default="100Gi"),
                "accessMode": Text(
                    "Access.",
                    choices=("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"),
                    default="ReadWriteMany",
                ),
            },
        ),
        "networking": _object(
            "The service on Kubernetes.",
            {
                "serviceType": Text("Type.", choices=("ClusterIP", "NodePort", "LoadBalancer"), default="ClusterIP"),
                "ingressEnabled": Boolean("An Ingress, too?", default=False),
                "loadBalancerIP": Text("Address of a LoadBalancer.", default=""),
            },
        ),
        "security": _object(
            "Who may do what.",
            {
                "enableRBAC": Boolean("Refuse calls without a bound role?", default=True),
                "enableNetworkPolicies": Boolean("Render network policies?", default=True),
                "podSecurityPolicies": Boolean("Render pod security labels?", default=True),
            },
        ),
        "core": _object(
            "The engine.",
            {
                "replicaCount": _replicas("core"),
                "resources": _part_resources(("4", "8Gi"), ("1", "2Gi")),
                "enableMetrics": _METRICS_ON,
                "enableTracing": _TRACING_ON,
            },
        ),
        "agent": _object(
            "Agents.",
            {
                "replicaCount": _replicas("agent"),
                "resources": _part_resources(("2", "4Gi"), ("0.5", "1Gi")),
                "heartbeatInterval": _HEARTBEAT,
                "resourceUpdateInterval": _UPDATES,
                "maxConcurrentWorkloads": _PER_AGENT,
            },
        ),
        "apiServer": _object(
            "The HTTP interface.",
            {
                "replicaCount": _replicas("apiServer"),
                "resources": _part_resources(("2", "4Gi"), ("0.5", "1Gi")),
                "enableSwagger": _SWAGGER,
                "corsEnabled": _CORS,
                "rateLimit": RATE_LIMIT,
            },
        ),
        "gpu": GPU,
        "metrics": METRICS,
        "prometheus": PROMETHEUS,
        "grafana": GRAFANA,
        "logging": LOGGING,
    },
)


def _tops(*names: str) -> Object:
    return Object(fields={name: SETTINGS.fields[name] for name in names})


CONFIG_MAPS: Mapping[str, tuple[str, Object]] = {
    "flame-config": ("config.yaml", _tops("global", "resources", "scheduling", "storage", "networking", "security")),
    "gpu-config": ("gpu-config.yaml", _tops("gpu")),
    "monitoring-config": ("monitoring.yaml", _tops("metrics", "prometheus", "grafana")),
    "logging-config": ("logging.yaml", _tops("logging")),
}
"""ConfigMap of `flame-system` -> its key, and which part of the tree is in there. Later ones win; they do not overlap."""


def _part(doc: str, name: str, config: dict[str, Field]) -> Object:
    shared = SETTINGS.fields[name]
    fields = {"replicaCount": shared.child("replicaCount"), "resources": shared.child("resources")}
    return _object(doc, {**fields, "config": _object("Settings.", config)})  # type: ignore[dict-item]


VALUES = _object(
    "The values file of the Helm chart.",
    {
        "global": GLOBAL,
        "flame": _object(
            "The engine.",
            {
                "core": _part(
                    "The engine.",
                    "core",
                    {
                        "maxConcurrentWorkloads": WORKLOADS,
                        "defaultTimeout": TIMEOUT,
                        "enableMetrics": _METRICS_ON,
                        "enableTracing": _TRACING_ON,
                    },
                ),
                "agent": _part(
                    "Agents.",
                    "agent",
                    {
                        "heartbeatInterval": _HEARTBEAT,
                        "resourceUpdateInterval": _UPDATES,
                        "maxConcurrentWorkloads": _PER_AGENT,
                    },
                ),
                "apiServer": _part(
                    "The HTTP interface.",
                    "apiServer",
                    {"enableSwagger": _SWAGGER, "corsEnabled": _CORS, "rateLimit": RATE_LIMIT},
                ),
            },
        ),
    },
)
_MOVED = {
    "flame.core.config.maxConcurrentWorkloads": "scheduling.maxConcurrentWorkloads",
    "flame.core.config.defaultTimeout": "scheduling.defaultTimeout",
}


def from_values(path: str) -> str:
    """The key of the tree that a key of the values file is: `flame.agent.config.heartbeatInterval` -> `agent.heartbeatInterval`."""
    if path in _MOVED:
        return _MOVED[path]
    return path.removeprefix("flame.").replace(".config.", ".", 1) if path.startswith("flame.") else path
