"""Objects of a cluster: workloads, classes, quotas, settings, and what shows its nodes and replicas. `client.objects`.

    client.objects.apply({"apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameWorkload", ...})
    for change in client.objects.watch("flameworkload"): ...

Bodies are dicts as Kubernetes writes them. A kind is named in any of its ways: `FlameWorkload`, `flameworkloads`, `fw`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flame.core.base.errors import Expired, InvalidArgument, Unavailable
from flame.core.model import messages as m

if TYPE_CHECKING:
    from flame.sdk.client import Client

M = TypeVar("M", bound=m.Message)
Body = Mapping[str, Any]
WAIT = 25.0
"""Seconds that one question for news may wait for its answer."""
PATIENCE = 10.0
"""Seconds that reading, and applying, outlive an engine that is away."""
CHUNK = 1 << 20


class Ask(Protocol):
    def __call__(self, message: m.Message, kind: type[M], timeout: float | None = 60.0) -> M: ...


@dataclass(frozen=True)
class Written:
    """`change`: created, configured, unchanged or deleted; `warnings`: what was accepted and will not be acted upon."""

    object: dict[str, Any]
    change: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """`version`: a watch from here misses nothing; `after`: give it to `list` for the next page, empty at the end."""

    items: list[dict[str, Any]]
    version: int
    after: str = ""
    remaining: int = 0


@dataclass(frozen=True)
class Changed:
    """`change`: ADDED, MODIFIED, DELETED, or SYNC with the body {}: from now on it is news."""

    change: str
    object: dict[str, Any]
    version: int


class Objects:
    """Made by the client; threads may share it."""

    def __init__(self, client: Client, tenant: str | None = None) -> None:
        self._ask: Ask = client._ask
        self._tenant = tenant or client.tenant or ""

    # -- writing -----------------------------------------------------------------------------------------------------------

    def apply(self, body: Body, *, namespace: str = "", dry_run: bool = False) -> Written:
        """Create it, or change it to what is declared: what an earlier apply declared and this one does not is removed.

        Raises InvalidArgument with every problem by path, NotFound for an unknown kind, Conflict, PermissionDenied."""
        return self._put("apply", body, namespace, dry_run)

    def create(self, body: Body, *, namespace: str = "", dry_run: bool = False) -> Written:
        """Raises AlreadyExists, and what `apply` raises."""
        return self._put("create", body, namespace, dry_run)

    def replace(self, body: Body, *, namespace: str = "", dry_run: bool = False) -> Written:
        """The whole object. Raises Conflict when its resourceVersion is not the stored one."""
        return self._put("replace", body, namespace, dry_run)

    def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        type: str = "merge",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Written:
        """type: merge (RFC 7386: a dict, null removes) or json (RFC 6902: a list of operations). Raises NotFound."""
        data = json.dumps(patch).encode()
        return self._written(m.PutObject(type, kind, namespace, name, data, subresource, dry_run, self._tenant))

    def scale(self, kind: str, name: str, replicas: int, *, namespace: str = "") -> Written:
        """Raises NotFound, InvalidArgument."""
        return self.patch(kind, name, {"spec": {"replicas": replicas}}, namespace=namespace, subresource="scale")

    def delete(
        self, kind: str, name: str, *, namespace: str = "", grace: float | None = None, dry_run: bool = False
    ) -> Written:
        """A workload goes once its replicas have: `grace` seconds between SIGTERM and SIGKILL, None: its own. Raises NotFound."""
        return self._written(m.DeleteObject(kind, namespace, name, dry_run, grace, tenant=self._tenant))

    def _put(self, mode: str, body: Body, namespace: str, dry_run: bool) -> Written:
        kind, meta = body.get("kind"), body.get("metadata")
        if not isinstance(kind, str) or not isinstance(meta, Mapping):
            raise InvalidArgument("an object has a kind and metadata", hint="apiVersion, kind, metadata.name, spec")
        place = namespace or str(meta.get("namespace") or "")
        name = str(meta.get("name") or "")
        return self._written(m.PutObject(mode, kind, place, name, json.dumps(body).encode(), "", dry_run, self._tenant))

    def _again(self, message: m.Message, kind: type[M]) -> M:
        """Ask what may be asked twice, also while the engine starts again."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._ask(message, kind)
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def _written(self, message: m.PutObject | m.DeleteObject) -> Written:
        again = isinstance(message, m.PutObject) and message.mode == "apply"
        answer = (self._again if again else self._ask)(message, m.ObjectPut)
        return Written(json.loads(answer.body), answer.change, answer.warnings)

    # -- reading -----------------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        """Raises NotFound."""
        found: dict[str, Any] = json.loads(self._again(m.GetObject(kind, namespace, name, self._tenant), m.Object).body)
        return found

    def list(
        self,
        kind: str,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        after: str = "",
    ) -> Listed:
        """namespace: empty: all; labels: `app=web,tier in (a,b),!old`; fields: `metadata.name=x,status.phase!=Running`.

        Raises InvalidArgument for a selector that is none."""
        answer = self._again(m.ListObjects(kind, namespace, labels, fields, limit, after, self._tenant), m.ObjectList)
        return Listed([json.loads(body) for body in answer.bodies], answer.version, answer.after, answer.remaining)

    def watch(
        self,
        kind: str,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        since: int | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Changed]:
        """Changes as they come, in order and without gaps; since: None begins with what there is (ADDED, then SYNC).

        When the engine has forgotten what `since` needs, everything comes again as ADDED, then SYNC. `stop` is asked every 25 s
        at least."""
        version = since
        while not stop():
            if version is None:
                found = self.list(kind, namespace=namespace, labels=labels, fields=fields)
                yield from (Changed("ADDED", item, found.version) for item in found.items)
                version = found.version
                yield Changed("SYNC", {}, version)
            ask = m.WatchObjects(kind, version, namespace, labels, fields, WAIT, self._tenant)
            try:
                answer = self._ask(ask, m.ObjectChanges, WAIT + 30)
            except Expired:
                version = None
                continue
            except Unavailable:
                continue  # the engine starts again; nothing is missed
            version = answer.version
            yield from (Changed(change.change, json.loads(change.body), change.version) for change in answer.changes)

    def debug(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        """Why it does not run: `summary`, `ok`, and `causes` (kind, reason, message, next), the most likely first. Raises NotFound."""
        answer = self._again(m.DebugObject(kind, namespace, name, self._tenant), m.Object)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    # -- replicas ----------------------------------------------------------------------------------------------------------

    def logs(
        self,
        name: str,
        *,
        namespace: str = "",
        container: str = "",
        previous: bool = False,
        follow: bool = False,
        offset: int = 0,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[bytes]:
        """What a replica (`job-0`; a workload's name is its rank 0) wrote, as `<time> <stream> F <text>` lines, in pieces; with
        `follow` until
        it ends. Raises NotFound, Unavailable."""
        while True:
            call = m.CallReplica(
                "logs",
                name,
                namespace,
                container,
                "",
                b"",
                offset,
                CHUNK,
                WAIT if follow else 0.0,
                previous,
                self._tenant,
            )
            answer = self._ask(call, m.ReplicaAnswer, WAIT + 30)
            if answer.data:
                yield answer.data
            offset = answer.offset + len(answer.data)
            if stop() or (answer.ended and not answer.data) or (not follow and len(answer.data) < CHUNK):
                return

    def exec(
        self,
        name: str,
        command: Sequence[str],
        *,
        namespace: str = "",
        container: str = "",
        tty: bool = False,
        rows: int = 24,
        cols: int = 80,
    ) -> Execution:
        """Run a command in the place and environment of a replica; rows, cols: of its terminal.

        Raises NotFound, InvalidState where the container does not run, Unavailable, PermissionDenied."""
        body = json.dumps({"command": list(command), "tty": tty, "rows": rows, "cols": cols}).encode()
        call = m.CallReplica("exec", name, namespace, container, body=body, tenant=self._tenant)
        return Execution(self._ask, call, self._ask(call, m.ReplicaAnswer).id)


class Execution:
    """A command that runs in a replica. `code` is its exit code (128 + signal) once it has ended, else None."""

    def __init__(self, ask: Ask, call: m.CallReplica, id: str) -> None:
        self._ask, self._call, self.id = ask, call, id
        self.code: int | None = None

    def write(self, data: bytes) -> None:
        """To its input."""
        self._do("write", body=data)

    def read(self) -> Iterator[bytes]:
        """Its output until it ends."""
        offset = 0
        while self.code is None:
            answer = self._do("read", offset=offset, wait=WAIT)
            if answer.data:
                yield answer.data
            offset = answer.offset + len(answer.data)
            if answer.ended and not answer.data:
                self.code = answer.code if answer.code is not None else 255

    def resize(self, rows: int, cols: int) -> None:
        """Its terminal has another size. Raises InvalidArgument without a terminal."""
        self._do("resize", body=json.dumps({"rows": rows, "cols": cols}).encode())

    def close(self) -> None:
        """No more input; what runs is ended."""
        self._do("close")

    def _do(self, verb: str, body: bytes = b"", offset: int = 0, wait: float = 0.0) -> m.ReplicaAnswer:
        base = self._call
        call = m.CallReplica(
            verb, base.name, base.namespace, base.container, self.id, body, offset, CHUNK, wait, tenant=base.tenant
        )
        return self._ask(call, m.ReplicaAnswer, WAIT + 30)
