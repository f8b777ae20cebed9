"""Replicas on this node: does what their machines (`core.peers.replica`) ask for, and tells them what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flame.agent.confinement import MIB, Ground
from flame.agent.entering import NOT_STARTED
from flame.agent.orders import Order, Report
from flame.agent.replicas import oci, probes
from flame.agent.replicas.calls import Calls
from flame.agent.replicas.exec import Command, Execs
from flame.agent.replicas.places import Place, Places
from flame.agent.replicas.process import ProcessRuntime
from flame.agent.replicas.runtime import Box, Refused, Runtime
from flame.core.base.errors import FlameError, PortTaken
from flame.core.model import messages as m
from flame.core.model.reactor import Effect
from flame.core.peers.agent import AgentPeer
from flame.core.peers.replica import (
    START_ERROR,
    Forget,
    Prepare,
    Replica,
    RunPreStop,
    RunProbe,
    SignalContainer,
    SpawnContainer,
)
from flame.ops.config import ClusterConfig
from flame.shell.address import Address

log = logging.getLogger("flame.replicas")

TAIL = 20
"""Lines of a container that ended badly, in the report about it."""
KEPT_LOGS = 200
"""Replicas whose logs are kept after their end."""


class ReplicaHost:
    """`send`: an order to the zygote, raises OSError; `go`: carry on with what the peer wants; `clock`: the peer's; `endpoints`: of
    the cluster, from another machine."""

    def __init__(
        self,
        config: ClusterConfig,
        ground: Ground,
        node: m.RegisterNode,
        peer: AgentPeer,
        send: Callable[[Order], None],
        go: Callable[[], None],
        clock: Callable[[], float],
        endpoints: Sequence[Address] = (),
    ) -> None:
        self.peer, self._send, self._go, self._clock = peer, send, go, clock
        self.places = Places(config, ground, node, endpoints)
        self.live: dict[str, Place] = {}
        self.execs = Execs(self._launch)
        self.calls = Calls(self.live, self.execs, self._beside)
        self._watchers: dict[str, Callable[[Report], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.runtimes: dict[str, Runtime] = {"process": ProcessRuntime(ground, config.data_dir, self._kill)}
        self._engine = oci.engine(ground.environment)

    def begin(self) -> None:
        """Clear up behind an agent that was killed; see whether there is a container engine that answers."""
        self.places.clear()
        if self._engine is not None:
            data_dir = self.places.config.data_dir
            self._run(self._find_engine(oci.OciRuntime(self._engine, data_dir, self._kill, self._aside)))

    async def _find_engine(self, runtime: oci.OciRuntime) -> None:
        if trouble := await asyncio.to_thread(runtime.clear):
            log.info("no containers on this node: %s does not answer: %s", runtime.program, trouble)
            return
        self.runtimes[runtime.name] = runtime
        node = self.peer.nodes[self.places.node.name]
        self.peer.change(msgspec.structs.replace(node, runtimes=tuple(self.runtimes)))
        self._go()

    # -- what the machines ask for

    def do(self, action: Effect) -> None:
        if isinstance(action, Prepare):
            self._prepare(action.id)
        elif isinstance(action, SpawnContainer):
            self._spawn(action)
        elif isinstance(action, SignalContainer):
            self._signal(action)
        elif isinstance(action, RunProbe):
            self._run(self._probe(action))
        elif isinstance(action, RunPreStop):
            self._run(self._pre_stop(action))
        elif isinstance(action, Forget):
            self._forget(action.id)

    def _tell(self, id: str, what: Callable[[Replica, float], None]) -> None:
        """The machine, unless it is gone; and then do what it wants, not before the caller is done."""
        if (replica := self.peer.replicas.live.get(id)) is not None:
            what(replica, self._clock())
        self._loop.call_soon(self._go)

    def _prepare(self, id: str) -> None:
        order = self.peer.replicas.live[id].order
        try:
            self._runtime(order)
            self.live[id] = place = self.places.make(order)
        except (FlameError, OSError) as error:
            reason = (
                "HostPortConflict" if isinstance(error, PortTaken) else getattr(error, "reason", "CreateContainerError")
            )
            text = str(error)
            self._tell(id, lambda replica, now: replica.unprepared(reason, text, now))
            return
        self._tell(id, lambda replica, now: replica.prepared(place.ports, now))

    def _runtime(self, order: m.StartReplica) -> Runtime:
        name = order.spec.runtime or "process"
        if name not in self.runtimes:
            known = ", ".join(self.runtimes)
            raise Refused("CreateContainerError", f"runtime {name!r} cannot be had on this node; it has {known}")
        return self.runtimes[name]

    def _spawn(self, action: SpawnContainer) -> None:
        place, name = self.live[action.id], action.container
        try:
            box = self.places.box(place, name, action.run)
            order = self._runtime(place.order).start(box)
            pipes = box.log.begin(box.directory / "pipes")
            order.stdout, order.stderr = str(pipes["stdout"]), str(pipes["stderr"])
            (box.directory / NOT_STARTED).unlink(missing_ok=True)
            self._launch(order, lambda report: self._told(box, report))
        except (FlameError, OSError) as error:
            place.logs[name].close()
            reason, text = getattr(error, "reason", "CreateContainerError"), str(error)
            if reason == "StartError":
                self._tell(
                    action.id, lambda r, now: r.exited(name, START_ERROR, None, now, reason=reason, message=text)
                )
            else:
                self._tell(action.id, lambda r, now: r.failed(name, reason, text, now))

    def _told(self, box: Box, report: Report) -> None:
        """What the zygote says of a container."""
        name = box.spec.name
        if report.kind == "started":
            box.pid = report.pid
            self._tell(box.order.id, lambda r, now: r.spawned(name, report.pid, now, box.note))
            return
        if report.kind == "failed":
            box.log.close()
            self._tell(box.order.id, lambda r, now: r.failed(name, "CreateContainerError", report.reason, now))
            return
        box.pid = 0
        box.log.finish()
        self.execs.end(box.order.id, box.id)
        self._runtime(box.order).ended(box)
        code, reason, message = report.code, "", ""
        if report.out_of_memory:
            limit, had = box.limits.memory, f"peak {report.peak / MIB:,.1f} MiB"
            whose = f"its {limit / MIB:,.0f} MiB" if limit else "the memory that workloads have together on this node"
            message = f"used more than {whose} ({had}): killed by the kernel"
        with contextlib.suppress(OSError):
            code, reason, message = START_ERROR, "StartError", (box.directory / NOT_STARTED).read_text()
        tail = box.log.tail(TAIL) if code != 0 else ""
        oom, number = report.out_of_memory, report.signal
        self._tell(box.order.id, lambda r, now: r.exited(name, code, number, now, oom, reason, message, tail))

    def _signal(self, action: SignalContainer) -> None:
        box = self.live[action.id].boxes.get(action.container)
        if box is not None and box.pid == action.pid:
            self._runtime(box.order).signal(box, action.number)

    def _kill(self, pid: int, number: int) -> None:
        if pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)

    async def _probe(self, action: RunProbe) -> None:
        place = self.live.get(action.id)
        if place is None:  # it has ended meanwhile
            return
        box = place.boxes[action.container]
        spec = getattr(box.spec, action.kind)
        if spec.kind == "exec":
            ok, message = await self._exec_probe(box, spec)
        else:
            ok, message = await probes.run(spec, place.named_ports())
        self._tell(
            action.id, lambda replica, now: replica.probed(action.container, action.kind, action.run, ok, message, now)
        )

    async def _exec_probe(self, box: Box, spec: m.ProbeSpec) -> tuple[bool, str]:
        try:
            code, output = await self._command(box, list(spec.command), max(spec.timeout, 0.01))
        except TimeoutError:
            return False, f"exec {spec.command[0]}: no end within {spec.timeout:g} s"
        except (FlameError, OSError) as error:
            return False, f"exec: {error}"
        return code == 0, f"exec {spec.command[0]}: exit code {code}" + (f": {output}" if output else "")

    async def _pre_stop(self, action: RunPreStop) -> None:
        place, replica = self.live.get(action.id), self.peer.replicas.live.get(action.id)
        if place is None or replica is None:
            return
        box = place.boxes[action.container]
        try:
            limit = max(0.1, (replica.kill_at(action.container) or 0.0) - self._clock())
            code, output = await self._command(box, list(box.spec.pre_stop), limit)
            if code:
                log.info("pre-stop command of %s ended with %d: %s", box.id, code, output)
        except (TimeoutError, FlameError, OSError) as error:
            log.info("pre-stop command of %s: %s", box.id, error or "no end within the grace")
        self._tell(action.id, lambda replica, now: replica.pre_stopped(action.container, action.run, now))

    async def _command(self, box: Box, argv: list[str], timeout: float) -> tuple[int, str]:
        return await Command(box.directory / "pipes", self._beside(box, argv, False), self._launch).run(timeout)

    def _beside(self, box: Box, argv: list[str], tty: bool) -> Order:
        return self._runtime(box.order).beside(box, argv, tty)

    def _forget(self, id: str) -> None:
        place = self.live.pop(id, None)
        self.execs.end(id)
        if place is None:
            return
        self.places.leave(place)
        self.calls.remember(place)
        self._run(asyncio.to_thread(self._remove, place.directory))

    def _remove(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        found = [path for path in self.places.logs.glob("*/*") if path.is_dir()]
        for old in sorted(found, key=lambda path: path.stat().st_mtime)[:-KEPT_LOGS]:
            shutil.rmtree(old, ignore_errors=True)

    # -- the zygote

    def _launch(self, order: Order, told: Callable[[Report], None]) -> None:
        self._send(order)
        self._watchers[order.id] = told

    def _aside(self, argv: list[str], environment: dict[str, str]) -> None:
        """A command of a container engine, whose end nobody waits for."""

        async def run() -> None:
            made = await asyncio.create_subprocess_exec(
                *argv, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await made.wait()

        self._run(run())

    def took(self, report: Report) -> bool:
        """Is it about something of a replica?"""
        told = self._watchers.get(report.id)
        if told is None:
            return False
        if report.kind != "started":
            del self._watchers[report.id]
        told(report)
        return True

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("replicas: %s: %s", type(error).__name__, error)

    # -- the end

    def stop(self, grace: float) -> None:
        """The agent ends: so do its replicas."""
        for replica in list(self.peer.replicas.live.values()):
            replica.stop(grace, self._clock(), "the agent of its node stopped")

    def kill(self) -> None:
        for place in self.live.values():
            for box in place.boxes.values():
                self._runtime(place.order).signal(box, signal.SIGKILL)

    def answer(self, ask: m.AskAgent, say: Callable[[m.Message], None]) -> None:
        """What a client called; it may wait."""

        async def run() -> None:
            try:
                say(m.AgentAnswered(ask.number, await self.calls.answer(ask.placement, ask.call)))
            except FlameError as error:
                failure = m.Failure(error.code, error.message, error.hint, error.retry_after)
                say(m.AgentAnswered(ask.number, None, failure))
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                say(m.AgentAnswered(ask.number, None, m.Failure("invalid_argument", f"{ask.call.verb}: {error}")))

        self._run(run())
