"""`flmexec`: runs a script and returns what it printed.

Input: JSON `{"language": "shell" | "python", "runtime": text or absent, "code": text, "input": byte values or null}`.
Output: JSON `{"data": [byte values of stdout]}`. As published, the script's exit code does not fail the task; stderr goes to its log.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from flame.sdk.service import FlameService, TaskContext

SHELLS = ("sh", "bash", "zsh", "csh", "tcsh", "ksh", "fish")
_VERSION = re.compile(r"(?:python)?(3(?:\.\d+)?)")


class ExecService(FlameService):
    def on_task_invoke(self, ctx: TaskContext) -> bytes:
        script = read(ctx.input)
        command = shell(script["runtime"]) if script["language"] == "shell" else python(script["runtime"])
        with tempfile.TemporaryDirectory(prefix="flmexec-") as folder:
            path = Path(folder) / ("main.sh" if script["language"] == "shell" else "main.py")
            path.write_text(script["code"])
            # No input closes stdin: a script that reads must not hang.
            done = subprocess.run(
                [*command, str(path)], input=script["input"], stdout=subprocess.PIPE, cwd=folder, check=False
            )
        return json.dumps({"data": list(done.stdout)}).encode()


def read(data: bytes | None) -> dict[str, Any]:
    """A script request, complete. Raises ValueError that says which part is wrong."""
    try:
        request: Any = json.loads(data or b"")
    except ValueError as error:
        raise ValueError(f"flmexec wants JSON with language and code, got {(data or b'')[:40]!r}") from error
    if not isinstance(request, dict) or not isinstance(request.get("code"), str):
        raise ValueError("flmexec: code must be a text")
    language = request.get("language")
    if language not in ("shell", "python"):
        raise ValueError(f"flmexec: unknown language {language!r}; known: shell, python")
    try:
        given = bytes(request.get("input") or ())
    except (TypeError, ValueError) as error:
        raise ValueError("flmexec: input must be a list of byte values") from error
    return {"language": language, "runtime": request.get("runtime"), "code": request["code"], "input": given}


def shell(runtime: str | None) -> list[str]:
    """The interpreter: one of the known shells, bare or under /bin or /usr/bin; bash by default."""
    name = runtime or "bash"
    folder, _, base = name.rpartition("/")
    if base not in SHELLS or folder not in ("", "/bin", "/usr/bin"):
        raise ValueError(f"flmexec: unknown shell {name!r}; known: {', '.join(SHELLS)}")
    found = shutil.which(name) or (shutil.which("sh") if runtime is None else None)
    if found is None:
        raise ValueError(f"flmexec: {name} is not installed on this node")
    return [found]


def python(runtime: str | None) -> list[str]:
    """The Python of this engine, or `pythonX.Y` from PATH."""
    if runtime is None:
        return [sys.executable]
    match = _VERSION.fullmatch(runtime)
    if match is None:
        raise ValueError(f"flmexec: unknown Python {runtime!r}; write something like 3.11")
    if match[1] in ("3", f"3.{sys.version_info.minor}"):
        return [sys.executable]
    found = shutil.which(f"python{match[1]}")
    if found is None:
        raise ValueError(
            f"flmexec: Python {match[1]} is not installed on this node; here is 3.{sys.version_info.minor}"
        )
    return [found]
