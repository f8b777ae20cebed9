"""What a node says of itself in `flame-cluster.yaml` and on the command line: labels, taints, images, simulated GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import parse_duration, parse_size
from flame.core.model.messages import Device, Taint

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_KEY = re.compile(r"(?:[A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_SIMULATED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*):(\d+)x([0-9.]+\w*)")
MOST = 1024
"""Simulated GPUs of one node."""


@dataclass(frozen=True)
class Image:
    """What an image means under the `process` runtime: where its files are, its command, its environment."""

    directory: str = ""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def labels(value: Any) -> dict[str, str]:
    """A mapping, or texts `KEY=VALUE`. Raises ValueError."""
    if isinstance(value, list | tuple):
        pairs = [str(text).partition("=") for text in value]
        if bad := [key for key, equals, _ in pairs if not equals]:
            raise ValueError(f"{bad[0]!r}; write KEY=VALUE")
        value = {key: text for key, _, text in pairs}
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no mapping of labels")
    found = {str(key): _text(text) for key, text in value.items()}
    for key, text in found.items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(text):
            raise ValueError(f"label {key}={text}: letters, digits, `-`, `_` and `.`, at most 63 of them")
    return found


def _text(value: Any) -> str:
    return {True: "true", False: "false", None: ""}[value] if isinstance(value, bool | None) else str(value)


def taints(value: Any) -> tuple[str, ...]:
    """Texts `KEY[=VALUE]:Effect`, or mappings as Kubernetes writes them, as texts. Raises ValueError."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r} is no list of taints")
    found = []
    for item in value:
        if isinstance(item, dict):
            value_ = f"={item['value']}" if item.get("value") not in (None, "") else ""
            item = f"{item.get('key', '')}{value_}:{item.get('effect', '')}"
        taint(str(item))
        found.append(str(item))
    return tuple(found)


def taint(text: str) -> Taint:
    """Raises ValueError."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    if effect not in EFFECTS or not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
        raise ValueError(f"taint {text!r}; write KEY=VALUE:Effect, with an effect of {', '.join(EFFECTS)}")
    return Taint(key, value, effect)


def images(value: Any) -> dict[str, dict[str, Any]]:
    """Image -> {directory, command, env}. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no mapping of images")
    for name, given in value.items():
        image(str(name), given)
    return {str(name): dict(given or {}) for name, given in value.items()}


def image(name: str, given: Any) -> Image:
    given = given or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"image {name}: {given!r} is no mapping")
    if unknown := sorted(set(given) - {"directory", "command", "env"}):
        raise ValueError(f"image {name}: unknown keys {unknown}; known: directory, command, env")
    command, env = given.get("command") or (), given.get("env") or {}
    command = [command] if isinstance(command, str) else command
    if not isinstance(command, Sequence) or not isinstance(env, Mapping):
        raise ValueError(f"image {name}: command is a list of words, env a mapping")
    directory = str(given.get("directory") or "")
    if directory and not directory.startswith("/"):
        raise ValueError(f"image {name}: directory {directory!r} is not absolute")
    return Image(directory, tuple(map(str, command)), {str(key): _text(text) for key, text in env.items()})


def simulated(text: str | None) -> list[Device]:
    """`nvidia-a100:2x40Gi,nvidia-h100:1x80Gi` as devices. Raises InvalidArgument."""
    found: list[Device] = []
    for entry in (text or "").split(","):
        if not entry.strip():
            continue
        parts = _SIMULATED.fullmatch(entry.strip())
        if parts is None or not 0 < int(parts[2]) <= MOST:
            raise InvalidArgument(
                f"simulated GPUs {entry.strip()!r}", hint="MODEL:COUNTxMEMORY, such as nvidia-a100:2x40Gi"
            )
        model, memory = parts[1], parse_size(parts[3])
        first = sum(device.model == model for device in found)
        found += [Device(f"SIM-{model}-{first + i}", model, memory) for i in range(int(parts[2]))]
    return found


def backoff(value: Any) -> tuple[float, float]:
    """`[1s, 60s]` as seconds. Raises ValueError."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{value!r} is no list of two durations")
    first, most = (float(one) if isinstance(one, int | float) else parse_duration(str(one)) for one in value)
    if not 0 < first <= most:
        raise ValueError(f"{value!r}: the first is above 0 and not above the second")
    return first, most


def check_simulated(value: Any) -> str:
    simulated(str(value))
    return str(value)
