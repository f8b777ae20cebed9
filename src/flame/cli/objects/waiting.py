"""`flame wait`: until an object is as it should be."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flame.cli import running
from flame.cli.objects import jsonpath
from flame.cli.objects.get import everything
from flame.cli.objects.names import Named, named, space
from flame.cli.objects.options import Kinds, Namespace, Selector
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import write
from flame.core.base.errors import FlameError, InvalidArgument, InvalidState, NotFound, Unavailable
from flame.core.base.quantity import parse_duration

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

_CONDITION = re.compile(r"condition=(?P<type>[A-Za-z]+)(=(?P<status>[A-Za-z]+))?")
_PATH = re.compile(r"jsonpath='?(?P<path>\{.+?\}|[^=]+)'?(=(?P<value>.*))?", re.DOTALL)


def wait(
    what: Kinds,
    wanted: Annotated[
        str,
        typer.Option(
            "--for", metavar="CONDITION", help="delete, create, condition=Ready, jsonpath={.status.phase}=Running"
        ),
    ],
    timeout: Annotated[str, typer.Option(help="how long; 0: look once")] = "30s",
    namespace: Namespace = None,
    selector: Selector = "",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Wait until objects are there, gone, or have a condition. Exit code 75 when the time is over."""
    check(wanted)
    deadline = time.monotonic() + parse_duration(timeout)
    with running.client(data_dir, endpoint) as client:
        subjects = []
        for item in named(what):
            place = space(item.kind, namespace)
            if item.name:
                subjects.append((item, place))
            else:
                subjects += [
                    (Named(item.kind, b["metadata"]["name"]), place)
                    for b in everything(client.objects, item.kind, place, selector)
                ]
        if not subjects and wanted != "delete":
            raise NotFound(f"there is nothing to wait for: no {' '.join(what)}", hint="flame get shows what there is")
        for item, place in subjects:
            until(client.objects, item, place, wanted, deadline)
            write(f"{item.kind.singular}/{item.name} {'deleted' if wanted == 'delete' else 'condition met'}")


def check(wanted: str) -> None:
    """Raises InvalidArgument for what cannot be waited for."""
    if wanted not in ("delete", "create") and not _CONDITION.fullmatch(wanted) and not _PATH.fullmatch(wanted):
        raise InvalidArgument(
            f"cannot wait for {wanted[:80]!r}", hint="delete, create, condition=TYPE[=STATUS] or jsonpath={PATH}=VALUE"
        )


def met(body: Mapping[str, Any] | None, wanted: str) -> bool:
    """Is it so? None: there is no such object."""
    if wanted in ("delete", "create"):
        return (body is None) is (wanted == "delete")
    if body is None:
        return False
    if match := _CONDITION.fullmatch(wanted):
        status = body.get("status") or {}
        if _behind(body):
            return False
        for one in status.get("conditions") or ():
            if one.get("type", "").lower() == match["type"].lower():
                return str(one.get("status")).lower() == (match["status"] or "True").lower()
        return (match["status"] or "").lower() == "false"
    match = _PATH.fullmatch(wanted)
    assert match is not None, "it was checked"
    found = [jsonpath.text(value) for value in jsonpath.values(body, match["path"])]
    return bool(found) if match["value"] is None else match["value"] in found


def _behind(body: Mapping[str, Any]) -> bool:
    """Does its status speak of an older spec?"""
    return (
        bool((body.get("status") or {}).get("observedGeneration", 0) < body["metadata"].get("generation", 0))
        if body["kind"] == "FlameWorkload"
        else False
    )


def never(body: Mapping[str, Any] | None, wanted: str) -> bool:
    """Can it not become so any more? A failed workload will not be complete."""
    if body is None or body["kind"] != "FlameWorkload" or _behind(body):
        return False
    match = _CONDITION.fullmatch(wanted)
    if match is None or (match["status"] or "True").lower() != "true":
        return False
    phase = (body.get("status") or {}).get("phase")
    lost = {"complete": ("Failed",), "ready": ("Failed", "Succeeded"), "failed": ("Succeeded",)}
    return phase in lost.get(match["type"].lower(), ())


def until(objects: Objects, item: Named, place: str, wanted: str, deadline: float) -> None:
    """Raises Unavailable when the time is over, NotFound when it is not there, InvalidState when it can never become so."""
    kind, name = item
    body = _get(objects, item, place)
    if body is None and wanted not in ("delete", "create"):
        raise NotFound(f"there is no {kind.name} {name}", hint="--for=create waits until there is")
    news = _News(objects, item, place)
    news.start()
    while not met(body, wanted):
        if never(body, wanted):
            raise InvalidState(
                f"{kind.singular}/{name} will not be {wanted.partition('=')[2]}{_now(body)}",
                hint=f"flame debug workload {name}",
            )
        left = deadline - time.monotonic()
        if left <= 0 or (body is None and wanted not in ("delete", "create")):
            what = "is gone" if body is None else "is not so in time"
            raise Unavailable(f"{kind.singular}/{name}: {wanted} {what}{_now(body)}", hint="--timeout waits longer")
        news.changed.wait(min(left, 5.0))
        news.changed.clear()
        body = _get(objects, item, place)


def _now(body: Mapping[str, Any] | None) -> str:
    status = (body or {}).get("status") or {}
    words = ": ".join(filter(None, (status.get("phase"), status.get("reason"), status.get("message"))))
    return f"; it is {words}" if words else ""


def _get(objects: Objects, item: Named, place: str) -> dict[str, Any] | None:
    try:
        return objects.get(item.kind.name, item.name, namespace=place)
    except NotFound:
        return None


class _News(threading.Thread):
    """Says that something about the object has changed; ends with the process."""

    def __init__(self, objects: Objects, item: Named, place: str) -> None:
        super().__init__(name="flame-watch", daemon=True)
        self.changed = threading.Event()
        self._watch = objects.watch(item.kind.name, namespace=place, fields=f"metadata.name={item.name}")

    def run(self) -> None:
        try:
            for _ in self._watch:
                self.changed.set()
        except FlameError:  # the client was closed, or has nobody to ask: whoever waits looks by itself
            self.changed.set()


def register(app: typer.Typer) -> None:
    app.command()(wait)
