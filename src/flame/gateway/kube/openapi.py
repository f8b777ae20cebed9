"""The schemas of all kinds as OpenAPI v3 (one document for each group) and v2, for `kubectl explain` and for checks before a write."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from flame.core.base.errors import NotFound
from flame.core.objects.describe import openapi
from flame.core.objects.kinds import KINDS, Kind
from flame.gateway.kube.places import GROUPS
from flame.version import __version__

_META = {
    "name": "Name.",
    "namespace": "Namespace.",
    "generateName": "Beginning of a name.",
    "uid": "Set by the server.",
    "resourceVersion": "Set by the server; given with a write, it must be the stored one.",
    "creationTimestamp": "Set by the server.",
    "deletionTimestamp": "Set by the server when deletion begins.",
}
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def groups() -> Iterable[str]:
    """`api/v1`, `apis/GROUP/VERSION`."""
    yield "api/v1"
    for group, version in GROUPS.items():
        yield f"apis/{group}/{version}"


@cache
def index() -> bytes:
    paths = {
        group: {"serverRelativeURL": f"/openapi/v3/{group}?hash={hashlib.sha256(document(group)).hexdigest()[:32]}"}
        for group in groups()
    }
    return msgspec.json.encode({"paths": paths})


@cache
def document(group: str) -> bytes:
    """OpenAPI v3 of one group. Raises NotFound."""
    if group not in groups():
        raise NotFound(f"there is no API {group[:100]!r}", hint="/openapi/v3 lists them")
    kinds = [kind for kind in KINDS.values() if _root(kind) == group]
    schemas = {schema_name(kind): _schema(kind, "#/components/schemas/") for kind in kinds}
    schemas[META] = _metadata()
    return msgspec.json.encode({
        "openapi": "3.0.0",
        "info": {"title": "Flame", "version": __version__},
        "paths": {path: item for kind in kinds for path, item in _paths(kind).items()},
        "components": {"schemas": schemas},
    })  # fmt: skip


@cache
def v2() -> bytes:
    """All groups as OpenAPI v2."""
    schemas = {schema_name(kind): _schema(kind, "#/definitions/") for kind in KINDS.values()}
    schemas[META] = _metadata()
    return msgspec.json.encode({
        "swagger": "2.0",
        "info": {"title": "Flame", "version": __version__},
        "paths": {},
        "definitions": schemas,
    })  # fmt: skip


def schema_name(kind: Kind) -> str:
    group = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{group}.{kind.version}.{kind.name}"


def _schema(kind: Kind, root: str) -> dict[str, Any]:
    found = openapi(kind)
    about = {"description": "Standard object metadata.", "allOf": [{"$ref": root + META}], "default": {}}
    found["properties"]["metadata"] = about if "components" in root else {"$ref": root + META}
    return found | {"x-kubernetes-group-version-kind": [gvk(kind)]}


def _metadata() -> dict[str, Any]:
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    fields: dict[str, Any] = {name: {"type": "string", "description": doc} for name, doc in _META.items()}
    fields |= {"labels": texts | {"description": "Labels, to select by."}, "annotations": texts}
    fields["finalizers"] = {"type": "array", "items": {"type": "string"}}
    fields["generation"] = {"type": "integer", "format": "int64"}
    loose = {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    fields |= {"ownerReferences": loose, "managedFields": loose}
    return {"type": "object", "description": "Metadata of an object.", "properties": fields}


def gvk(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.name}


def _root(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _paths(kind: Kind) -> dict[str, Any]:
    base = f"/{_root(kind)}" + ("/namespaces/{namespace}" if kind.namespaced else "")
    collection, one = f"{base}/{kind.plural}", f"{base}/{kind.plural}/{{name}}"
    ref = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema_name(kind)}"}}}
    ok = {"200": {"description": "OK", "content": ref}}

    def operation(action: str, **more: Any) -> dict[str, Any]:
        return {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind), "responses": ok} | more

    strict = [_query("dryRun"), _query("fieldManager"), _query("fieldValidation")]
    patches = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
    patch = {"content": {kind_of: {"schema": {"type": "object"}} for kind_of in patches}}
    found: dict[str, Any] = {
        collection: {"get": operation("list")},
        one: {"get": operation("get"), "parameters": [_path("name")]},
    }
    if kind.namespaced:
        for item in found.values():
            item.setdefault("parameters", []).append(_path("namespace"))
        found[f"/{_root(kind)}/{kind.plural}"] = {"get": operation("list")}
    if kind.writable:
        body = {"content": ref, "required": True}
        found[collection]["post"] = operation("post", parameters=strict, requestBody=body)
        found[one]["put"] = operation("put", parameters=strict, requestBody=body)
        found[one]["patch"] = operation("patch", parameters=strict, requestBody=patch)
        found[one]["delete"] = operation("delete", parameters=[_query("dryRun")])
    return found


def _query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
