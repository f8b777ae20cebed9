"""Which kinds there are, as clients of Kubernetes ask for it: one list for each version, or all in one answer (aggregated)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flame.core.objects.kinds import KINDS, Kind
from flame.gateway.kube.places import GROUPS, Place, subresources

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "get", "list", "patch", "update", "watch")


def version_info(release: str) -> dict[str, str]:
    """The release of the API that clients may count upon, with ours behind the plus."""
    return {
        "major": "1", "minor": "31", "gitVersion": f"v1.31.0+flame-{release}", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "",
    }  # fmt: skip


def answer(place: Place) -> dict[str, Any]:
    match place.what:
        case "groups" if not place.group:
            return {
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
            }
        case "groups":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in GROUPS]}
        case "group":
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(place.group)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{place.group}/{place.version}" if place.group else place.version,
        "resources": [one for kind in _kinds(place.group) for one in _resources(kind)],
    }


def aggregated(core: bool) -> dict[str, Any]:
    """All kinds of core, or of all groups."""
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [_discovered("", "v1")] if core else [_discovered(group, GROUPS[group]) for group in GROUPS],
    }


def _kinds(group: str) -> Iterable[Kind]:
    return (kind for kind in KINDS.values() if kind.group == group)


def _group(group: str) -> dict[str, Any]:
    version = {"groupVersion": f"{group}/{GROUPS[group]}", "version": GROUPS[group]}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resources(kind: Kind) -> Iterable[dict[str, Any]]:
    found: dict[str, Any] = {
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.name,
        "verbs": WRITE if kind.writable else READ,
    }  # fmt: skip
    if kind.short:
        found["shortNames"] = kind.short
    if kind.name == "FlameWorkload":
        found["categories"] = ["all"]
    yield found
    for sub in subresources(kind):
        named = {"name": f"{kind.plural}/{sub}", "singularName": "", "namespaced": kind.namespaced}
        yield named | _subresource(kind, sub)


def _subresource(kind: Kind, sub: str) -> dict[str, Any]:
    if sub == "scale":
        return {"group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ("get", "patch", "update")}
    return {"kind": kind.name, "verbs": ("get",) if sub == "log" or not kind.writable else ("get", "patch", "update")}


def _discovered(group: str, version: str) -> dict[str, Any]:
    resources = [_discovered_kind(kind) for kind in _kinds(group)]
    return {
        "metadata": {"name": group} if group else {},
        "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
    }


def _discovered_kind(kind: Kind) -> dict[str, Any]:
    scope = "Namespaced" if kind.namespaced else "Cluster"
    found: dict[str, Any] = {
        "resource": kind.plural, "responseKind": _kind(kind.group, kind.version, kind.name), "scope": scope,
        "singularResource": kind.singular, "verbs": WRITE if kind.writable else READ,
    }  # fmt: skip
    if kind.short:
        found["shortNames"] = kind.short
    if kind.name == "FlameWorkload":
        found["categories"] = ["all"]
    subs = []
    for sub in subresources(kind):
        about = _subresource(kind, sub)
        group, version = about.get("group", kind.group), about.get("version", kind.version)
        subs.append({
            "subresource": sub, "responseKind": _kind(group, version, about["kind"]), "verbs": about["verbs"],
        })  # fmt: skip
    return found | ({"subresources": subs} if subs else {})


def _kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}
