"""POST, PUT, PATCH and DELETE of objects. Bodies go on as they came; the engine says what is wrong with them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from flame.core.base.errors import Conflict, InvalidArgument
from flame.core.model.messages import ObjectPut
from flame.core.objects.bodies import decode
from flame.gateway.http import Reply, Request, json_reply
from flame.gateway.kube.places import Place
from flame.gateway.kube.statuses import gone
from flame.gateway.kube.strategic import merged
from flame.sdk.direct import Direct
from flame.wire.manifests import parse

PATCHES = {
    "application/merge-patch+json": "merge",
    "application/json-patch+json": "json",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
TRIES = 5
"""Times that a strategic merge is tried when others write at the same time."""


class Unsupported(InvalidArgument):
    """HTTP 415."""


async def create(request: Request, place: Place) -> Reply:
    data, body = await _document(request)
    meta = _checked(place, body)
    written = await request.asked.by.direct.put(
        "create", place.of().name, data, namespace=_namespace(place, meta), name=str(meta.get("name") or ""), dry_run=dry(request)
    )  # fmt: skip
    return _written(written)


async def put(request: Request, place: Place) -> Reply:
    data, body = await _document(request)
    meta = _checked(place, body, scale=place.subresource == "scale")
    name = str(meta.get("name") or place.name)
    if name != place.name:
        raise InvalidArgument(f"metadata.name: {name[:80]!r} in the body, {place.name[:80]!r} in the path")
    written = await request.asked.by.direct.put(
        "replace", place.of().name, data, namespace=_namespace(place, meta), name=place.name, subresource=place.subresource,
        dry_run=dry(request),
    )  # fmt: skip
    return _written(written)


async def patch(request: Request, place: Place) -> Reply:
    mode = PATCHES.get(request.media())
    if mode is None:
        raise Unsupported(f"a patch of type {request.media()[:80]!r}", hint=f"one of {', '.join(PATCHES)}")
    direct, kind = request.asked.by.direct, place.of().name
    data = await request.body()
    if mode == "strategic":
        return _written(await _strategic(direct, place, decode(data), dry(request)))
    if mode == "apply":
        data, body = _read(data, yaml=True)
        _checked(place, body)
    written = await direct.put(
        mode, kind, data, namespace=place.namespace, name=place.name, subresource=place.subresource, dry_run=dry(request)
    )  # fmt: skip
    return _written(replace(written, body=_unmanaged(written.body)) if mode == "apply" else written)


def _unmanaged(body: bytes) -> bytes:
    """Without the list of writers: ours names no fields, and kubectl fails on that where it looks who applied what."""
    found = msgspec.json.decode(body)
    found["metadata"].pop("managedFields", None)
    return msgspec.json.encode(found)


async def _strategic(direct: Direct, place: Place, change: Any, dry_run: bool) -> ObjectPut:
    """Merged here and written as a whole, under the version that was read. Raises Conflict when others always write in between."""
    kind = place.of()
    if place.subresource:
        data = msgspec.json.encode(change)
        return await direct.put(
            "merge", kind.name, data, namespace=place.namespace, name=place.name, subresource=place.subresource, dry_run=dry_run
        )  # fmt: skip
    asked_version = isinstance(change, dict) and (change.get("metadata") or {}).get("resourceVersion")
    for _ in range(TRIES):
        current = msgspec.json.decode(await direct.get(kind.name, place.name, namespace=place.namespace))
        data = msgspec.json.encode(merged(current, change, kind.schema))
        try:
            return await direct.put(
                "replace", kind.name, data, namespace=place.namespace, name=place.name, dry_run=dry_run
            )
        except Conflict:
            if asked_version:
                raise
    raise Conflict(f"{kind.name} {place.name} is written all the time", hint="try again")


async def delete(request: Request, place: Place) -> Reply:
    data = await request.body()
    options = _read(data, yaml=request.media() in YAML)[1] if data.strip() else {}
    kind, direct = place.of(), request.asked.by.direct
    grace = options.get("gracePeriodSeconds")
    if "gracePeriodSeconds" in request.query:
        grace = request.number("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int) or grace < 0):
        raise InvalidArgument(f"gracePeriodSeconds={grace!r}; whole seconds from 0 on")
    version = await _precondition(direct, place, options.get("preconditions") or {})
    dry_run = dry(request) or bool(options.get("dryRun"))
    warnings: tuple[str, ...] = ()
    if "Orphan" in (options.get("propagationPolicy"), request.query.get("propagationPolicy")) and kind.foreground:
        warnings = ("propagationPolicy Orphan: replicas do not stay without their workload",)
    written = await direct.delete(
        kind.name, place.name, namespace=place.namespace, grace=None if grace is None else float(grace), version=version,
        dry_run=dry_run,
    )  # fmt: skip
    heads = _warnings((*written.warnings, *warnings))
    if written.change == "deleted" and not dry_run:
        return json_reply(gone(place, written.body), heads=heads)
    return Reply(body=written.body, headers=heads)


async def _precondition(direct: Direct, place: Place, wanted: Any) -> int:
    """The version that is to be deleted, 0: any. Raises Conflict when it is another object, InvalidArgument."""
    version = str(wanted.get("resourceVersion") or "") if isinstance(wanted, dict) else ""
    if version and not version.isdecimal():
        raise InvalidArgument(f"preconditions.resourceVersion {version[:40]!r} is none")
    uid = wanted.get("uid") if isinstance(wanted, dict) else None
    if not uid:
        return int(version or 0)
    found = msgspec.json.decode(await direct.get(place.of().name, place.name, namespace=place.namespace))
    if found["metadata"].get("uid") != uid:
        raise Conflict(f"{place.of().name} {place.name} is another one: its uid is {found['metadata'].get('uid')}")
    return int(version or found["metadata"].get("resourceVersion") or 0)


def dry(request: Request) -> bool:
    """Raises InvalidArgument."""
    word = request.query.get("dryRun", "")
    if word not in ("", "All"):
        raise InvalidArgument(f"dryRun={word[:40]!r}; All, or nothing")
    return bool(word)


async def _document(request: Request) -> tuple[bytes, dict[str, Any]]:
    """What was sent, as JSON, and its value. Raises Unsupported, InvalidArgument, PayloadTooLarge."""
    media = request.media()
    if media not in ("", "application/json", *YAML):
        raise Unsupported(f"a body of type {media[:80]!r}", hint="application/json or application/yaml")
    return _read(await request.body(), yaml=media in YAML)


def _read(data: bytes, yaml: bool) -> tuple[bytes, dict[str, Any]]:
    if yaml and not data.lstrip().startswith(b"{"):
        try:
            value = parse(data.decode())[0]
        except UnicodeDecodeError:
            raise InvalidArgument("the body is not UTF-8") from None
        data = msgspec.json.encode(value)
    else:
        value = decode(data)
    if not isinstance(value, dict):
        raise InvalidArgument("the body is no object", hint="apiVersion, kind, metadata, spec")
    return data, value


def _checked(place: Place, body: dict[str, Any], scale: bool = False) -> dict[str, Any]:
    """Its metadata. Raises InvalidArgument when the body is of another kind than the path."""
    kind = place.of()
    named = (body.get("apiVersion"), body.get("kind"))
    wanted = ("autoscaling/v1", "Scale") if scale else (kind.api_version, kind.name)
    if named != wanted:
        raise InvalidArgument(
            f"the body is {named[1]!r} of {named[0]!r}, the path of {wanted[1]} of {wanted[0]}"[:300],
            hint="they must be the same",
        )
    meta = body.get("metadata")
    if not isinstance(meta, dict):
        raise InvalidArgument("metadata: is missing", hint="metadata.name")
    return meta


def _namespace(place: Place, meta: dict[str, Any]) -> str:
    """Raises InvalidArgument when path and body disagree."""
    said = str(meta.get("namespace") or "")
    if place.of().namespaced and place.namespace and said and said != place.namespace:
        raise InvalidArgument(f"metadata.namespace: {said[:80]!r} in the body, {place.namespace[:80]!r} in the path")
    return place.namespace or said


def _written(written: ObjectPut) -> Reply:
    return Reply(201 if written.change == "created" else 200, written.body, headers=_warnings(written.warnings))


def _warnings(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """As kubectl shows them."""
    found = []
    for text in texts[:20]:
        plain = "".join(c if c.isprintable() and c.isascii() else " " for c in text[:500]).replace("\\", "\\\\")
        found.append(("warning", '299 - "' + plain.replace('"', '\\"') + '"'))
    return found
