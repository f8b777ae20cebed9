"""What holds settings: ConfigMap, and the values file of the Helm chart as an object."""

from __future__ import annotations

from collections.abc import Iterator

from flame.core.objects import syntax
from flame.core.objects.kinds.common import AGE, Column, Kind, top
from flame.core.objects.kinds.workload import GROUP, VERSION
from flame.core.objects.paths import join
from flame.core.objects.problems import Problem
from flame.core.objects.schema import Body, Boolean, MapOf, Text
from flame.core.objects.tree import VALUES


def _twice(value: Body, path: str) -> Iterator[Problem]:
    for key in value.get("binaryData") or {}:
        if key in (value.get("data") or {}):
            yield Problem(join(join(path, "binaryData"), key), "is in data, too")


CONFIG_MAP = Kind(
    name="ConfigMap",
    group="",
    version="v1",
    plural="configmaps",
    short=("cm",),
    columns=(Column("Data", "data", "integer"), AGE),
    schema=top(
        "ConfigMap",
        "v1",
        {
            "data": MapOf("Texts by key.", item=Text(), key=syntax.wrong_config_key),
            "binaryData": MapOf("Bytes by key, in base64.", item=Text(), key=syntax.wrong_config_key),
            "immutable": Boolean("May it never change again?", default=False),
        },
        doc="Texts by key; flame-config, gpu-config, monitoring-config and logging-config in flame-system are the cluster's settings.",
        checks=(_twice,),
    ),
)

HELM_VALUES = Kind(
    name="FlameValues",
    group=GROUP,
    version=VERSION,
    plural="flamevalues",
    namespaced=False,
    schema=top(
        "FlameValues",
        f"{GROUP}/{VERSION}",
        dict(VALUES.fields),
        namespaced=False,
        doc="The values file of the Helm chart: a document with `global` and `flame` and no kind.",
    ),
)

KINDS = (CONFIG_MAP, HELM_VALUES)
