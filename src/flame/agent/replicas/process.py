"""The `process` runtime: a container's command as a process group of this host, with limits, its own directory and environment.

It is not a container: it sees the host's programs and network. With the isolation policy's (or a label's) `bubblewrap` it sees only
what the policy shows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from flame.agent import sandbox
from flame.agent.confinement import Ground
from flame.agent.orders import Order
from flame.agent.replicas import view
from flame.agent.replicas.runtime import Box, Kill, Refused, check_image, sockets, words
from flame.core.base.errors import FlameError
from flame.ops.isolation import RUNTIME_LABEL, runtime_of


class ProcessRuntime:
    name = "process"

    def __init__(self, ground: Ground, data_dir: Path, kill: Kill) -> None:
        self.ground, self.data_dir, self._kill = ground, data_dir, kill

    def start(self, box: Box) -> Order:
        check_image(box.spec.image)
        argv = self._command(box)
        box.cwd = self._cwd(box)
        seen = self._view(box, argv)
        box.prefix, box.note = seen.prefix, seen.note
        for name, value in seen.variables.items():
            box.environment.setdefault(name, value)
        return self._order(box.id, box, argv)

    def beside(self, box: Box, argv: Sequence[str], tty: bool) -> Order:
        order = self._order("", box, list(argv))
        order.join, order.tty, order.limits = box.id, tty, type(order.limits)()
        return order

    def signal(self, box: Box, number: int) -> None:
        self._kill(box.pid, number)

    def ended(self, box: Box) -> None:
        return

    def _order(self, id: str, box: Box, argv: list[str]) -> Order:
        line = [*box.prefix, *argv] if box.prefix else []
        if not line:
            argv = [_program(argv[0], box), *argv[1:]]
        return Order(
            id, "", "", "", str(box.directory), box.environment, limits=box.limits, rlimits=box.rlimits, sandbox=line, argv=argv,
            cwd="/" if line else str(box.cwd),
        )  # fmt: skip

    def _command(self, box: Box) -> list[str]:
        command, args = words(box)
        image = box.image
        if not command and image is None and box.spec.image:
            raise Refused(
                "ImageNotMapped",
                f"image {box.spec.image}: the process runtime starts commands, and neither the spec names one nor does `images:` of "
                f"this node map the image",
            )
        argv = [*(command or (image.command if image is not None else ())), *args]
        if not argv:
            raise Refused("CreateContainerError", "neither the spec nor its image names a command")
        return argv

    def _cwd(self, box: Box) -> Path:
        named = box.spec.working_dir or (box.image.directory if box.image is not None else "")
        if not named:
            return box.directory / "root"
        if not os.path.isdir(named) and not any(Path(named).is_relative_to(mount.target) for mount in box.mounts):
            raise Refused("CreateContainerError", f"working directory {named} is not there")
        return Path(named)

    def _view(self, box: Box, argv: list[str]) -> view.View:
        policy = self.ground.policy
        labels = [f"{name}={value}" for name, value in box.order.spec.labels.items()]
        try:
            runtime = runtime_of(policy, [label for label in labels if label.startswith(RUNTIME_LABEL)])
            sandbox.refuse(runtime, policy.namespaces)
        except FlameError as error:
            raise Refused("CreateContainerError", str(error)) from None
        if runtime == "process":
            found = view.plain(box.mounts, box.directory / "root", box.cwd)
            if not found.prefix and not box.cwd.is_dir():
                raise Refused("CreateContainerError", f"working directory {box.cwd} is in a volume; {found.note}")
            return found
        return view.apart(
            policy, box.mounts, box.directory, box.cwd, self.data_dir, box.environment, _files(argv, box), sockets(box),
            bool(box.devices),
        )  # fmt: skip


def _program(word: str, box: Box) -> str:
    """The file to execute. Raises Refused, as a container engine would say it."""
    if "/" in word:
        path = os.path.join(box.cwd, word)
        if not os.path.exists(path):
            raise Refused("StartError", f"exec: {word!r}: no such file")
        if os.path.isdir(path) or not os.access(path, os.X_OK):
            raise Refused("StartError", f"exec: {word!r}: permission denied")
        return path
    found = shutil.which(word, path=box.environment.get("PATH", os.defpath))
    if found is None:
        raise Refused("StartError", f"exec: {word!r}: not found in $PATH")
    return os.path.join(box.cwd, found)


def _files(argv: Sequence[str], box: Box) -> list[str]:
    """Of the command line: what a sandbox has to show."""
    found = [word for word in argv[1:] if os.path.isabs(word) and os.path.isfile(word)]
    program = shutil.which(argv[0], path=box.environment.get("PATH", os.defpath))
    if program:
        found += [os.path.dirname(os.path.abspath(program)), os.path.dirname(os.path.realpath(program))]
    return [*found, box.image.directory] if box.image is not None and box.image.directory else found
