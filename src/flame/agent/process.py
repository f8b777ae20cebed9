"""The agent's process: one node, its zygote, the connection to the allocator. It dials out only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flame.agent import sandbox
from flame.agent.confinement import Ground, environment_of
from flame.agent.joining import CA, IDENTITY
from flame.agent.node import LOOPBACK, address_towards, this_node
from flame.agent.orders import Order, Report
from flame.agent.page import current
from flame.agent.replicas.host import ReplicaHost
from flame.agent.zygote import NOT_SET_UP
from flame.core.base.backoff import Backoff
from flame.core.base.errors import FlameError
from flame.core.model import messages as m
from flame.core.peers.agent import AgentPeer, Look, Signal, Spawn
from flame.ops.config import ClusterConfig
from flame.ops.paths import socket_dir, write_private
from flame.shell.address import Address, parse_all
from flame.shell.driver import Clock
from flame.shell.plane import Dialler

if TYPE_CHECKING:
    from flame.agent.relay import Relays
    from flame.shell.carrier import Remote

log = logging.getLogger("flame.agent")

LOG_TAIL = 50
"""Lines of a dead executor's output that travel with the report."""
KEPT_LOGS = 200
"""Output files of executors that ended badly, kept under DIR/logs/executors."""


ZYGOTE_GRACE = 0.25
"""Seconds the zygote may take to clear up behind itself."""
RENEW_CHECK = 3600.0


@dataclass
class AgentConfig:
    cluster: ClusterConfig
    allocators: Sequence[Address] | Callable[[], Awaitable[Sequence[Address]]]
    ground: Ground
    endpoints: tuple[Address, ...] = ()
    """Of a node on another machine: where clients reach the cluster. Its certificate is in `DIR/certs`."""
    address: str = LOOPBACK
    """Where other machines reach this one; of a node on another machine it is found out."""
    python: str = ""
    leave_grace: float = 2.0
    """How long executors may take to leave when the agent stops."""


