"""The cluster of one seed: it is built, disturbed, healed, and must come to rest with every promise kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flame.core.model.messages import CloseSession, GetSession, Hello, Message, Welcome
from flame.core.model.states import SessionState
from flame.sim.agent import AgentProcess
from flame.sim.allocator import AllocatorShell
from flame.sim.client import ClientProcess
from flame.sim.clock import Clock
from flame.sim.disk import Disk
from flame.sim.executor import ExecutorProcess
from flame.sim.jobs import Jobs
from flame.sim.manager import Manager
from flame.sim.network import Link, Network
from flame.sim.owner import OwnerProcess
from flame.sim.plan import SPAN, Plan, draw
from flame.sim.process import Process
from flame.sim.truth import Truth

PATIENCE = 300.0
"""Simulated seconds after which a cluster that has not come to rest never will."""
MAX_STEPS = 60_000


@dataclass(frozen=True)
class Outcome:
    """How a seed ended. `failure`: "" or what promise was broken; `hash`: the same for the same seed and code."""

    seed: int
    hash: int
    steps: int
    seconds: float
    failure: str


class Broken(AssertionError):
    """A promise of the system does not hold."""


class World:
    def __init__(self, seed: int, *, checking: bool = True, trace: bool = False) -> None:
        self.seed = seed
        self.checking = checking
        self.clock = Clock(seed)
        if trace:
            self.clock.lines = []
        self.plan: Plan = draw(self.clock.rng, seed)
        self.network = Network(self.clock, codec=self.plan.codec)
        self.truth = Truth(self)
        self.jobs = Jobs(self)
        self._names = 0
        self.disk = Disk(self.clock.rng, self.plan.durability)
        self.manager = Manager(self, self.disk)
        self.allocator = AllocatorShell(self)
        self.agents = [AgentProcess(self, f"agent{n}", nodes) for n, nodes in enumerate(self.plan.nodes)]
        self.clients = [ClientProcess(self, f"c{n}", script) for n, script in enumerate(self.plan.scripts)]
        self.owners = [OwnerProcess(self, f"o{n}", script) for n, script in enumerate(self.plan.jobs)]
        self.healed = False

    # -- small services for processes

    def fresh(self, kind: str) -> str:
        self._names += 1
        return f"{kind[0]}{self._names}"

    def new_pid(self) -> int:
        self._names += 1
        return self._names

    def others_submit(self, client: ClientProcess) -> bool:
        """Does another client of the same session still submit?"""
        return any(
            other is not client and other.script.session == client.script.session and other.submitting
            for other in self.clients
        )

    def client_gave_up(self, client: ClientProcess) -> None:
        """Its session has nobody left who closes it, perhaps; an operator does."""
        self._operate(client.script.session)

    def _operate(self, session: str) -> None:
        operator = Operator(self, f"op{len(self.operators)}", session)
        self.clock.after(0.1, operator.start)
        self.operators.append(operator)

    def revive(self, process: Process) -> None:
        if not process.alive:
            process.start()

    # -- the run

    def run(self) -> Outcome:
        """Play the seed. Broken promises, and errors of any kind, become the outcome's `failure`."""
        failure = ""
        self.operators: list[Operator] = []
        try:
            self._play()
        except Exception as error:  # whatever a reactor raises is a finding
            failure = f"{type(error).__name__}: {error}"
            self.error = error
        return Outcome(self.seed, self.clock.hash, self.clock.steps, self.clock.now - self.clock.start, failure)

    def _play(self) -> None:
        clock = self.clock
        for process in (self.allocator, self.manager, *self.agents):
            clock.after(0.01 * clock.rng.random(), process.start)
        for client in self.clients:
            clock.after(0.05 * clock.rng.random(), client.start)
        for owner in self.owners:
            clock.after(0.05 * clock.rng.random(), owner.start)
        for at, kind in self.plan.faults:
            clock.after(at, self._fault, kind)
        clock.after(SPAN + 0.05, self._heal)
        limit = clock.start + PATIENCE
        while clock.step():
            if clock.now > limit or clock.steps > MAX_STEPS:
                raise Broken(self._unrest())
            if self.healed and clock.steps % 16 == 0 and self._at_rest():
                break
        self.truth.final()

    def _at_rest(self) -> bool:
        self.truth.draining(self.allocator.reactor.book)
        if not all(self._done()):
            return False
        # A power cut may have taken a close that was told already: somebody has to close again.
        open_ = [id for id, session in self.manager.reactor.core.sessions.items() if session.state == SessionState.OPEN]
        if open_ and self.disk.history != "h0":
            for id in open_:
                self._operate(id)
            return False
        book = self.allocator.reactor.book
        # What the manager remembers of executors goes as well: its memory must not grow with every fault.
        return (
            not book.placements
            and not self.manager.reactor.core.executors
            and not any(agent.executors or agent.containers.running for agent in self.agents)
        )

    def _done(self) -> Iterator[bool]:
        yield from (client.done for client in self.clients)
        yield from (operator.done for operator in self.operators)
        yield from (owner.done for owner in self.owners)

    def _unrest(self) -> str:
        waiting = [client.name for client in self.clients if not client.done]
        waiting += [op.name for op in self.operators if not op.done]
        waiting += [f"{owner.name} ({owner.stage})" for owner in self.owners if not owner.done]
        processes = [name for agent in self.agents for name in agent.executors]
        known = list(self.manager.reactor.core.executors)
        return (
            f"does not come to rest: clients {waiting}, executors {processes}, known {known}, {self.clock.steps} steps"
        )

    # -- faults

    def _fault(self, kind: str) -> None:
        rng, clock = self.clock.rng, self.clock
        clock.trace("fault", kind)
        if kind == "cut":
            self._cut()
        elif kind == "trap":
            self.network.traps.append((rng.choice(self.plan.traps), self._spring))
        elif kind == "commit":
            self.manager.doomed = True
        elif kind == "manager":
            self._crash_manager()
        elif kind == "allocator":
            self.allocator.kill()
            clock.after(0.01 + 0.3 * rng.random() ** 2, self.revive, self.allocator)
        elif kind == "agent":
            agent = rng.choice(self.agents)
            agent.kill()
            clock.after(0.01 + 0.3 * rng.random() ** 2, self.revive, agent)
        elif kind == "executor":
            running = [executor for agent in self.agents for executor in agent.executors.values()]
            if running:
                rng.choice(running).end(None, 9)
        elif kind == "power":
            self._power()
        elif kind == "disk full":
            self.disk.full = True
            clock.after(0.2 * rng.random(), self._space)
        elif kind == "hiccups":
            self.network.hiccups = 0.2
        elif kind == "compact":
            self.manager.compact()
        elif kind == "choke":
            self.manager.choke(0.2 * rng.random())

    def _spring(self, link: Link, side: int) -> None:
        """The worst moment has come: cut the link, or kill one of its ends before it can do anything else."""
        rng = self.clock.rng
        choice = rng.random()
        self.clock.trace("trap", link.name, side)
        if choice < 0.6 or isinstance(link.ends[side], ClientProcess | OwnerProcess):
            link.break_((0.05 * rng.random(), 0.05 * rng.random()))
        else:
            victim = link.ends[side] if choice < 0.9 else link.ends[1 - side]
            # Not now: the victim may be in the middle of saying it.
            self.clock.after(0.0, self._kill, victim, victim.life)

    def _kill(self, victim: Process, life: int) -> None:
        if victim.life != life:
            return
        if victim is self.manager:
            self._crash_manager()
        elif isinstance(victim, ExecutorProcess):
            victim.end(None, 9)
        elif not isinstance(victim, ClientProcess | OwnerProcess | Operator):
            victim.kill()
            self.clock.after(0.01 + 0.3 * self.clock.rng.random() ** 2, self.revive, victim)

    def _crash_manager(self) -> None:
        self.manager.crash()
        self.clock.after(0.01 + 0.3 * self.clock.rng.random() ** 2, self.revive, self.manager)

    def _cut(self) -> None:
        rng = self.clock.rng
        links: list[Link] = [link for link in self.network.links if link.open[0] and link.open[1] and not link.cut]
        if not links:
            return
        late = [0.0, 0.0]
        if rng.random() < 0.4:
            late[rng.randint(0, 1)] = 1.5 * rng.random() ** 2
        rng.choice(links).break_((late[0], late[1]))

    def _power(self) -> None:
        """The machine goes down; clients are elsewhere."""
        self.manager.crash(power=True)
        self.allocator.kill()
        for agent in self.agents:
            agent.kill()
        for process in (self.allocator, self.manager, *self.agents):
            self.clock.after(0.05 + 0.1 * self.clock.rng.random(), self.revive, process)

    def _space(self) -> None:
        self.disk.full = False

    def _heal(self) -> None:
        """No more faults from here on."""
        self.healed = True
        self.network.traps.clear()
        self.manager.doomed = False
        self.disk.full = False
        self.network.hiccups = 0.0
        self.plan.enter_failures = self.plan.spawn_failures = 0.0


class Operator(Process):
    """Closes a session whose clients have lost its history, if it is still there."""

    def __init__(self, world: World, name: str, session: str) -> None:
        super().__init__(world, name)
        self.session = session
        self.done = False
        self._link: Link | None = None

    def begin(self) -> None:
        self.world.network.dial(self, self.world.manager, Hello("client", client_id=self.name))

    def refused(self, listener: Process) -> None:
        self.after(0.05, self.begin)

    def connected(self, link: Link) -> None:
        self._link = link

    def lost(self, link: Link, side: int) -> None:
        if not self.done:
            self.refused(self.world.manager)

    def receive(self, link: Link, side: int, request: int, message: Message) -> None:
        if isinstance(message, Welcome):
            link.send(0, GetSession(self.session), 1)
        elif request == 1 and type(message).__name__ == "SessionInfo":
            link.send(0, CloseSession(self.session, "cancel"), 2)
        elif request:
            self.done = True
            link.close(0)


def run_seed(seed: int, *, checking: bool = True) -> Outcome:
    """One seed from beginning to end."""
    return World(seed, checking=checking).run()
