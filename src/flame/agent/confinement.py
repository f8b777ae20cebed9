"""What holds executors apart on this node: what the policy wants, what the kernel lets us do, and the difference, said out loud."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from flame.agent import sandbox
from flame.agent.node import MIN_SLOTS, total_memory
from flame.core.base.quantity import format_size
from flame.core.model.messages import StartPlacement
from flame.ops.config import ClusterConfig
from flame.ops.isolation import Isolation, cleared, isolation, runtime_of
from flame.platform.cgroups import Cgroups, Limits
from flame.platform.confine import threads_of_user

LABEL = "flame.isolation/"
"""Prefix of the node labels that say what is enforced, and how."""
SMALLEST = 64 << 20
"""Bytes below which no executor is limited: an interpreter with a service in it needs as much."""
TOGETHER = 0.95
"""Of the machine's memory: what all executors may have together, unless the node was given less."""
COUNT_SECONDS = 5.0
"""How long a count of the user's processes is good for."""
MIB = 1 << 20
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass
class Ground:
    """Made once, before the zygote is forked, which inherits it. `levels`: how each kind of limit is enforced: by `cgroup-v1`,
    `cgroup-v2` or `prlimit`; `none`: it was wanted and cannot be; `off`: it was not wanted."""

    policy: Isolation
    environment: dict[str, str]
    cgroups: Cgroups | None = None
    levels: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    _counted: tuple[float, int] = (0.0, 0)

    def labels(self) -> dict[str, str]:
        return {LABEL + name: level for name, level in self.levels.items()}

    def complaint(self) -> str:
        """What was wanted and is not enforced, with the reasons; empty when everything is."""
        missing = [name for name, level in self.levels.items() if level == "none"]
        weaker = [name for name in ("memory", "processes") if self.levels.get(name) == "prlimit"]
        said = [f"not enforced here: {', '.join(missing)}"] if missing else []
        said += [f"enforced only roughly, by resource limits: {', '.join(weaker)}"] if weaker else []
        return "; ".join([*said, *self.reasons]) if said else ""

    def limits(self, order: StartPlacement) -> Limits:
        """Of the control group of an executor."""
        policy, share = self.policy, order.resources.get("memory", 0)
        hard = {"enforce": order.limits.get("memory", 0), "strict": share}.get(policy.memory, 0)
        cpu = order.resources.get("cpu", 0) or 1000
        return Limits(
            memory=max(hard, SMALLEST) if hard else 0,
            memory_share=share if not hard and policy.memory != "off" else 0,
            cpu=cpu if policy.cpu != "off" else 1000,
            cpu_max=cpu if policy.cpu == "quota" else 0,
            processes=policy.processes or 0,
        )

    def rlimits(self, order: StartPlacement) -> dict[str, int]:
        """What the executor sets for itself: see platform.confine.set_limits."""
        found = {"core": 0}
        if self.policy.file_size:
            found["file_size"] = self.policy.file_size
        if self.levels.get("processes") == "prlimit" and self.policy.processes:
            found["processes"] = self._threads() + self.policy.processes
        hard = self.limits(order).memory
        if hard and self.levels.get("memory") == "prlimit" and not order.devices:  # GPU drivers reserve without end
            found["data"] = hard
        return found

    def _threads(self) -> int:
        at, count = self._counted
        if time.monotonic() - at > COUNT_SECONDS:
            count = threads_of_user()
            self._counted = time.monotonic(), count
        return count

    def runtime(self, order: StartPlacement) -> str:
        """Raises InvalidArgument when the application's runtime cannot be had here."""
        runtime = runtime_of(self.policy, order.spec.labels)
        sandbox.refuse(runtime, self.policy.namespaces)
        return runtime

    def expand(self, text: str) -> str:
        """`$NAME` and `${NAME}` by what executors have in their environment; unknown names stay as they are."""
        return _VARIABLE.sub(lambda found: self.environment.get(found[1] or found[2], found[0]), text)

    def why(self, order: StartPlacement, number: int | None, out_of_memory: bool, peak: int) -> str:
        """Why the kernel ended an executor, where it was for a limit of ours; else empty."""
        if number == signal.SIGXFSZ and self.policy.file_size:
            return f"wrote a file of more than {format_size(self.policy.file_size)}: killed by the kernel"
        if not out_of_memory:
            return ""
        limit, had = self.limits(order).memory, f"{peak / MIB:,.1f} MiB" if peak else "unknown"
        if limit:
            return f"used more memory than its {limit / MIB:,.0f} MiB (peak {had}): killed by the kernel"
        return f"the executors of this node ran out of memory, and it had most (peak {had}): killed by the kernel"


def prepare(config: ClusterConfig) -> Ground:
    """What this node does about its policy. Raises InvalidArgument for a policy that is none."""
    policy = isolation(config.isolation, config.private)
    environment = dict(os.environ)
    ground = Ground(policy, cleared(environment) if policy.environment == "cleared" else environment)
    wanted = {"memory": policy.memory != "off", "cpu": policy.cpu != "off", "processes": bool(policy.processes)}
    if policy.cgroups and any(wanted.values()):
        ground.cgroups, ground.reasons = Cgroups.open()
        if ground.cgroups is not None:
            _limit_all(ground.cgroups, config, policy, ground)
    elif any(wanted.values()):
        ground.reasons = ["control groups are switched off"]
    for name, asked in wanted.items():
        ground.levels[name] = _level(name, ground.cgroups) if asked else "off"
    ground.levels["file-size"] = "prlimit" if policy.file_size else "off"
    ground.levels["environment"] = policy.environment
    ground.levels["runtime"] = policy.runtime
    ground.levels["bubblewrap"] = "found" if sandbox.bubblewrap() else "none-found"
    return ground


def _level(name: str, cgroups: Cgroups | None) -> str:
    version = cgroups.version("pids" if name == "processes" else name) if cgroups is not None else 0
    if version:
        return f"cgroup-v{version}"
    if not sys.platform.startswith("linux") or name == "cpu":
        return "none"
    if name == "processes" and os.geteuid() == 0:
        return "none"  # the kernel does not count root's processes
    return "prlimit"


def _limit_all(cgroups: Cgroups, config: ClusterConfig, policy: Isolation, ground: Ground) -> None:
    """All executors together: as much of the CPUs as the node has slots, and not the machine's last memory."""
    slots = config.cpus or max(MIN_SLOTS, os.cpu_count() or 1)
    memory = min(config.memory or total_memory(), int(total_memory() * TOGETHER))
    try:
        cgroups.limit(Limits(max(memory, 8 * SMALLEST) if policy.memory != "off" else 0, cpu=int(slots * 1000)))
    except OSError as error:
        ground.reasons.append(f"executors are not limited together: {error}")


def environment_of(ground: Ground, given: Mapping[str, str]) -> dict[str, str]:
    """An application's own variables, for a service that runs in the executor."""
    return {name: ground.expand(value) for name, value in given.items() if not name.startswith("FLAME_PICKLE")}