class AgentProcess:
    """`zygote` is the socket of the zygote, forked before any loop or thread was made."""

    def __init__(self, config: AgentConfig, zygote: socket.socket) -> None:
        self.config, self.zygote = config, zygote
        self.ground = config.ground
        node = this_node(config.cluster)
        labels = {**self.ground.labels(), **node.labels}
        self.node = msgspec.structs.replace(node, labels=labels, address=config.address)
        self.relays = self._make_relays()
        if config.endpoints:
            here = address_towards(config.endpoints[0].host)
            self.node = msgspec.structs.replace(self.node, grace=config.cluster.rejoin_grace, address=here)
        self.peer = AgentPeer([self.node], restarts=Backoff(*config.cluster.restart_backoff))
        self.loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.replicas = ReplicaHost(
            config.cluster, self.ground, self.node, self.peer, self._order_replica, self._go, self.clock,
            config.endpoints,
        )  # fmt: skip
        self.work = config.cluster.data_dir / "work" / "executors"
        self.logs = config.cluster.data_dir / "logs" / "executors"
        self.dialler = Dialler(
            config.allocators, self.peer.hello, self._received, self._joined, self._lost, self._remote
        )
        self.stopping = asyncio.Event()
        self.empty = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None

    def _make_relays(self) -> Relays | None:
        certs = self.config.cluster.data_dir / "certs"
        if not (certs / IDENTITY).exists():
            return None
        from flame.agent.relay import Relays

        return Relays(socket_dir(self.config.cluster.data_dir), certs / CA, certs / IDENTITY)

    def _remote(self, address: Address) -> Remote:
        """A new channel for every attempt: a changed certificate counts at once."""
        from flame.shell.carrier import Remote

        certs = self.config.cluster.data_dir / "certs"
        return Remote(address, certs / CA, certs / IDENTITY)

    async def run(self) -> None:
        if complaint := self.ground.complaint():
            log.warning("isolation: %s", complaint)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.replicas.begin()
        self.zygote.setblocking(False)
        self.loop.add_reader(self.zygote.fileno(), self._from_zygote)
        if self.relays is not None and self.config.endpoints:
            self._renewing = self.loop.create_task(self._renew_by_itself(self.relays))
        self.dialler.start()
        await self.stopping.wait()
        await self._stop()

    async def _stop(self) -> None:
        """Executors get to leave their sessions, containers to end."""
        for process in list(self.peer.processes.values()):
            self._kill(process.pid, signal.SIGTERM)
        self.replicas.stop(self.config.leave_grace)
        self._go()
        if self.peer.processes or self.peer.replicas.live:
            self.empty.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.empty.wait(), self.config.leave_grace)
        for process in list(self.peer.processes.values()):
            self._kill(process.pid, signal.SIGKILL)
        self.replicas.kill()
        self.dialler.stop()
        if self._renewing is not None:
            self._renewing.cancel()
        if self.relays is not None:
            self.relays.stop()
        self._end_zygote()
        shutil.rmtree(self.work, ignore_errors=True)

    def _end_zygote(self) -> None:
        """It removes the control groups, which it could not if it died with us."""
        self.loop.remove_reader(self.zygote.fileno())
        self.zygote.settimeout(ZYGOTE_GRACE)
        with contextlib.suppress(OSError):
            self.zygote.shutdown(socket.SHUT_WR)
            while self.zygote.recv(1 << 20):
                pass
        self.zygote.close()

    async def _renew_by_itself(self, relays: Relays) -> None:
        """Long before the certificate ends; a failed attempt is tried again at the next look."""
        from flame.agent import joining

        certs = self.config.cluster.data_dir / "certs"
        while True:
            if await asyncio.to_thread(joining.due, certs, time.time()):
                try:
                    await asyncio.to_thread(joining.renew, self.config.endpoints, self.node.name, certs, ())
                    relays.renew()
                    log.info("the certificate of node %s was renewed", self.node.name)
                except FlameError as error:
                    log.warning("the certificate of node %s was not renewed: %s", self.node.name, error)
            await asyncio.sleep(RENEW_CHECK)

    # -- the allocator -----------------------------------------------------------------------------------------------------

    def _joined(self) -> None:
        self.peer.joined(self.clock())
        self._go()

    def _lost(self) -> None:
        self.peer.lost()

    def _received(self, request: int, message: m.Message) -> None:
        if isinstance(message, m.AskAgent):
            self.replicas.answer(message, self.dialler.send)
            return
        self.peer.receive(message, self.clock())
        self._go()

    def _go(self) -> None:
        """Do what the peer asks for, say what it says, set the timer."""
        for action in self.peer.actions():
            if isinstance(action, Spawn):
                self._spawn(action.order)
            elif isinstance(action, Look):
                self.loop.run_in_executor(None, this_node, self.config.cluster).add_done_callback(self._looked)
            elif isinstance(action, Signal):
                self._kill(action.pid, signal.Signals(action.number))
            else:
                self.replicas.do(action)
        for message in self.peer.drain():
            self.dialler.send(message)
        if not self.peer.processes and not self.peer.replicas.live:
            self.empty.set()
        due = self.peer.deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self.loop.call_later(max(0.0, due - self.clock()), self._tick)

    def _looked(self, found: asyncio.Future[m.RegisterNode]) -> None:
        """The machine may have other GPUs, or more memory, than when the agent started."""
        if found.cancelled() or self.stopping.is_set():
            return
        now = found.result()
        node = msgspec.structs.replace(
            self.node, capacity=now.capacity, allocatable=now.allocatable, devices=now.devices,
            labels={**self.ground.labels(), **now.labels},
        )  # fmt: skip
        if node != self.node:
            log.info("node %s has changed: %s", node.name, dict(node.capacity))
            self.node = node
            self.peer.change(node)
            self._go()

    def _tick(self) -> None:
        self._timer = None
        self.peer.tick(self.clock())
        self._go()

    # -- processes ---------------------------------------------------------------------------------------------------------

    def _spawn(self, order: m.StartPlacement) -> None:
        directory = self.work / order.id
        try:
            (directory / "tmp").mkdir(parents=True, mode=0o700)
            self.zygote.send(msgspec.json.encode(self._order(order, directory)))
        except (OSError, FlameError) as error:
            shutil.rmtree(directory, ignore_errors=True)
            reason = f"cannot start: {error}"
            self.peer.failed(order.id, reason, self.clock(), of_node=isinstance(error, OSError))
            self._go()

    def _order_replica(self, order: Order) -> None:
        self.zygote.send(msgspec.json.encode(order))

    def _address(self, order: m.StartPlacement) -> str:
        """Where executors may find their session manager: on its sockets when it is on this machine, else through our relay."""
        addresses = parse_all(order.address)
        found = [str(address) for address in addresses if address.path and not self.config.endpoints]
        away = tuple(address for address in addresses if address.tls)
        if away and self.relays is not None:
            found.append(str(self.relays.to(away)))
        return ",".join(found or map(str, addresses))

    def _order(self, order: m.StartPlacement, directory: Path) -> Order:
        runtime = self.ground.runtime(order)
        address = self._address(order)
        if runtime != "process":
            address = sandbox.inner(address)
        write_private(directory / "token", order.token)
        environment = dict(self.config.cluster.environment)
        environment |= {
            "FLAME_ENDPOINT": address,
            "FLAME_TOKEN_FILE": str(directory / "token"),
            "FLAME_NODE": order.node,
            "FLAME_DATA_DIR": str(self.config.cluster.data_dir),
            "TMPDIR": str(directory / "tmp"),
            "TMP": str(directory / "tmp"),
            "TEMP": str(directory / "tmp"),
        }
        if self.node.devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(order.devices)
        if m.NATIVE in order.spec.labels:
            environment |= environment_of(self.ground, order.spec.environments)
        made = Order(
            order.id, order.token, order.session, address, str(directory), environment, self.config.python,
            self.ground.limits(order), self.ground.rlimits(order),
        )  # fmt: skip
        return made if runtime == "process" else self._sandboxed(order, made)

    def _sandboxed(self, order: m.StartPlacement, made: Order) -> Order:
        """It is not forked: it reads its order from a file in its directory."""
        directory, policy = Path(made.directory), self.ground.policy
        write_private(directory / "launch", msgspec.json.encode(made).decode())
        environment = self.ground.environment | made.environment | sandbox.ENVIRONMENT
        paths = policy.readable, policy.writable
        line = sandbox.command(
            order,
            policy.namespaces,
            directory,
            self.config.cluster.data_dir,
            made.address,
            environment,
            *paths,
        )
        return msgspec.structs.replace(made, sandbox=line, environment=environment)

    def _from_zygote(self) -> None:
        while True:
            try:
                data = self.zygote.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                log.error("the zygote is gone; the agent starts again")
                os._exit(3)
            self._report(msgspec.json.decode(data, type=Report))
        self._go()

    def _report(self, report: Report) -> None:
        now = self.clock()
        if self.replicas.took(report):
            return
        if report.kind == "started":
            if report.id in self.peer.processes:
                self.peer.spawned(report.id, report.pid, now)
        elif report.kind == "failed":
            self.peer.failed(report.id, report.reason, now, of_node=True)
        else:
            directory = self.work / report.id
            running = current(directory / "page")
            bad = report.signal is not None or report.code != 0
            tail = self._tail(directory) if bad else ""
            process, reason = self.peer.processes.get(report.id), ""
            if process is not None and not process.stopping:
                reason = self.ground.why(process.order, report.signal, report.out_of_memory, report.peak)
            if report.code == NOT_SET_UP and process is not None:
                reason = reason or "the node could not set it up"
                why = f"{reason}: {tail[-500:]}" if tail else f"{reason}, and could not say why"  # on a full disk
                self.peer.failed(report.id, why, now, of_node=True)
            self.peer.exited(report.id, report.code, report.signal, running, f"{tail}\n{reason}".strip(), now, reason)
            self._tidy(report.id, directory, bad)

    def _tail(self, directory: Path) -> str:
        """The last lines of its standard output and error."""
        lines: list[str] = []
        for name in ("out", "err"):
            with contextlib.suppress(OSError), (directory / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 32 * 1024))
                lines += file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL:])

    def _tidy(self, id: str, directory: Path, bad: bool) -> None:
        if bad:
            for name in ("out", "err"):
                with contextlib.suppress(OSError):
                    shutil.move(directory / name, self.logs / f"{id}.{name}")
            for old in sorted(self.logs.iterdir(), key=lambda p: p.stat().st_mtime)[:-KEPT_LOGS]:
                old.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)

    def _kill(self, pid: int, number: signal.Signals) -> None:
        if pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
