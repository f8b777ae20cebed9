"""One table: how an error looks at every edge, and which class comes back out of it.

Columns: gRPC status (by number, so that nothing here imports grpc), HTTP status, exit code of a `flame` command. gRPC statuses are those
that published clients expect: a closed session is INVALID_ARGUMENT, running tasks at close INTERNAL, and FAILED_PRECONDITION is never
sent. Exit codes follow sysexits where they fit; 2 stays for usage. Our own plane carries `code` itself, so classes survive exactly;
a gRPC status alone gives the nearest class.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from flame.core.base.errors import BY_CODE, FlameError


class Grpc(IntEnum):
    """The gRPC status codes we send, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Edge(NamedTuple):
    grpc: Grpc
    http: int
    exit: int


TABLE: dict[str, Edge] = {
    "internal": Edge(Grpc.INTERNAL, 500, 70),
    "invalid_argument": Edge(Grpc.INVALID_ARGUMENT, 400, 65),
    "spec_mismatch": Edge(Grpc.INVALID_ARGUMENT, 409, 65),
    "payload_too_large": Edge(Grpc.INVALID_ARGUMENT, 413, 65),
    "unpicklable": Edge(Grpc.INVALID_ARGUMENT, 400, 65),
    "python_mismatch": Edge(Grpc.INVALID_ARGUMENT, 400, 65),
    "hook_mismatch": Edge(Grpc.INVALID_ARGUMENT, 400, 78),
    "invalid_state": Edge(Grpc.INVALID_ARGUMENT, 409, 66),
    "session_closed": Edge(Grpc.INVALID_ARGUMENT, 409, 66),
    "session_busy": Edge(Grpc.INTERNAL, 409, 66),
    "app_in_use": Edge(Grpc.INVALID_ARGUMENT, 409, 66),
    "not_found": Edge(Grpc.NOT_FOUND, 404, 68),
    "already_exists": Edge(Grpc.ALREADY_EXISTS, 409, 73),
    "conflict": Edge(Grpc.ABORTED, 409, 75),
    "expired": Edge(Grpc.ABORTED, 410, 75),
    "unimplemented": Edge(Grpc.UNIMPLEMENTED, 501, 69),
    "unauthenticated": Edge(Grpc.UNAUTHENTICATED, 401, 77),
    "permission_denied": Edge(Grpc.PERMISSION_DENIED, 403, 77),
    "exhausted": Edge(Grpc.RESOURCE_EXHAUSTED, 429, 75),
    "storage_full": Edge(Grpc.RESOURCE_EXHAUSTED, 507, 75),
    "storage_unreachable": Edge(Grpc.UNAVAILABLE, 503, 75),
    "storage_corrupt": Edge(Grpc.DATA_LOSS, 500, 74),
    "storage_refused": Edge(Grpc.INTERNAL, 500, 74),
    "fenced": Edge(Grpc.ABORTED, 503, 75),
    "unavailable": Edge(Grpc.UNAVAILABLE, 503, 75),
    "no_cluster": Edge(Grpc.UNAVAILABLE, 503, 72),
    "protocol": Edge(Grpc.INTERNAL, 400, 76),
    "version_mismatch": Edge(Grpc.INTERNAL, 426, 76),
    "history_lost": Edge(Grpc.DATA_LOSS, 410, 74),
    "would_block": Edge(Grpc.RESOURCE_EXHAUSTED, 429, 75),
    "client_forked": Edge(Grpc.INTERNAL, 500, 70),
    "port_taken": Edge(Grpc.UNAVAILABLE, 503, 71),
    "data_dir_locked": Edge(Grpc.UNAVAILABLE, 503, 73),
    "task_error": Edge(Grpc.INTERNAL, 500, 10),
    "task_failed": Edge(Grpc.INTERNAL, 500, 10),
    "task_timeout": Edge(Grpc.DEADLINE_EXCEEDED, 504, 11),
    "task_cancelled": Edge(Grpc.CANCELLED, 409, 12),
    "executor_lost": Edge(Grpc.INTERNAL, 502, 13),
    "service_failed": Edge(Grpc.INTERNAL, 502, 14),
}
"""Error code -> how it looks at each edge. Complete: a test compares it with `BY_CODE`."""

FROM_GRPC: dict[int, str] = {
    Grpc.CANCELLED: "task_cancelled",
    Grpc.INVALID_ARGUMENT: "invalid_argument",
    Grpc.DEADLINE_EXCEEDED: "task_timeout",
    Grpc.NOT_FOUND: "not_found",
    Grpc.ALREADY_EXISTS: "already_exists",
    Grpc.PERMISSION_DENIED: "permission_denied",
    Grpc.RESOURCE_EXHAUSTED: "exhausted",
    Grpc.ABORTED: "fenced",
    Grpc.UNIMPLEMENTED: "unimplemented",
    Grpc.INTERNAL: "internal",
    Grpc.UNAVAILABLE: "unavailable",
    Grpc.DATA_LOSS: "storage_corrupt",
    Grpc.UNAUTHENTICATED: "unauthenticated",
}
"""gRPC status -> the nearest error code, for a peer that tells nothing else."""


def edge(error: BaseException | type[BaseException]) -> Edge:
    """How this error looks outside. Whatever is not a FlameError looks internal."""
    kind = error if isinstance(error, type) else type(error)
    return TABLE[kind.code] if issubclass(kind, FlameError) else TABLE["internal"]


def from_code(code: str, message: str, hint: str = "") -> FlameError:
    """The error a peer raised, as the class it raised; an unknown code (a newer peer) is a plain FlameError."""
    return BY_CODE.get(code, FlameError)(message, hint=hint)


def from_grpc(status: int, message: str) -> FlameError:
    """The nearest error to a gRPC status number and its details."""
    return from_code(FROM_GRPC.get(status, "internal"), message)
