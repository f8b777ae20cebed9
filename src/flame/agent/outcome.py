"""From a service to its outcome: loading it, and saying what it returned or raised."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback

from flame.core.base.errors import FlameError, ProtocolError
from flame.core.model import messages as m
from flame.core.model.payloads import MAX_PAYLOAD, TaskFailure, failure
from flame.core.model.states import ResultCode
from flame.sdk.service import FlameService


def bad_output(output: object) -> tuple[int, bytes]:
    if isinstance(output, bytearray | memoryview):
        return 0, bytes(output)
    if isinstance(output, bytes):
        text = f"the output has {len(output):,} bytes; at most {MAX_PAYLOAD:,}"
        return ResultCode.FAILED, failure("payload_too_large", text)
    text = f"the service returned {type(output).__name__}; bytes or None"
    return ResultCode.FAILED, failure("task_failed", text, kind="TypeError")


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def describe_failure(error: BaseException) -> TaskFailure:
    """Type, message and traceback (without our own frames), and the exception itself where it can be pickled."""
    tb = error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, tb.tb_next if tb else None))
    pickled = b""
    if isinstance(error, Exception):
        with contextlib.suppress(Exception):
            import cloudpickle

            pickled = cloudpickle.dumps(error)
            if len(pickled) > 1 << 20:
                pickled = b""
    code = error.code if isinstance(error, FlameError) else "task_failed"
    said = getattr(error, "return_code", -1) if isinstance(error, FlameError) else -1
    return TaskFailure(
        code, str(error) or type(error).__name__, type(error).__name__, said, text[-64 * 1024 :], pickled
    )


def load_service(enter: m.Enter) -> FlameService:
    """The service an application names: `FLAME_SERVICE=module:Class` in its environment, or the gRPC shim for everything else."""
    environment = dict(enter.spec.environments)
    target = environment.get("FLAME_SERVICE", "")
    if m.NATIVE not in enter.spec.labels or not target:
        from flame.agent.shims.grpc import GrpcShim

        return GrpcShim(enter)
    path = environment.get("FLAME_SERVICE_PATH")
    if path and path not in sys.path:
        sys.path.insert(0, path)
    module, _, name = target.partition(":")
    made = getattr(importlib.import_module(module), name)()
    if not callable(getattr(made, "on_task_invoke", None)):
        raise ProtocolError(f"{target} has no on_task_invoke")
    return made  # type: ignore[no-any-return]
