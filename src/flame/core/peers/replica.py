"""One replica on its node, without any I/O: which of its containers runs when, and how the replica is.

Init containers run one after the other, then all containers together. A container that ends is started again in place, or not, as
`restart` says, each time later; after `backoff_limit` restarts the replica has failed. Probes decide who is ready and who hangs.
The shell does what `actions` asks for and says what came of it; `drain` gives the reports, one whenever something has changed.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from flame.core.base.backoff import Backoff
from flame.core.model import messages as m
from flame.core.model.reactor import Effect
from flame.core.peers.probing import Probing

STABLE = 600.0
"""Seconds that a container must run for its restarts before to be forgotten."""
START_ERROR = 128
"""Exit code of a container whose command cannot be executed."""
FINAL = ("Succeeded", "Failed")
UNTRIED = ("ImageNotMapped", "InvalidImageName")
"""Reasons of the node's settings or the spec's: trying again would not help."""
CREATING, INITIALIZING, CRASHING = "ContainerCreating", "PodInitializing", "CrashLoopBackOff"


class Prepare(Effect, frozen=True, gc=False):
    """Make the replica's directory, volumes and ports; then say `prepared` or `unprepared`."""

    id: str


class SpawnContainer(Effect, frozen=True, gc=False):
    """Start a container; then say `spawned` or `failed`, and `exited` when it has ended. `run` counts its starts from 1."""

    id: str
    container: str
    run: int


class SignalContainer(Effect, frozen=True, gc=False):
    id: str
    container: str
    pid: int
    number: int


class RunProbe(Effect, frozen=True, gc=False):
    """Then say `probed`. `kind`: startup, readiness or liveness."""

    id: str
    container: str
    kind: str
    run: int


class RunPreStop(Effect, frozen=True, gc=False):
    """Then say `pre_stopped`, whatever came of it."""

    id: str
    container: str
    run: int


class Forget(Effect, frozen=True, gc=False):
    """Nothing of the replica runs any more: remove what it had, but its logs and claims."""

    id: str


@dataclass
class Container:
    """One container. `run` counts its starts; `start_at`: when the next one is due; `crashes`: restarts since it last ran for long;
    `uncreated`: attempts in a row that made no process."""

    spec: m.ContainerSpec
    init: bool = False
    state: str = "waiting"
    reason: str = CREATING
    message: str = ""
    run: int = 0
    pid: int = 0
    spawning: bool = False
    start_at: float | None = None
    started: float = 0.0
    finished: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    last: str = ""
    restarts: int = 0
    crashes: int = 0
    uncreated: int = 0
    stopping: bool = False
    """It has been told to end (or is about to be)."""
    killing: str = ""
    """Why a probe wants it to end; it is started again by policy then."""
    kill_at: float | None = None
    probing: Probing = field(init=False)

    def __post_init__(self) -> None:
        self.probing = Probing(self.spec)

    @property
    def alive(self) -> bool:
        return self.spawning or self.state == "running"

    @property
    def ready(self) -> bool:
        return self.state == "running" and not self.stopping and not self.init and self.probing.ready

    def _said(self) -> str:
        """Of a container that runs and is not ready: what its probe got."""
        return (self.probing.said if self.state == "running" and not self.ready else "") or self.message

    def status(self) -> m.ContainerStatus:
        return m.ContainerStatus(
            self.spec.name, self.state, self.reason, self._said(), self.ready, self.restarts, self.pid, self.exit_code, self.signal,
            self.started, self.finished, self.last, self.init,
        )  # fmt: skip


