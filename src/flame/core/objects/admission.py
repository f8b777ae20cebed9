"""What else may be wrong with an object: settings inside of a ConfigMap, and what the cluster's settings allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flame.core.objects.kinds import Kind
from flame.core.objects.kinds.configuration import CONFIG_MAP, HELM_VALUES
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.problems import Problem
from flame.core.objects.schema import Body
from flame.core.objects.settings import ClusterSettings, Parse, config_problems, reach_problems, values_problems
from flame.core.objects.workload import limit_problems
from flame.core.objects.writing import Admit


def admission(parse: Parse, current: Callable[[], ClusterSettings], reached: bool = False) -> Admit:
    """The check for `Objects`. parse: reads YAML (`flame.wire.manifests.parse`); current: the settings that hold now; reached: by other
    machines than this one."""

    def admit(kind: Kind, body: Body) -> Iterator[Problem]:
        if kind is CONFIG_MAP:
            problems = config_problems(body, parse)
            yield from problems or (reach_problems(body, parse) if reached else ())
        elif kind is HELM_VALUES:
            yield from values_problems(body)
        elif kind is WORKLOAD:
            yield from limit_problems(body, current())

    return admit
