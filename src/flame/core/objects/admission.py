"""What else may be wrong with an object: settings inside of a ConfigMap, and what the cluster's settings allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flame.core.objects.kinds import Kind
from flame.core.objects.kinds.configuration import CONFIG_MAP, HELM_VALUES
from flame.core.objects.kinds.workload import WORKLOAD
from flame.core.objects.problems import Problem
from flame.core.objects.schema import Body
from flame.core.objects.settings import ClusterSettings, Parse, config_problems, values_problems
from flame.core.objects.workload import limit_problems
from flame.core.objects.writing import Admit


def admission(parse: Parse, current: Callable[[], ClusterSettings]) -> Admit:
    """The check for `Objects`. parse: reads YAML (`flame.wire.manifests.parse`); current: the settings that hold now."""

    def admit(kind: Kind, body: Body) -> Iterator[Problem]:
        if kind is CONFIG_MAP:
            yield from config_problems(body, parse)
        elif kind is HELM_VALUES:
            yield from values_problems(body)
        elif kind is WORKLOAD:
            yield from limit_problems(body, current())

    return admit
