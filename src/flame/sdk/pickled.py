"""Services given as classes: the class travels by cloudpickle in the application's environment."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from typing import Any

import cloudpickle

from flame.core.base.errors import InvalidArgument, PythonMismatch, Unpicklable
from flame.core.model.messages import NATIVE, AppSpec
from flame.sdk.service import FlameService, SessionContext, TaskContext

MAX_CLASS = 4 * 1024 * 1024
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def here() -> str:
    """What an executor needs to import the same modules: our path, as JSON."""
    return json.dumps([os.path.abspath(p) if p else os.getcwd() for p in sys.path])


def follow(path: str) -> None:
    """Import as the client does: its path behind ours."""
    for entry in json.loads(path):
        if entry not in sys.path:
            sys.path.append(entry)


def check_python(theirs: str) -> None:
    """Raises PythonMismatch: pickles of functions do not cross minor versions."""
    if theirs != PYTHON:
        raise PythonMismatch(
            f"the client runs Python {theirs}, this executor Python {PYTHON}", hint="run both on the same minor version"
        )


def class_app(service: type[FlameService]) -> tuple[str, AppSpec]:
    """(name, spec) of a service class: `<module>.<class>-<hash>`. Raises Unpicklable, InvalidArgument."""
    if not isinstance(service, type) or not callable(getattr(service, "on_task_invoke", None)):
        raise InvalidArgument(
            f"{service!r} is no service class", hint="derive from flame.FlameService, or name a registered application"
        )
    try:
        pickled = cloudpickle.dumps(service)
    except Exception as error:
        raise Unpicklable(f"class {service.__qualname__} cannot be pickled: {error}") from error
    if len(pickled) > MAX_CLASS:
        raise InvalidArgument(f"class {service.__qualname__} pickles to {len(pickled):,} bytes; at most {MAX_CLASS:,}")
    digest = hashlib.sha256(pickled + here().encode()).hexdigest()[:8]
    module = service.__module__.replace("__main__", "main")
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in f"{module}.{service.__qualname__}")
    environment = {
        "FLAME_SERVICE": "flame.sdk.pickled:PickledService",
        "FLAME_PICKLE": base64.b64encode(pickled).decode(),
        "FLAME_PICKLE_PATH": here(),
        "FLAME_PICKLE_PYTHON": PYTHON,
    }
    return f"{name.lstrip('.-')[:200]}-{digest}", AppSpec(labels=(NATIVE,), environments=environment)


class PickledService(FlameService):
    """Stands in for the class until the session is entered."""

    def on_session_enter(self, ctx: SessionContext) -> None:
        assert ctx.spec is not None
        environment = dict(ctx.spec.environments)
        check_python(environment["FLAME_PICKLE_PYTHON"])
        follow(environment["FLAME_PICKLE_PATH"])
        self.service: Any = cloudpickle.loads(base64.b64decode(environment["FLAME_PICKLE"]))()
        # The executor calls the real method from now on, without a step in between.
        self.on_task_invoke = self.service.on_task_invoke  # type: ignore[method-assign]
        self.on_session_leave = self.service.on_session_leave  # type: ignore[method-assign]
        if hasattr(self.service, "retryable"):
            self.retryable = self.service.retryable
        self.service.on_session_enter(ctx)

    def on_task_invoke(self, ctx: TaskContext) -> bytes | None:
        raise AssertionError("replaced on entering")
