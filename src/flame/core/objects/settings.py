"""The settings that hold: defaults < ConfigMaps < values file < overrides, each key with where it comes from.

`effective` takes the sources and gives `Settings`, the whole tree; `ClusterSettings` is the part that scheduler and reconciler use, typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.base.quantity import parse_duration, quantity_milli, quantity_units
from flame.core.objects.kinds.configuration import CONFIG_MAP, HELM_VALUES
from flame.core.objects.paths import dig, join, parent
from flame.core.objects.problems import Problem, closest, invalid, located, unknown
from flame.core.objects.schema import Body, Field, Object
from flame.core.objects.state import State
from flame.core.objects.tree import CONFIG_MAPS, NAMESPACE, SETTINGS, VALUES, from_values

Parse: TypeAlias = Callable[[str], tuple[Any, Mapping[str, int]]]
"""YAML text -> (value, path -> line); raises InvalidArgument. `flame.wire.manifests.parse` is one."""

CONFIG_RANK, VALUES_RANK, OVERRIDE_RANK = 1, 2, 3
"""Who wins over whom: the higher."""
DEFAULT = "default"
RBAC = "security.enableRBAC"
HEARTBEAT, UPDATES = 5.0, 60.0
"""Seconds, where nothing else is configured."""


class Setting(NamedTuple):
    path: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Source:
    """Where settings come from. name: as origins say it; schema: what may be in there; moved: its key -> the tree's key."""

    name: str
    rank: int
    body: Any
    schema: Object
    lines: Mapping[str, int] = field(default_factory=dict)
    moved: Callable[[str], str] = str

    def origin(self, path: str) -> str:
        line = self.lines.get(path)
        return f"{self.name}:{line}" if line else self.name


def values_source(body: Body, name: str = "values.yaml", lines: Mapping[str, int] | None = None) -> Source:
    """The values file of the Helm chart, or the object that keeps it."""
    plain = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}
    return Source(name, VALUES_RANK, plain, VALUES, lines or {}, from_values)


def config_source(body: Body, parse: Parse) -> Source | None:
    """One of the four ConfigMaps of `flame-system`; None for any other. Raises InvalidArgument where its text is no YAML or is missing."""
    about = body.get("metadata") or {}
    known = CONFIG_MAPS.get(about.get("name", ""))
    if known is None or about.get("namespace") != NAMESPACE:
        return None
    key, schema = known
    data = body.get("data") or {}
    what = f"ConfigMap {NAMESPACE}/{about['name']}"
    for other in data:
        if other != key:
            raise InvalidArgument(located(unknown(join("data", other), "key", other, (key,)), what))
    if key not in data:
        raise InvalidArgument(f"{what}: data[{key}] is missing", hint=f"the settings are the text under {key}")
    value, lines = parse(data[key])
    return Source(f"{what} {key}", CONFIG_RANK, {} if value is None else value, schema, lines)


def override_source(values: Mapping[str, Any], name: str = "override") -> Source:
    """Explicit values by their key in the tree: `{"scheduling.maxRetries": 1}`."""
    body: dict[str, Any] = {}
    for path, value in values.items():
        at = body
        *holders, last = path.split(".")
        for holder in holders:
            at = at.setdefault(holder, {})
        at[last] = value
    return Source(name, OVERRIDE_RANK, body, SETTINGS)


def sources_of(state: State, parse: Parse, tenant: str = "default") -> list[Source]:
    """The settings that are stored as objects."""
    found = [
        values_source(stored.body, f"FlameValues {stored.key.name}") for stored in state.each(HELM_VALUES.name, tenant)
    ]
    for stored in state.list(CONFIG_MAP.name, tenant, NAMESPACE).items:
        source = config_source(stored.body, parse)
        found += [source] if source is not None else []
    return found


def source_problems(source: Source) -> list[Problem]:
    """What is wrong with what a source says, with its lines."""
    return list(source.schema.problems(source.body, ""))


