"""Every error Flame raises, in one tree.

    FlameError
    ├── InvalidArgument       the request itself is wrong
    │   ├── SpecMismatch      the session exists with another spec
    │   ├── PayloadTooLarge
    │   ├── Unpicklable       a function or argument cannot travel
    │   ├── PythonMismatch    client and executor run different Python minors
    │   └── HookMismatch      a scheduler plugin names an unknown hook
    ├── InvalidState          right request, wrong moment
    │   ├── SessionClosed
    │   ├── SessionBusy       tasks still run
    │   └── AppInUse
    ├── NotFound · AlreadyExists · Unimplemented
    ├── Conflict              the object changed since it was read
    ├── Expired               that far back is no longer known
    ├── Unauthenticated · PermissionDenied
    ├── Exhausted (retryable) not enough free capacity
    ├── StorageFull (retryable) · StorageCorrupt · StorageRefused · Fenced
    │   └── StorageUnreachable  its server is away, and whether the last commit happened is not known
    ├── Unavailable (retryable) · NoCluster · ProtocolError · VersionMismatch
    ├── HistoryLost           a power cut under `process` durability
    ├── WouldBlock · ClientForked
    ├── PortTaken · DataDirLocked
    └── TaskError             a task did not succeed
        ├── TaskFailed        the service or function raised
        ├── TaskTimeout
        ├── TaskCancelled
        ├── WorkerDied        the executor process died under the task
        └── ServiceFailed     the service could not enter the session

A message says what was asked and what was found; `hint` says what would work. Errors cross the wire by `code`
(see `flame.wire.status`), so a client catches the class the server raised.
"""

from __future__ import annotations

from typing import ClassVar


class FlameError(Exception):
    """Something went wrong inside Flame itself."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, hint: str = "", retry_after: float = 0.0) -> None:
        """retry_after: seconds after which trying again makes sense; 0: nobody can tell."""
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])
        self.hint = hint
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        return str(self.args[0])


class InvalidArgument(FlameError, ValueError):
    """The request is not valid."""

    code = "invalid_argument"


class SpecMismatch(InvalidArgument):
    """The session exists with a different specification."""

    code = "spec_mismatch"


class PayloadTooLarge(InvalidArgument):
    """The payload is larger than the limit."""

    code = "payload_too_large"


class Unpicklable(InvalidArgument):
    """A function, argument or result cannot be pickled."""

    code = "unpicklable"


class PythonMismatch(InvalidArgument):
    """Client and executor run different Python minor versions."""

    code = "python_mismatch"


class HookMismatch(InvalidArgument):
    """A scheduler plugin defines a hook that does not exist."""

    code = "hook_mismatch"


class InvalidState(FlameError):
    """The object is in a state that does not allow this."""

    code = "invalid_state"


class SessionClosed(InvalidState):
    """The session is not open."""

    code = "session_closed"


class SessionBusy(InvalidState):
    """Tasks of the session are still running."""

    code = "session_busy"


class AppInUse(InvalidState):
    """The application has open sessions."""

    code = "app_in_use"


class NotFound(FlameError, LookupError):
    """There is no such object."""

    code = "not_found"


class AlreadyExists(FlameError):
    """An object of this name exists."""

    code = "already_exists"


class Conflict(FlameError):
    """The object changed since it was read."""

    code = "conflict"


class Expired(FlameError):
    """What changed since then is no longer known."""

    code = "expired"


class Unimplemented(FlameError):
    """This engine does not offer that yet."""

    code = "unimplemented"


class Unauthenticated(FlameError):
    """The token is missing or wrong."""

    code = "unauthenticated"


class PermissionDenied(FlameError):
    """The caller may not do this."""

    code = "permission_denied"


class Exhausted(FlameError):
    """There is not enough free capacity for this request."""

    code, retryable = "exhausted", True
    room = 0
    """Of a full queue: tasks that a smaller frame may have; 0: nobody said."""


class StorageFull(FlameError):
    """The store cannot write; nothing new is acknowledged until it can."""

    code, retryable = "storage_full", True


class StorageUnreachable(StorageFull):
    """The server of the store cannot be reached."""

    code = "storage_unreachable"


class StorageCorrupt(FlameError):
    """A stored record does not match its checksum."""

    code = "storage_corrupt"


class StorageRefused(FlameError):
    """The data directory cannot be used safely."""

    code = "storage_refused"


class Fenced(FlameError):
    """Another process took over this store."""

    code = "fenced"


class Unavailable(FlameError):
    """The cluster cannot be reached."""

    code, retryable = "unavailable", True


class NoCluster(FlameError):
    """No cluster is running here."""

    code = "no_cluster"


class ProtocolError(FlameError):
    """The peer sent something that is not a valid frame."""

    code = "protocol"


class VersionMismatch(FlameError):
    """The peer speaks no version we speak."""

    code = "version_mismatch"


class HistoryLost(FlameError):
    """The cluster reopened at an earlier point after a power cut; unconfirmed history is gone."""

    code = "history_lost"


class WouldBlock(FlameError):
    """The submit window is full and the caller must not block."""

    code, retryable = "would_block", True


class ClientForked(FlameError):
    """This client was created before a fork; connect again in the child."""

    code = "client_forked"


class PortTaken(FlameError):
    """The address is in use."""

    code = "port_taken"


class DataDirLocked(FlameError):
    """Another cluster uses this data directory."""

    code = "data_dir_locked"


class TaskError(FlameError):
    """A task did not succeed.

    session, no:  which task; `attempt` counts from 1
    kind:         type name of the remote exception, or "" when there is none
    return_code:  what the service returned; -1 for a Python exception
    remote_traceback: text as printed on the executor, or ""
    """

    code = "task_error"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        session: str = "",
        no: int = 0,
        kind: str = "",
        return_code: int = -1,
        remote_traceback: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.session, self.no = session, no
        self.kind, self.return_code = kind, return_code
        self.remote_traceback = remote_traceback
        #: the original exception by cloudpickle, or empty; `flame.sdk` loads it for functions
        self.pickled = b""

    def __str__(self) -> str:
        text = self.message
        return f"{text}\n\n{self.remote_traceback}" if self.remote_traceback else text


class TaskFailed(TaskError):
    """The service or function raised."""

    code = "task_failed"


class TaskTimeout(TaskError, TimeoutError):
    """The task waited or ran longer than it may."""

    code = "task_timeout"


class TaskCancelled(TaskError):
    """The task was cancelled."""

    code = "task_cancelled"


class WorkerDied(TaskError):
    """The executor process died under the task, as often as allowed."""

    code = "executor_lost"


class ServiceFailed(TaskError):
    """The service could not enter the session."""

    code = "service_failed"


def _tree(root: type[FlameError]) -> list[type[FlameError]]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


BY_CODE: dict[str, type[FlameError]] = {kind.code: kind for kind in _tree(FlameError)}
"""Wire code -> class."""
