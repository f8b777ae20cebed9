"""Random histories of the allocator: whatever agents, managers and time do, its promises hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flame.core.model import messages as m
from flame.core.model.reactor import Close
from flame.core.peers.agent import AgentPeer, Signal, Spawn
from flame.testing.world import World, a_demand, a_node, an_app

STEPS = [
    "demand",
    "gone",
    "start",
    "exit",
    "idle",
    "lend",
    "agent",
    "manager",
    "beat",
    "wait",
    "long",
    "kill",
    "restart",
]


class History:
    """Two agents of real peers, one manager, and at every step one thing that happens."""

    def __init__(self) -> None:
        self.world = World()
        self.agents = [AgentPeer([a_node(f"n{n}", cpus=2)]) for n in range(2)]
        self.wishes: dict[str, m.DemandChanged] = {}
        self.told: dict[str, m.Granted] = {}
        self.alive: set[str] = set()
        self.connect()

    def connect(self) -> None:
        world = self.world
        self.manager = world.manager(*self.told)
        for wish in self.wishes.values():
            world.tell(self.manager, wish)
        self.peers = [world.join("agent") for _ in self.agents]
        for agent in self.agents:
            agent.joined(world.now)
        self.pump()

    def pump(self) -> None:
        """Everything said arrives."""
        world = self.world
        for _ in range(50):
            closed = [effect.peer for effect in world.effects if isinstance(effect, Close)]
            world.effects.clear()
            for which in [n for n, peer in enumerate(self.peers) if peer in closed]:
                self.reconnect(which)
            for agent, peer in zip(self.agents, self.peers, strict=True):
                for kind in (m.StartPlacement, m.StopPlacement):
                    for message in world.take(kind, peer):
                        agent.receive(message, world.now)
                for action in agent.actions():
                    if isinstance(action, Spawn):
                        self.alive.add(action.order.id)
                        agent.spawned(action.order.id, 1, world.now)
                    elif isinstance(action, Signal) and action.id in agent.processes:
                        self.exit(agent, action.id)
                world.tell(peer, *agent.drain())
            for granted in world.take(m.Granted):
                self.told[granted.placement] = granted
            for gone in world.take(m.PlacementGone):
                self.told.pop(gone.placement, None)
            for drain in world.take(m.DrainExecutor):
                for agent in self.agents:
                    if drain.placement in agent.processes:
                        self.exit(agent, drain.placement)
            if not any(isinstance(s.message, m.StartPlacement | m.StopPlacement | m.DrainExecutor) for s in world.said):
                return

    def exit(self, agent: AgentPeer, id: str) -> None:
        self.alive.discard(id)
        agent.exited(id, 0, None, (), "", self.world.now)

    def step(self, what: str, n: int, k: int) -> None:
        world, session, which = self.world, f"s{n % 3}", n % 2
        if what == "demand":
            wish = a_demand(
                session, want=k, min_instances=min(n % 2, k), max_instances=3, app_spec=an_app(max_instances=4)
            )
            self.wishes[session] = wish
            world.tell(self.manager, wish)
        elif what == "gone" and self.wishes.pop(session, None):
            world.tell(self.manager, m.DemandGone(session))
        elif what == "exit" and self.agents[which].processes:
            self.exit(self.agents[which], list(self.agents[which].processes)[0])
        elif what in ("idle", "lend") and self.told:
            granted = list(self.told.values())[k % len(self.told)]
            world.tell(
                self.manager, m.ExecutorChanged(granted.placement, granted.session, 4, what == "idle", what == "lend")
            )
        elif what == "agent":
            self.reconnect(which)
        elif what == "manager":
            world.lose(self.manager)
            self.pump()
            self.manager = world.manager(*self.told)
            world.tell(self.manager, *self.wishes.values())
        elif what == "kill" and self.told:
            world.tell(self.manager, m.KillExecutor(list(self.told)[0], "test"))
        elif what == "restart":
            world.restart()
            world.said.clear()
            self.connect()
        else:
            world.wait(12.0 if what == "long" else 0.3)
        if what == "beat":
            world.tell(self.peers[which], m.Heartbeat(f"n{which}", world.now))

    def reconnect(self, which: int) -> None:
        self.world.lose(self.peers[which])
        self.agents[which].lost()
        self.peers[which] = self.world.join("agent")
        self.agents[which].joined(self.world.now)

    def check(self) -> None:
        book = self.world.allocator.book
        assert len(self.alive) <= 4 + sum(p.lent for p in book.placements.values()) + sum(
            node.overdraft.get("cpu", 0) // 1000 for node in book.nodes.values()
        ), "more processes than CPUs"
        for session in self.wishes:
            mine = [p for p in book.placements.values() if p.session == session and not p.zombie]
            assert len(mine) <= 3, f"{session} exceeds its maximum"


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5), st.integers(0, 6)), max_size=25))
def test_no_history_oversubscribes_or_exceeds_a_limit(steps):
    history = History()
    for what, n, k in steps:
        history.step(what, n, k)
        history.pump()
        history.check()
    for session in list(history.wishes):
        history.world.tell(history.manager, m.DemandGone(session))
    for _ in range(3):
        history.pump()
        history.world.wait(11.0)
        for peer, name in zip(history.peers, ("n0", "n1"), strict=True):
            history.world.tell(peer, m.Heartbeat(name, history.world.now))
    history.pump()
    assert not history.alive, "closed sessions drain"
    assert not history.world.allocator.book.placements
