"""What a failed task said, as an exception of the right class."""

from __future__ import annotations

from flame.core.base.errors import BY_CODE, FlameError, TaskError, TaskFailed
from flame.core.model.payloads import decode_failure


def error_from(payload: bytes, session: str, no: int) -> FlameError:
    """A TaskError of the class its code names. `cause()` of a TaskFailed has the original exception where it could be pickled."""
    found = decode_failure(payload)
    kind = BY_CODE.get(found.code, TaskFailed)
    text = f"{found.kind}: {found.message}" if found.kind and found.kind != kind.__name__ else found.message
    if not issubclass(kind, TaskError):
        return kind(text)
    error = kind(
        text, session=session, no=no, kind=found.kind, return_code=found.return_code, remote_traceback=found.traceback
    )
    error.pickled = found.pickled
    return error
