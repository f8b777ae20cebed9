"""What a runtime does for containers: make the order that starts one, and those that run beside it; signal it; clear up behind it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flame.agent import sandbox
from flame.agent.orders import Order
from flame.agent.replicas.environment import expand
from flame.agent.replicas.logs import ContainerLog
from flame.agent.replicas.volumes import Mount
from flame.core.base.errors import FlameError
from flame.core.model import messages as m
from flame.ops.nodes import Image
from flame.platform.cgroups import Limits
from flame.shell.address import parse_all

_IMAGE = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?", re.IGNORECASE)


class Refused(FlameError):
    """A container cannot be created; `reason` is one word for its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Box:
    """One run of a container on this node. `id` names it to the zygote; `directory` is its own; `environment` is complete;
    `endpoint` is where it reaches the cluster, as the engine knows it."""

    id: str
    order: m.StartReplica
    spec: m.ContainerSpec
    directory: Path
    environment: dict[str, str]
    mounts: list[Mount]
    log: ContainerLog
    devices: list[str]
    endpoint: str = ""
    image: Image | None = None
    limits: Limits = field(default_factory=Limits)
    rlimits: dict[str, int] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    cwd: Path = Path("/")
    note: str = ""
    pid: int = 0


class Runtime(Protocol):
    """Orders go through the zygote, so that nothing of a replica outlives its agent."""

    name: str

    def start(self, box: Box) -> Order:
        """Without the paths of its output. Raises Refused, OSError."""

    def beside(self, box: Box, argv: Sequence[str], tty: bool) -> Order:
        """A command in the same place, with the same environment and limits. Raises Refused."""

    def signal(self, box: Box, number: int) -> None: ...

    def ended(self, box: Box) -> None:
        """The process of its order has ended."""


Kill = Callable[[int, int], None]
"""Sends a signal to a process group; a group that is gone is no error."""


def words(box: Box) -> tuple[list[str], list[str]]:
    """Command and arguments with `$(VAR)` filled in."""
    return (
        [expand(word, box.environment) for word in box.spec.command],
        [expand(word, box.environment) for word in box.spec.args],
    )


def sockets(box: Box) -> list[str]:
    """Of the engine, for a container that does not see its directory, and who signed for it. Those for sandboxes, where nobody is trusted
    for being the same user: `FLAME_ENDPOINT` names them from now on."""
    text = box.environment.get("FLAME_ENDPOINT", "")
    if text != box.endpoint or not text:
        return []
    box.environment["FLAME_ENDPOINT"] = inner = sandbox.inner(text)
    found = [address.path for address in parse_all(inner) if address.path]
    return [*found, *filter(None, [box.environment.get("FLAME_CA_FILE")])]


def check_image(image: str) -> None:
    """Raises Refused for a text that cannot be an image."""
    if image and not _IMAGE.fullmatch(image):
        raise Refused("InvalidImageName", f"{image!r} is not the name of an image")
