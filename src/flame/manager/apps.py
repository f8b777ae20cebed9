"""The three applications every cluster has."""

from __future__ import annotations

from flame.core.model.messages import NATIVE, AppSpec

_EXEC_INPUT = (
    '{"$schema": "http://json-schema.org/draft-07/schema#", "title": "Script", "type": "object", "required": ["code", "language"], '
    '"properties": {"language": {"type": "string"}, "runtime": {"type": ["string", "null"]}, "code": {"type": "string"}, '
    '"input": {"type": ["array", "null"], "items": {"type": "integer", "minimum": 0, "maximum": 255}}}}'
)
_EXEC_OUTPUT = '{"$schema": "http://json-schema.org/draft-07/schema#", "title": "Output", "type": "string"}'


def built_in_apps(delay_release: float | None = None) -> dict[str, AppSpec]:
    """Name -> spec. The `${FLAME_HOME}` texts are what the contract shows; native executors do not run them."""
    delay = 60.0 if delay_release is None else delay_release
    return {
        "flmexec": AppSpec(
            description="Runs a script per task: shell or Python", labels=(NATIVE,), command="${FLAME_HOME}/bin/flmexec-service",
            environments={"FLAME_SERVICE": "flame.apps.exec:ExecService"}, delay_release=delay,
            schema_input=_EXEC_INPUT, schema_output=_EXEC_OUTPUT,
        ),
        "flmping": AppSpec(
            labels=(NATIVE,), command="${FLAME_HOME}/bin/flmping-service", url="file://${FLAME_HOME}/bin/flmping-service",
            environments={"FLAME_SERVICE": "flame.apps.ping:PingService"}, delay_release=delay,
        ),
        "flmrun": AppSpec(
            description="Template of the Python Runner", installer="python", command="${FLAME_HOME}/bin/uv", delay_release=delay,
            arguments=("run", "--python", "python${FLAME_PYTHON_VERSION}", "python", "-m", "flamepy.runner.runpy"),
        ),
    }  # fmt: skip
