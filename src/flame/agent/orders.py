"""What an agent and its zygote say to each other, one JSON object a message."""

from __future__ import annotations

import msgspec

from flame.platform.cgroups import Limits


class Order(msgspec.Struct):
    """Start one executor. `directory` is private to it; `environment` is added to the zygote's. `limits`: of its control group;
    `rlimits`: what it sets for itself; `sandbox`: the command line that starts it, with `environment` and no more; empty: it is forked.

    With `argv` it is a container: `argv` (or `sandbox` around it) is executed in `cwd` with `environment` and no more. `stdin`, `stdout`,
    `stderr`: paths, of a terminal with `tty`. `join`: the id of a container whose control group it shares."""

    id: str
    token: str
    session: str
    address: str
    directory: str
    environment: dict[str, str] = {}
    python: str = ""
    limits: Limits = Limits()
    rlimits: dict[str, int] = {}
    sandbox: list[str] = []
    argv: list[str] = []
    cwd: str = ""
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    tty: bool = False
    join: str = ""


class Report(msgspec.Struct, omit_defaults=True):
    """`started` (pid), or `ended` (code or signal), or `failed` (why). `out_of_memory`: that is why the kernel ended it; `peak`: the most
    memory it had, in bytes."""

    id: str
    kind: str
    pid: int = 0
    code: int | None = None
    signal: int | None = None
    reason: str = ""
    out_of_memory: bool = False
    peak: int = 0