@dataclass(frozen=True)
class Settings:
    """All settings that hold. A key is the path of something that is not itself an object of settings."""

    by_path: Mapping[str, Setting]

    def __getitem__(self, path: str) -> Any:
        """The value of a key; None where nothing holds. Raises NotFound for a key nobody knows."""
        return self._setting(path).value

    def origin(self, path: str) -> str:
        """`default`, `values.yaml:12`, `ConfigMap flame-system/flame-config config.yaml:9` or `override`."""
        return self._setting(path).origin

    def show(self, under: str = "") -> list[Setting]:
        """Every key that holds something, at or under a path, in the order of the tree. Raises NotFound."""
        found = [
            s
            for s in self.by_path.values()
            if not under or s.path == under or s.path.startswith((f"{under}.", f"{under}["))
        ]
        if not found:
            raise self._no(under)
        return [setting for setting in found if setting.value is not None]

    def tree(self) -> dict[str, Any]:
        """The settings as one document."""
        body: dict[str, Any] = {}
        for setting in self.show():
            at = body
            *holders, last = setting.path.split(".")
            for holder in holders:
                at = at.setdefault(holder, {})
            at[last] = setting.value
        return body

    def _setting(self, path: str) -> Setting:
        found = self.by_path.get(path)
        if found is None:
            raise self._no(path)
        return found

    def _no(self, path: str) -> NotFound:
        near = closest(path, [*self.by_path, *SETTINGS.fields])
        return NotFound(
            f"there is no setting {path[:80]!r}",
            hint=f"did you mean {near}?" if near else "flame config show lists them",
        )


def leaves(schema: Field, path: str = "") -> Iterator[tuple[str, Field]]:
    """Every key of the tree."""
    if isinstance(schema, Object):
        for name, part in schema.fields.items():
            yield from leaves(part, join(path, name))
    else:
        yield path, schema


def effective(sources: Iterable[Source] = ()) -> Settings:
    """What holds, of defaults and these sources. Raises InvalidArgument with every problem of every source, each with its line."""
    ordered = sorted(sources, key=lambda source: source.rank)
    texts: list[str] = []
    hint = ""
    for source in ordered:
        for problem in source_problems(source):
            texts.append(located(problem, source.name, source.lines))
            hint = hint or problem.hint
    if texts:
        raise InvalidArgument(
            texts[0] if len(texts) == 1 else "settings are not valid:\n  " + "\n  ".join(texts), hint=hint
        )
    found = {path: Setting(path, part.default, DEFAULT) for path, part in leaves(SETTINGS)}
    for source in ordered:
        for path, _ in leaves(source.schema):
            value = dig(source.body, path)
            if value is not None:
                key = source.moved(path)
                found[key] = Setting(key, value, source.origin(path))
    settings = Settings(found)
    together = list(SETTINGS.problems(settings.tree(), ""))
    if together:  # each source alone is right, and together they are not
        named = [
            p._replace(message=f"{p.message} (from {found[p.path].origin if p.path in found else 'several'})")
            for p in together
        ]
        raise invalid(named, "the settings together")
    return settings


@dataclass(frozen=True)
class ClusterSettings:
    """What scheduler and reconciler use. Durations in seconds; amounts by Flame's names: `cpu` and `gpu` in thousandths, `memory` in bytes.

    default_limits, default_requests: of containers without; empty where nobody configured any
    agent_max_workloads: replicas on one agent; 0: no limit
    rate_limit: requests of one token per second; 0: no limit
    rbac: False: whoever is known may do everything with objects of its tenant, bound to a role or not
    """

    max_concurrent_workloads: int = 20
    default_timeout: float = 7200.0
    max_retries: int = 3
    backoff_limit: int = 5
    default_limits: Mapping[str, int] = field(default_factory=dict)
    default_requests: Mapping[str, int] = field(default_factory=dict)
    agent_max_workloads: int = 0
    heartbeat_interval: float = HEARTBEAT
    resource_update_interval: float = UPDATES
    gpu_sharing: bool = True
    gpu_max_sharers: int = 4
    gpu_memory_fraction: float = 0.25
    gpu_strategy: str = "binpack"
    gpu_preemption: bool = True
    gpu_gang: bool = True
    swagger: bool = True
    cors: bool = False
    rate_limit: int = 100
    rbac: bool = True


