"""Objects that tests begin with."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from flame.core.model import messages as m
from flame.core.objects.admission import admission
from flame.core.objects.check import named
from flame.core.objects.kinds import KINDS
from flame.core.objects.settings import effective, sources_of, view
from flame.core.objects.store import Change, Objects
from flame.wire.manifests import Document, parse, read

GUIDE = Path(__file__).parent / "guide"
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def guide(name: str) -> list[Document]:
    path = GUIDE / f"{name}.yaml"
    return read(path.read_text(), path.name)


def guide_body(name: str, number: int = 0) -> dict[str, Any]:
    return dict(named(guide(name)[number].body))


def workload(name: str = "w", **spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "command": ["true"]}]}
    return {
        "apiVersion": "flame.xflops.cn/v1alpha1",
        "kind": "FlameWorkload",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": pod}, **spec},
    }


def config(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class World:
    """A store whose plans are committed, with uids and a clock that count."""

    def __init__(self) -> None:
        self.objects = Objects(admission(parse, self.settings))
        self.now = NOW
        self.made = 0

    def settings(self):
        return view(effective(sources_of(self.objects, parse)))

    def put(self, mode: str, body: Any, kind: str = "", **more: Any) -> Change:
        self.now += 1
        self.made += 1
        request = m.PutObject(mode, kind or body["kind"], body=json.dumps(body).encode(), **more)
        change = self.objects.plan_put(request, self.now, f"uid-{self.made}", "tester")
        return self.objects.apply(change)

    def apply(self, body: Any, **more: Any) -> Change:
        return self.put("apply", deepcopy(body), **more)

    def delete(self, kind: str, name: str, **more: Any) -> Change:
        return self.objects.apply(self.objects.plan_delete(m.DeleteObject(kind, name=name, **more), self.now))

    def body(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        return dict(self.objects.get(kind, "default", namespace, name).body)


SMALLEST: dict[str, dict[str, Any]] = {
    "FlameWorkload": {"spec": workload()["spec"]},
    "PriorityClass": {"value": 1},
    "ResourceQuota": {"spec": {"hard": {"pods": 1}}},
    "FlameQuota": {"spec": {"tenant": "red", "guaranteed": {"requests.nvidia.com/gpu@A100": 1}}},
    "PersistentVolumeClaim": {"spec": {"resources": {"requests": {"storage": "1Gi"}}}},
    "Service": {"spec": {"ports": [{"port": 80}]}},
    "ClusterRoleBinding": {"roleRef": {"kind": "ClusterRole", "name": "r"}},
    "RoleBinding": {"roleRef": {"kind": "Role", "name": "r"}},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "Pod": {"spec": workload()["spec"]["template"]["spec"]},
    "Event": {"involvedObject": {"kind": "Pod", "name": "p"}},
}


def smallest(kind: str) -> dict[str, Any]:
    """The least that is a legal object of the kind."""
    head = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": {"name": "it"}}
    return deepcopy({**head, **SMALLEST.get(kind, {})})
