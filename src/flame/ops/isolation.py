"""What keeps executors apart on a node: `cluster.isolation` of `flame-cluster.yaml`, checked whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_size

RUNTIMES = ("process", "bubblewrap", "microvm")
"""From the loosest to the strictest."""
NAMESPACES = ("user", "pid", "mount", "network")
RUNTIME_LABEL = "flame.runtime="
"""Of an application that wants a stricter runtime than the cluster's."""

PASSED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "XDG_RUNTIME_DIR", "VIRTUAL_ENV",
    "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "RUST_LOG",
)  # fmt: skip
"""What a cleared environment keeps of the agent's: where things are and how to speak, never who somebody is."""
PASSED_PREFIXES = ("LC_", "PYTHON", "FLAME_", "OMP_", "MKL_", "OPENBLAS_")
SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "CERT", "KEY", "STORAGE")
"""A name with a prefix above and one of these in it stays behind."""


@dataclass(frozen=True)
class Isolation:
    """One node's policy. Everything works where the kernel lets it; the node's labels say what does."""

    runtime: str = "process"
    """`process`: forked; `bubblewrap`: in namespaces of its own; `microvm`: refused, nothing here runs one."""
    namespaces: tuple[str, ...] = ("user", "pid", "mount")
    """Of the bubblewrap runtime: which are an executor's own."""
    memory: str = "enforce"
    """`enforce`: what a session asked for is a limit, others share the node; `strict`: the default is a limit, too; `soft`: nobody is
    limited alone, who has more than its share gives pages back first; `off`. All but `off` limit the node's executors together."""
    cpu: str = "weight"
    """`weight`: shares by what was asked, idle cores are used; `quota`: never more than that; `off`."""
    processes: int | None = 4096
    """Processes and threads of one executor; None: no limit."""
    file_size: int | None = None
    """Bytes of the largest file it may write; None: no limit."""
    environment: str = "cleared"
    """`cleared`: see PASSED; `inherited`: all of the agent's, and the default of private clusters."""
    cgroups: bool = True
    """False: never use control groups."""
    readable: tuple[str, ...] = ()
    """Directories that sandboxes see beside their own, such as models."""
    writable: tuple[str, ...] = ()


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        word = "off" if value is False else value  # YAML reads a bare `off` as a boolean
        if word not in words:
            raise ValueError(f"{value!r}; one of {', '.join(words)}")
        return str(word)

    return check


def _count(value: Any) -> int | None:
    if value is False or value == "unlimited":
        return None
    if not isinstance(value, int) or value is True or value < 16:
        raise ValueError(f"{value!r}; a number from 16 on, or unlimited")
    return value


def _size(value: Any) -> int | None:
    if value is False or value == "unlimited":
        return None
    size = parse_size(value)
    if size < 1 << 20:
        raise ValueError(f"{value!r}; at least 1Mi (an executor writes its own output, too), or unlimited")
    return size


def _namespaces(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(name in NAMESPACES for name in value):
        raise ValueError(f"{value!r}; a list of {', '.join(NAMESPACES)}")
    return tuple(name for name in NAMESPACES if name in value)


def _paths(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(path, str) and path.startswith("/") for path in value):
        raise ValueError(f"{value!r}; a list of absolute paths")
    return tuple(value)


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "runtime": _one_of(*RUNTIMES),
    "namespaces": _namespaces,
    "memory": _one_of("enforce", "strict", "soft", "off"),
    "cpu": _one_of("weight", "quota", "off"),
    "processes": _count,
    "file_size": _size,
    "environment": _one_of("cleared", "inherited"),
    "cgroups": _yes,
    "readable": _paths,
    "writable": _paths,
}


def isolation(given: Mapping[str, Any] | None, private: bool = False) -> Isolation:
    """The policy; what is not given has its default. `private`: of a cluster that belongs to one client, whose services expect its
    environment. Raises InvalidArgument with every mistake."""
    if given is not None and not isinstance(given, Mapping):
        raise InvalidArgument(f"{given!r} is no mapping")
    found: dict[str, Any] = {"environment": "inherited"} if private else {}
    mistakes = []
    for key, value in (given or {}).items():
        if key not in _CHECKS:
            mistakes.append(f"unknown key {key!r}; known: {', '.join(_CHECKS)}")
        elif value is not None:
            try:
                found[key] = _CHECKS[key](value)
            except ValueError as error:
                mistakes.append(f"{key}: {error}")
    if "namespaces" in found and found.get("runtime", "bubblewrap") != "bubblewrap":
        mistakes.append(f"namespaces: the runtime {found['runtime']!r} has none; only bubblewrap has")
    if mistakes:
        raise InvalidArgument("; ".join(mistakes))
    if found.get("namespaces"):
        found["runtime"] = "bubblewrap"
    return Isolation(**found)


def checked(given: Any) -> dict[str, Any]:
    """The mapping as it was given, after a look at it. Raises InvalidArgument."""
    isolation(given)
    return dict(given)


def runtime_of(policy: Isolation, labels: Sequence[str]) -> str:
    """The runtime of an application's executors: the cluster's, or a stricter one that a label asks for. Raises InvalidArgument."""
    chosen = policy.runtime
    for label in labels:
        if label.startswith(RUNTIME_LABEL):
            asked = label.removeprefix(RUNTIME_LABEL)
            if asked not in RUNTIMES:
                raise InvalidArgument(
                    f"label {label!r}: there is no such runtime", hint=f"known: {', '.join(RUNTIMES)}"
                )
            chosen = max(chosen, asked, key=RUNTIMES.index)
    return chosen


def cleared(environment: Mapping[str, str]) -> dict[str, str]:
    """What an executor gets of the agent's environment."""
    return {name: value for name, value in environment.items() if _passes(name)}


def _passes(name: str) -> bool:
    if name in PASSED:
        return True
    return name.startswith(PASSED_PREFIXES) and not any(word in name for word in SECRET_WORDS)
