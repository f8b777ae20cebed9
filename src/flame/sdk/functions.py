"""Calling functions: how a call becomes a task's payload, and the service that runs it.

Payload: `kind` (one byte), the function's digest (16 bytes), then the arguments. A function is pickled once and kept with the session
under its digest; executors fetch it once. Arguments of plain built-in types take the standard pickler (five times faster); everything else
cloudpickle.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

from flame.core.base.errors import Unpicklable
from flame.core.model.messages import NATIVE, AppSpec, Blob, FetchBlob, Streamed
from flame.sdk import current
from flame.sdk.pickled import PYTHON, check_python, follow, here
from flame.sdk.service import FlameService, SessionContext, TaskContext

APP = f"flame-functions-py{PYTHON}"
_PLAIN = {int, float, str, bytes, bool, type(None), complex}
_dumps, _loads = pickle.dumps, pickle.loads


def app_spec() -> AppSpec:
    return AppSpec(
        description="Python functions of @flame.task and FlameExecutor", labels=(NATIVE,),
        environments={"FLAME_SERVICE": "flame.sdk.functions:FunctionService"},
    )  # fmt: skip


def common_data() -> bytes:
    """What a session of functions tells its executors."""
    return json.dumps({"python": PYTHON, "path": here()}).encode()


def pickle_function(
    function: Callable[..., Any], retry_on: tuple[type[BaseException], ...] | None = None
) -> tuple[bytes, bytes]:
    """(digest, pickle). Raises Unpicklable with what stands in the way."""
    try:
        blob = cloudpickle.dumps((function, retry_on))
    except Exception as error:
        name = getattr(function, "__qualname__", repr(function))
        raise Unpicklable(
            f"function {name} cannot be pickled: {error}",
            hint="open files, locks and connections inside the function, not outside",
        ) from error
    return hashlib.blake2b(blob, digest_size=16).digest(), blob


def pickle_call(digest: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The payload of one call. Raises Unpicklable."""
    if not kwargs and all(type(a) in _PLAIN for a in args):
        return digest + _dumps((args, kwargs), 5)
    try:
        return digest + cloudpickle.dumps((args, kwargs))  # type: ignore[no-any-return]
    except Exception as error:
        raise Unpicklable(f"an argument cannot be pickled: {error}") from error


def pickle_result(value: Any) -> bytes:
    if type(value) in _PLAIN:
        return _dumps(value, 5)
    try:
        return cloudpickle.dumps(value)  # type: ignore[no-any-return]
    except Exception as error:
        text = f"the result, a {type(value).__name__}, cannot be pickled: {error}"
        raise Unpicklable(text, hint="return what it stands for: a path, an address, the data") from error


class FunctionService(FlameService):
    """Runs calls. One process serves one session, so what functions leave in modules and globals is seen by that session only."""

    def on_session_enter(self, ctx: SessionContext) -> None:
        told = json.loads(ctx.common_data or b"{}")
        check_python(told["python"])
        follow(told["path"])
        self.functions: dict[bytes, tuple[Callable[..., Any], tuple[type[BaseException], ...] | None]] = {}
        self._retry_on: tuple[type[BaseException], ...] | None = None

    def retryable(self, error: BaseException) -> bool:
        return self._retry_on is None or isinstance(error, self._retry_on)

    def on_task_invoke(self, ctx: TaskContext) -> bytes:
        payload = ctx.input or b""
        found = self.functions.get(payload[:16])
        if found is None:
            found = self._fetch(ctx.session_id, payload[:16])
        function, self._retry_on = found
        args, kwargs = _loads(payload[16:])
        value = function(*args, **kwargs)
        if inspect.isgenerator(value):
            value = self._stream(ctx, value)
        return pickle_result(value)

    def _fetch(self, session: str, digest: bytes) -> tuple[Callable[..., Any], tuple[type[BaseException], ...] | None]:
        answer = current.executor.ask(FetchBlob(session, digest.hex()))
        assert isinstance(answer, Blob)
        found = self.functions[digest] = cloudpickle.loads(answer.blob)
        return found  # type: ignore[no-any-return]

    def _stream(self, ctx: TaskContext, generator: Any) -> list[Any]:
        """Items leave as they are yielded; the recorded result has them all."""
        items: list[Any] = []
        for item in generator:
            current.executor.say(Streamed(ctx.session_id, ctx.task_no, ctx.attempt, len(items), pickle_result(item)))
            items.append(item)
        return items
