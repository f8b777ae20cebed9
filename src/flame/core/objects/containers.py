"""Reads the containers and volumes of a pod template as the messages that an agent gets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flame.core.base.quantity import quantity_milli, quantity_units
from flame.core.model import messages as m
from flame.core.objects.kinds.container import GPU

FIELD_VARIABLES = {
    "metadata.name": "$(POD_NAME)",
    "metadata.uid": "$(FLAME_WORKLOAD_ID)-$(FLAME_RANK)",
    "spec.nodeName": "$(NODE_NAME)",
    "status.podIP": "$(POD_IP)",
    "status.podIPs": "$(POD_IP)",
    "status.hostIP": "$(HOST_IP)",
    "status.hostIPs": "$(HOST_IP)",
}
"""fieldRef that only the replica's start can tell -> the text that stands for it; agents set these variables."""

ConfigMaps = Mapping[str, Mapping[str, Any]]
"""Name -> body of the ConfigMaps of the workload's namespace."""


@dataclass
class Reading:
    """Reads containers; what cannot be found is collected in `missing`, for a reason of Pending.

    about: namespace, labels and annotations of the replica
    limits, requests: of containers that say nothing, by Flame's names
    gpu: thousandths of a GPU for a container that asks for one; 1000: a whole one
    """

    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    configs: ConfigMaps
    limits: Mapping[str, int]
    requests: Mapping[str, int]
    gpu: int = 1000
    account: str = "default"
    missing: list[str] = field(default_factory=list)

    def container(self, body: Mapping[str, Any]) -> m.ContainerSpec:
        requests, limits = self._resources(body.get("resources") or {})
        liveness = body.get("livenessProbe") or {}
        grace = liveness.get("terminationGracePeriodSeconds")
        hook = ((body.get("lifecycle") or {}).get("preStop") or {}).get("exec") or {}
        return m.ContainerSpec(
            name=body["name"],
            image=body.get("image") or "",
            command=tuple(body.get("command") or ()),
            args=tuple(body.get("args") or ()),
            env=self._env(body),
            working_dir=body.get("workingDir") or "",
            ports=tuple(_port(item) for item in body.get("ports") or ()),
            mounts=tuple(_mount(item) for item in body.get("volumeMounts") or ()),
            requests=requests,
            limits=limits,
            liveness=_probe(body.get("livenessProbe")),
            readiness=_probe(body.get("readinessProbe")),
            startup=_probe(body.get("startupProbe")),
            pre_stop=tuple(hook.get("command") or ()),
            grace=None if grace is None else float(grace),
        )

    def volume(self, body: Mapping[str, Any]) -> m.VolumeSpec | None:
        """None for a volume that Flame does not know how to make."""
        name = body["name"]
        if body.get("emptyDir") is not None:
            return m.VolumeSpec(name, "empty")
        if claim := body.get("persistentVolumeClaim"):
            return m.VolumeSpec(name, "claim", claim["claimName"], read_only=bool(claim.get("readOnly")))
        if host := body.get("hostPath"):
            return m.VolumeSpec(name, "host", host["path"])
        if config := body.get("configMap"):
            return m.VolumeSpec(name, "files", config["name"], files=self._files(config), read_only=True)
        return None

    def _resources(self, body: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
        """As Kubernetes fills them in: a request that is missing is the limit, where there is one; then the cluster's defaults."""
        limits, requests = _amounts(body.get("limits"), self.gpu), _amounts(body.get("requests"), self.gpu)
        for name, amount in limits.items():
            requests.setdefault(name, amount)
        for name, amount in self.limits.items():
            limits.setdefault(name, max(amount, requests.get(name, 0)))
        for name, amount in self.requests.items():
            requests.setdefault(name, min(amount, limits.get(name, amount)))
        return requests, limits

    def _env(self, body: Mapping[str, Any]) -> tuple[m.EnvVar, ...]:
        """Later ones win, in the place of the first."""
        found: dict[str, str] = {}
        for source in body.get("envFrom") or ():
            reference = source.get("configMapRef")
            if reference is not None:
                for key, value in self._config(reference).items():
                    found[f"{source.get('prefix') or ''}{key}"] = value
        for item in body.get("env") or ():
            if (origin := item.get("valueFrom")) is None:
                found[item["name"]] = item.get("value") or ""
            elif (told := self._value(origin)) is not None:
                found[item["name"]] = told
        return tuple(m.EnvVar(name, value) for name, value in found.items())

    def _value(self, origin: Mapping[str, Any]) -> str | None:
        """None where the variable is not set: optional and missing, or of a kind that is not acted upon."""
        if reference := origin.get("configMapKeyRef"):
            data = self._config(reference)
            if reference["key"] not in data and not reference.get("optional") and reference["name"] in self.configs:
                self.missing.append(f"key {reference['key']} of ConfigMap {reference['name']}")
            return data.get(reference["key"])
        path = (origin.get("fieldRef") or {}).get("fieldPath") or ""
        if path in FIELD_VARIABLES:
            return FIELD_VARIABLES[path]
        if path == "metadata.namespace":
            return self.namespace
        if path == "spec.serviceAccountName":
            return self.account
        for holder, known in (("metadata.labels", self.labels), ("metadata.annotations", self.annotations)):
            if path.startswith(f"{holder}['") and path.endswith("']"):
                return known.get(path[len(holder) + 2 : -2], "")
        return None

    def _config(self, reference: Mapping[str, Any]) -> Mapping[str, str]:
        body = self.configs.get(reference["name"])
        if body is None:
            if not reference.get("optional"):
                self.missing.append(f"ConfigMap {reference['name']}")
            return {}
        return body.get("data") or {}

    def _files(self, reference: Mapping[str, Any]) -> dict[str, bytes]:
        body = self.configs.get(reference["name"]) or {}
        data = {key: text.encode() for key, text in self._config(reference).items()}
        for key, text in (body.get("binaryData") or {}).items():
            try:
                data[key] = base64.b64decode(text, validate=True)
            except binascii.Error:
                self.missing.append(f"key {key} of ConfigMap {reference['name']}: it is no base64")
        if not reference.get("items"):
            return data
        found: dict[str, bytes] = {}
        for item in reference["items"]:
            if item["key"] in data:
                found[item["path"]] = data[item["key"]]
            elif not reference.get("optional") and body:
                self.missing.append(f"key {item['key']} of ConfigMap {reference['name']}")
        return found


def _amounts(given: Mapping[str, Any] | None, gpu: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, amount in (given or {}).items():
        if amount is None:
            continue
        if name == "cpu":
            found["cpu"] = quantity_milli(amount)
        elif name == GPU:
            found["gpu"] = quantity_units(amount) * gpu
        else:
            found[name] = quantity_units(amount)
    return found


def _port(item: Mapping[str, Any]) -> m.PortSpec:
    port = item["containerPort"]
    return m.PortSpec(item.get("name") or str(port), port, item.get("protocol") or "TCP", item.get("hostPort") or 0)


def _mount(item: Mapping[str, Any]) -> m.MountSpec:
    return m.MountSpec(item["name"], item["mountPath"], bool(item.get("readOnly")), item.get("subPath") or "")


def _probe(body: Mapping[str, Any] | None) -> m.ProbeSpec | None:
    """None without a probe, and for one by gRPC, which is accepted and not acted upon."""
    if not body:
        return None
    times: dict[str, Any] = {
        "initial_delay": float(body.get("initialDelaySeconds") or 0),
        "period": float(body.get("periodSeconds") or 10),
        "timeout": float(body.get("timeoutSeconds") or 1),
        "success": body.get("successThreshold") or 1,
        "failure": body.get("failureThreshold") or 3,
    }
    if http := body.get("httpGet"):
        return m.ProbeSpec(
            "http",
            port=str(http["port"]),
            path=http.get("path") or "/",
            host=http.get("host") or "",
            scheme=http.get("scheme") or "HTTP",
            headers={item["name"]: item["value"] for item in http.get("httpHeaders") or ()},
            **times,
        )
    if tcp := body.get("tcpSocket"):
        return m.ProbeSpec("tcp", port=str(tcp["port"]), host=tcp.get("host") or "", **times)
    if command := body.get("exec"):
        return m.ProbeSpec("exec", command=tuple(command["command"]), **times)
    return None