class Replica:
    """`restarts`: how long a container waits before it is started again."""

    def __init__(self, order: m.StartReplica, restarts: Backoff | None = None) -> None:
        self.order, self.spec = order, order.spec
        self.restarts = restarts or Backoff(1.0, 60.0)
        self.init = [Container(spec, init=True) for spec in order.spec.init]
        self.main = [Container(spec) for spec in order.spec.containers]
        self.phase, self.reason, self.message, self.log = "Pending", "", "", ""
        self.ports: dict[str, int] = {}
        self.started = 0.0
        self.stopping = False
        self._is_prepared = False
        self._prepare_at: float | None = None
        self._unprepared = 0
        self._due: float | None = None
        self._actions: list[Effect] = []
        self._reports: list[m.ReplicaChanged] = []
        self._said: m.ReplicaChanged | None = None

    # -- what is asked

    def begin(self, now: float) -> None:
        """Once, first."""
        self._due = now + self.spec.deadline if self.spec.deadline > 0 else None
        self._actions.append(Prepare(self.order.id))
        self._settle(now)

    def stop(self, grace: float, now: float, reason: str = "") -> None:
        """Everything ends: pre-stop commands and SIGTERM now, SIGKILL after `grace` seconds. A second stop may only shorten it."""
        if self.phase in FINAL:
            return
        if not self.stopping:
            self.reason, self.message = self.reason or "Stopped", self.message or reason
        self.stopping = True
        self._prepare_at = None
        for container in (*self.init, *self.main):
            self._end(container, grace, now)
        self._settle(now)

    # -- what the shell did

    def prepared(self, ports: dict[str, int], now: float) -> None:
        self.ports, self._is_prepared = ports, True
        self._settle(now)

    def unprepared(self, reason: str, message: str, now: float) -> None:
        """It is tried again later."""
        self._unprepared += 1
        self._prepare_at = now + self.restarts.delay(self._unprepared)
        for container in (*self.init, *self.main):
            container.reason, container.message = reason, message
        self._settle(now)

    def spawned(self, name: str, pid: int, now: float, message: str = "") -> None:
        container = self._container(name)
        container.spawning, container.state, container.reason = False, "running", ""
        container.pid, container.message, container.started = pid, message, now
        container.exit_code = container.signal = None
        container.finished, container.uncreated, container.restarts = 0.0, 0, container.run - 1
        self.started = self.started or now
        container.probing.begin(now)
        if container.stopping:
            self._signal(container, signal.SIGTERM)
        self._settle(now)

    def failed(self, name: str, reason: str, message: str, now: float) -> None:
        """It could not be created: no process was started. Tried again later, without counting as a restart, where that can help."""
        container = self._container(name)
        container.spawning, container.reason, container.message = False, reason, message
        container.run -= 1
        if container.stopping:
            container.state, container.finished = "terminated", now
        elif reason not in UNTRIED:
            container.uncreated += 1
            container.start_at = now + self.restarts.delay(container.uncreated)
        self._settle(now)

    def exited(
        self, name: str, code: int | None, number: int | None, now: float, oom: bool = False, reason: str = "", message: str = "",
        log: str = "",
    ) -> None:  # fmt: skip
        """Its process has ended, with all that it started. `reason`: where more is known than code and signal say; `log`: last lines."""
        container = self._container(name)
        was, good = container.killing, code == 0 and number is None
        container.reason = "OOMKilled" if oom else reason or ("Completed" if good else "Error")
        container.message = message or was or container.message
        container.state, container.spawning, container.pid, container.kill_at = "terminated", False, 0, None
        container.exit_code, container.signal, container.finished, container.killing = code, number, now, ""
        container.probing.end()
        if not good:
            self.log = log or self.log
        if self.stopping or (good and not was and (container.init or self.spec.restart != "Always")):
            container.stopping = False
        elif self.spec.restart != "Never":
            self._restart(container, now)
        self._settle(now)

    def probed(self, name: str, kind: str, run: int, ok: bool, message: str, now: float) -> None:
        container = self._container(name)
        if container.state != "running" or container.run != run or container.stopping:
            return
        container.probing.took(kind, ok, message, now)
        if why := container.probing.verdict:
            container.killing = why
            grace = container.spec.grace if container.spec.grace is not None else self.spec.grace
            self._end(container, grace, now)
        self._settle(now)

    def pre_stopped(self, name: str, run: int, now: float) -> None:
        container = self._container(name)
        if container.state == "running" and container.run == run and container.stopping:
            self._signal(container, signal.SIGTERM)
        self._settle(now)

    # -- time

    def tick(self, now: float) -> None:
        if self._prepare_at is not None and now >= self._prepare_at:
            self._prepare_at = None
            self._actions.append(Prepare(self.order.id))
        if self._due is not None and now >= self._due and not self.stopping:
            self.reason, self.message = "DeadlineExceeded", f"it ran for its {self.spec.deadline:g} seconds"
            self.stop(self.spec.grace, now)
        for container in (*self.init, *self.main):
            if container.kill_at is not None and now >= container.kill_at and container.pid:
                container.kill_at = None
                self._signal(container, signal.SIGKILL)
        self._settle(now)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        if self.phase in FINAL:
            return None
        due = [self._prepare_at, self._due if not self.stopping else None]
        for container in (*self.init, *self.main):
            due.append(container.start_at)
            due.append(container.kill_at if container.pid else None)
            if container.state == "running" and not container.stopping:
                due.append(container.probing.deadline())
        return min((at for at in due if at is not None), default=None)

    def kill_at(self, name: str) -> float | None:
        """When a container that has been told to end is killed."""
        return self._container(name).kill_at

    def actions(self) -> list[Effect]:
        actions, self._actions = self._actions, []
        return actions

    def drain(self) -> list[m.ReplicaChanged]:
        reports, self._reports = self._reports, []
        return reports

    def status(self) -> m.ReplicaChanged:
        everyone = (*self.init, *self.main)
        ready = self.phase == "Running" and not self.stopping and all(one.ready for one in self.main)
        log = self.log if self.phase == "Failed" else ""
        return m.ReplicaChanged(
            self.order.id, self.phase, ready, self.reason, self.message, tuple(one.status() for one in everyone), self.ports, log,
            self.started,
        )  # fmt: skip

    # -- inside

    def _container(self, name: str) -> Container:
        return next(one for one in (*self.init, *self.main) if one.spec.name == name)

    def _signal(self, container: Container, number: signal.Signals) -> None:
        self._actions.append(SignalContainer(self.order.id, container.spec.name, container.pid, int(number)))

    def _end(self, container: Container, grace: float, now: float) -> None:
        """Ask it to end. What waits to be started will not be."""
        container.start_at = None
        if not container.alive:
            if container.state == "waiting" and self.stopping:
                container.state, container.finished = "terminated", now
            return
        due = now + grace
        first, container.stopping = not container.stopping, True
        container.kill_at = due if container.kill_at is None else min(due, container.kill_at)
        if not container.pid or grace <= 0:
            return  # killed by the next tick, or told as soon as it is there
        if first and container.spec.pre_stop:
            self._actions.append(RunPreStop(self.order.id, container.spec.name, container.run))
        elif first:
            self._signal(container, signal.SIGTERM)

    def _restart(self, container: Container, now: float) -> None:
        if container.started and now - container.started >= STABLE:
            container.crashes = 0
        container.stopping = False
        if container.crashes >= self.spec.backoff_limit:
            self.reason = "BackoffLimitExceeded"
            self.message = f"container {container.spec.name} ended {container.crashes + 1} times: {container.reason}"
            self.stop(self.spec.grace, now)
            return
        container.crashes += 1
        code = f"exit code {container.exit_code}" if container.exit_code is not None else f"signal {container.signal}"
        container.last = f"{container.reason} ({code})"
        container.state = "waiting"
        container.start_at = now + self.restarts.delay(container.crashes)
        container.message = f"{container.last}; again in {self.restarts.delay(container.crashes):g} s" + (
            f": {container.message}" if container.message else ""
        )
        container.reason = CRASHING

    def _settle(self, now: float) -> None:
        """Start what is due, kill what is overdue, look at the probes; then say what has become of the replica."""
        if self.phase in FINAL:
            return
        if self._is_prepared and not self.stopping:
            self._start_due(now)
        for container in (*self.init, *self.main):
            if container.pid and container.kill_at is not None and now >= container.kill_at:
                container.kill_at = None
                self._signal(container, signal.SIGKILL)
            if container.state == "running" and not container.stopping:
                for kind in container.probing.due(now):
                    self._actions.append(RunProbe(self.order.id, container.spec.name, kind, container.run))
        self._conclude()
        status = self.status()
        if status != self._said:
            self._said = status
            self._reports.append(status)

    def _start_due(self, now: float) -> None:
        for container in self.init:
            if container.state == "terminated" and container.exit_code == 0:
                continue
            if container.state == "terminated":
                return  # it failed for good; _conclude says so
            self._start_if_due(container, now)
            for other in (*self.init, *self.main):
                if other is not container and other.run == 0 and other.state == "waiting":
                    other.reason, other.message = INITIALIZING, ""
            return
        for container in self.main:
            if container.reason == INITIALIZING:
                container.reason = CREATING
            self._start_if_due(container, now)

    def _start_if_due(self, container: Container, now: float) -> None:
        if container.state != "waiting" or container.spawning or container.reason in UNTRIED:
            return
        if container.start_at is None or now >= container.start_at:
            container.run += 1
            container.spawning, container.start_at, container.started = True, None, 0.0
            if container.reason == INITIALIZING:
                container.reason = CREATING
            self._actions.append(SpawnContainer(self.order.id, container.spec.name, container.run))

    def _conclude(self) -> None:
        everyone = (*self.init, *self.main)
        if any(one.alive for one in everyone):
            if any(one.state == "running" for one in self.main):
                self.phase = "Running"
            return
        lost = next((one for one in self.init if one.state == "terminated" and one.exit_code != 0), None)
        if lost is None and not all(one.state == "terminated" for one in everyone):
            return
        bad = lost or next((one for one in self.main if one.exit_code != 0), None)
        forced = self.reason not in ("", "Stopped")
        self.phase = "Failed" if bad is not None or forced else "Succeeded"
        if not self.reason:
            self.reason = bad.reason if bad is not None else "Completed"
            self.message = self.message or (f"container {bad.spec.name}: {bad.message or bad.reason}" if bad else "")
        self._actions.append(Forget(self.order.id))