def view(settings: Settings) -> ClusterSettings:
    """The typed part of the settings."""

    def amounts(part: str) -> dict[str, int]:
        cpu, memory = settings[f"resources.{part}.cpu"], settings[f"resources.{part}.memory"]
        found = {"cpu": quantity_milli(cpu)} if cpu is not None else {}
        return found | ({"memory": quantity_units(memory)} if memory is not None else {})

    limited = settings["apiServer.rateLimit.enabled"]
    return ClusterSettings(
        max_concurrent_workloads=settings["scheduling.maxConcurrentWorkloads"],
        default_timeout=parse_duration(settings["scheduling.defaultTimeout"]),
        max_retries=settings["scheduling.maxRetries"],
        backoff_limit=settings["scheduling.backoffLimit"],
        default_limits=amounts("limits"),
        default_requests=amounts("requests"),
        agent_max_workloads=settings["agent.maxConcurrentWorkloads"] or 0,
        heartbeat_interval=parse_duration(settings["agent.heartbeatInterval"]),
        resource_update_interval=parse_duration(settings["agent.resourceUpdateInterval"]),
        gpu_sharing=settings["gpu.sharing.enabled"],
        gpu_max_sharers=settings["gpu.sharing.maxWorkloadsPerGPU"],
        gpu_memory_fraction=float(settings["gpu.sharing.memoryFraction"]),
        gpu_strategy=settings["gpu.scheduling.strategy"],
        gpu_preemption=settings["gpu.scheduling.preemption"],
        gpu_gang=settings["gpu.scheduling.gangScheduling"],
        swagger=settings["apiServer.enableSwagger"],
        cors=settings["apiServer.corsEnabled"],
        rate_limit=settings["apiServer.rateLimit.requestsPerSecond"] if limited else 0,
        rbac=settings[RBAC],
    )


def config_problems(body: Body, parse: Parse, locate: Callable[[str, int], int] | None = None) -> Sequence[Problem]:
    """What is wrong with the settings inside of a ConfigMap. locate: (path of the text, its line) -> line of the file around it."""
    try:
        source = config_source(body, parse)
    except InvalidArgument as error:
        return [Problem("data", error.message, error.hint)]
    if source is None:
        return []
    key = source.name.rpartition(" ")[2]
    found = []
    for problem in source_problems(source):
        inner = located(problem._replace(hint=""), key, source.lines)
        line = next((source.lines[p] for p in _upwards(problem.path) if p in source.lines), 0)
        place = join("data", key)
        found.append(Problem(place, inner, problem.hint, locate(place, line) if locate and line else 0))
    return found or _with_defaults_problems(source, join("data", key))


def values_problems(body: Body) -> Sequence[Problem]:
    """What is wrong with a values file that is legal by its schema: with the defaults of what it leaves out it must be legal, too."""
    return _with_defaults_problems(values_source(body), "flame")


def reach_problems(body: Body, parse: Parse) -> Sequence[Problem]:
    """What the settings of a ConfigMap, legal as they are, may not say in a cluster that other machines reach."""
    source = config_source(body, parse)
    if source is None or effective([source])[RBAC]:
        return []
    said = f"{RBAC}: false is for clusters that only this machine reaches"
    return [Problem("data", said, "leave it on, or start the cluster on loopback only")]


def _with_defaults_problems(source: Source, path: str) -> Sequence[Problem]:
    """No check spans two sources, so what is legal with the defaults is legal with all others."""
    try:
        effective([source])
    except InvalidArgument as error:
        return [Problem(path, error.message, error.hint)]
    return []


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = parent(path)
