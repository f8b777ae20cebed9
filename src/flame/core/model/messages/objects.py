"""Client to session manager to allocator: workloads, classes, quotas, settings."""

from __future__ import annotations

from flame.core.model.messages.base import Message
from flame.core.model.messages.frames import LogLine


class PutObject(Message):
    """Write one object; `body` is JSON. `mode`: create, replace (a resourceVersion in the body must be the stored one), apply (create, or
    change what was applied before), merge (RFC 7386) or json (RFC 6902) for a patch of what is there. `subresource`: "", status or scale.
    Answer: ObjectPut."""

    mode: str
    kind: str
    namespace: str = ""  # of kinds that have one; empty: `default`
    name: str = ""
    body: bytes = b""
    subresource: str = ""
    dry_run: bool = False
    tenant: str = ""  # empty: the caller's own
    by: str = ""
    subject: str = ""  # tenant/name: bindings decide; empty: the role did. Set by the session manager


class ObjectPut(Message):
    """`body`: the object as it is now (or would be)."""

    body: bytes
    change: str  # created, configured, unchanged
    warnings: tuple[str, ...] = ()


class GetObject(Message):
    kind: str
    namespace: str = ""
    name: str = ""
    tenant: str = ""
    subject: str = ""  # as in PutObject


class Object(Message):
    """`body` is JSON."""

    body: bytes


class ListObjects(Message):
    """`labels`, `fields`: selectors as Kubernetes writes them; `limit` 0: all; `after`: where the page before ended."""

    kind: str
    namespace: str = ""  # empty: all
    labels: str = ""
    fields: str = ""
    limit: int = 0
    after: str = ""
    tenant: str = ""
    subject: str = ""  # as in PutObject


class ObjectList(Message):
    bodies: tuple[bytes, ...]
    version: int  # resourceVersion of the list: a watch from here misses nothing
    after: str = ""
    remaining: int = 0


class DeleteObject(Message):
    """`grace`: seconds instead of the object's own; `version`: only this resourceVersion (0: any). Answer: ObjectPut."""

    kind: str
    namespace: str = ""
    name: str = ""
    dry_run: bool = False
    grace: float | None = None
    version: int = 0
    tenant: str = ""
    by: str = ""
    subject: str = ""  # as in PutObject


class WatchObjects(Message):
    """What changed after `since`: answered as soon as there is something, or empty after `wait` seconds (at most 60)."""

    kind: str
    since: int
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    wait: float = 30.0
    tenant: str = ""
    subject: str = ""  # as in PutObject


class ObjectChange(Message):
    """`change`: ADDED, MODIFIED or DELETED."""

    change: str
    version: int
    body: bytes


class ObjectChanges(Message):
    changes: tuple[ObjectChange, ...]
    version: int  # ask from here on


class DebugObject(Message):
    """Why it does not run, most likely cause first. Answer: Object with a Diagnosis (`core.workloads.diagnosis`)."""

    kind: str
    namespace: str = ""
    name: str = ""
    tenant: str = ""


class CallReplica(Message):
    """Something that only the node of a replica can do. `verb`: logs (from byte `offset`, waiting `wait` seconds for more), exec
    (`body`: JSON
    {"command": [...], "tty": bool}; answers with an id), write (`body` to its input), read (its output from `offset`), close.
    `id`: of the exec.
    Answer: ReplicaAnswer."""

    verb: str
    name: str
    namespace: str = ""
    container: str = ""
    id: str = ""
    body: bytes = b""
    offset: int = 0
    limit: int = 1 << 20
    wait: float = 0.0
    previous: bool = False
    tenant: str = ""
    by: str = ""
    subject: str = ""  # as in PutObject


class ReplicaAnswer(Message):
    """`data` begins at `offset`; `ended`: nothing more will come; `code`: exit code of an exec that ended (128 + signal)."""

    data: bytes = b""
    offset: int = 0
    ended: bool = False
    id: str = ""
    code: int | None = None


class GetLogs(Message):
    session: str
    no: int = 0  # 0: every task


class LogList(Message):
    lines: tuple[LogLine, ...]
