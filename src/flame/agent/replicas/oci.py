"""The `oci` runtime: containers by podman or docker, through their command line. The engine's process is started like any other container,
so its output is the log and its end the end; the container itself may outlive it, and is removed by name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from flame.agent.orders import Order
from flame.agent.replicas.runtime import Box, Kill, Refused, check_image, sockets, words

ENGINES = ("podman", "docker")
PULLS = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}
OWN = "flame.agent"
"""Label of containers with the name of the data directory whose agent made them."""
SIMULATED = "SIM-"
CLIENT = (
    "PATH",
    "HOME",
    "USER",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "CONTAINER_HOST",
    "TMPDIR",
    "LANG",
    "SSL_CERT_FILE",
)
"""What the engine's own command line may need of the agent's environment."""
CLEAR_SECONDS = 20.0


def engine(inherited: dict[str, str]) -> str | None:
    """Where podman or docker is."""
    return next((found for name in ENGINES if (found := shutil.which(name, path=inherited.get("PATH")))), None)


class OciRuntime:
    name = "oci"

    def __init__(
        self, program: str, data_dir: Path, kill: Kill, spawn: Callable[[list[str], dict[str, str]], None]
    ) -> None:
        """spawn: starts a command of the engine that nobody waits for."""
        self.program, self._kill, self._spawn = program, kill, spawn
        self.mark = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
        self.client = {name: os.environ[name] for name in CLIENT if name in os.environ}

    def container(self, box: Box) -> str:
        """Its name for the engine, which knows letters, digits, `_`, `.` and `-`."""
        text = box.id.replace("/", ".")
        return "flame-" + "".join(char if char.isalnum() or char in "_.-" else "-" for char in text)

    def start(self, box: Box) -> Order:
        spec = box.spec
        check_image(spec.image)
        if not spec.image:
            raise Refused("InvalidImageName", "the oci runtime needs an image")
        if any(device.startswith(SIMULATED) for device in box.devices):
            raise Refused(
                "CreateContainerError", "the GPUs of this node are simulated: no container engine can hand them out"
            )
        command, args = words(box)
        if command and command[0].startswith("-"):
            raise Refused("CreateContainerError", f"{command[0]!r} is not a command")
        name = self.container(box)
        line = [self.program, "run", "--rm", "--name", name, "--label", f"{OWN}={self.mark}", "--network", "host"]
        line += ["--pull", PULLS.get(spec.pull, "always" if spec.image.endswith(":latest") else "missing")]
        line += ["--security-opt", "no-new-privileges"]
        line += ["--workdir", spec.working_dir] if spec.working_dir else []
        line += [*_mounts(box), *_limits(box)]
        flags, environment = self._environment(box)
        line += flags
        line += ["--entrypoint", command[0]] if command else []
        line += [spec.image, *command[1:], *args]
        # The engine's client is not the container: the container's limits are the engine's to enforce.
        return Order(box.id, "", "", "", str(box.directory), environment, argv=line, cwd=str(box.directory))

    def beside(self, box: Box, argv: Sequence[str], tty: bool) -> Order:
        flags, environment = self._environment(box)
        line = [self.program, "exec", "-i", *(["-t"] if tty else []), *flags, self.container(box), *argv]
        return Order(
            "", "", "", "", str(box.directory), environment, argv=line, cwd=str(box.directory), tty=tty, join=box.id
        )

    def signal(self, box: Box, number: int) -> None:
        """The client hands SIGTERM on; SIGKILL it cannot."""
        if number == signal.SIGKILL:
            self._spawn([self.program, "rm", "--force", self.container(box)], self.client)
        self._kill(box.pid, number)

    def ended(self, box: Box) -> None:
        self._spawn([self.program, "rm", "--force", self.container(box)], self.client)

    def clear(self) -> str:
        """Remove what an agent of this data directory left behind when it was killed. Returns why the engine does not answer."""
        try:
            found = self._run("ps", "--all", "--quiet", "--filter", f"label={OWN}={self.mark}").split()
            if found:
                self._run("rm", "--force", *found)
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip() or str(error)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        return ""

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [self.program, *words], capture_output=True, text=True, timeout=CLEAR_SECONDS, check=True, env=self.client
        )
        return done.stdout

    def _environment(self, box: Box) -> tuple[list[str], dict[str, str]]:
        """Values travel in the client's environment, not on its command line where everybody reads them; but for names it reads itself."""
        flags, environment = [], dict(self.client)
        host = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR")  # of the machine: the image has its own
        given = {variable.name for variable in box.spec.env}
        for name, value in box.environment.items():
            if name in host and name not in given:
                continue
            if name in CLIENT or "\n" in name:
                flags += ["--env", f"{name}={value}"]
            else:
                flags += ["--env", name]
                environment[name] = value
        return flags, environment


def _mounts(box: Box) -> list[str]:
    """Volumes, its own directory (its token is there), and the sockets of the engine."""
    found = []
    for mount in box.mounts:
        flags = ",readonly" if mount.read_only else ""
        found += ["--mount", f"type=bind,source={mount.source},target={mount.target}{flags}"]
    found += ["--mount", f"type=bind,source={box.directory},target={box.directory}"]
    for path in (path for path in sockets(box) if os.path.exists(path)):
        found += ["--mount", f"type=bind,source={path},target={path}"]
    return found


def _limits(box: Box) -> list[str]:
    """Devices by CDI; memory, CPUs and processes."""
    found = []
    for uuid in box.devices:
        found += ["--device", f"nvidia.com/gpu={uuid}"]
    limits = box.spec.limits
    found += ["--memory", str(limits["memory"])] if limits.get("memory") else []
    found += ["--cpus", f"{limits['cpu'] / 1000:g}"] if limits.get("cpu") else []
    return found + (["--pids-limit", str(box.limits.processes)] if box.limits.processes else [])
