"""What the simulator found, one test each: reconnects, restarts and messages that come late."""

import pytest
from test_reactor import ALLOCATOR, CLIENT, World

from flame.core.model import messages as m
from flame.core.model.payloads import pack_payloads
from flame.core.model.reactor import Close, Joined, Lost, Received, Recorded
from flame.core.peers.client import ClientPeer
from flame.core.peers.executor import ExecutorPeer
from flame.core.sessions.reactor import Sessions


@pytest.fixture
def world():
    return World()


def restarted(world, rows=None):
    """A new manager over the first `rows` rows, with the allocator and its grant of e10."""
    sessions = Sessions(world.settings)
    for position in list(world.rows)[:rows]:
        sessions.handle(Recorded(position, world.rows[position]), world.now)
    sessions.begin(2, "h", world.now)
    sessions.handle(Joined(ALLOCATOR, m.Hello("allocator")), world.now)
    sessions.handle(Received(ALLOCATOR, 0, m.Granted("e10", "s", "n1", "token")), world.now)
    world.sessions = sessions
    world.said.clear()
    return sessions


def comes_back(world, *held, peer=20):
    hello = m.Hello("executor", client_id="e10", token="token", session="s", held=held, features=("entered",))
    world.handle(Joined(peer, hello))


def test_one_lease_stated_in_pieces_is_adopted_whole(world):
    world.session()
    world.executor()
    world.submit(*[b"x"] * 10)
    restarted(world)
    comes_back(world, 1, 4, 1, 7, 1, 5, 1, 1, 7, 1, 6, 5, 1, 7, 1)
    assert world.sessions.core.executors["e10"].outstanding == 10


def test_what_the_journal_never_had_is_not_adopted(world):
    """Hand-outs leave before their tasks are committed."""
    world.session()
    world.executor()
    before = len(world.rows)
    world.submit(b"x")
    restarted(world, before)
    world.handle(Joined(30, m.Hello("client", client_id="other", features=("results",))))
    world.ask(m.Submit("s", 1, *pack_payloads([b"another"])), 30)
    comes_back(world, 1, 1, 1, 1, 1)
    assert world.sessions.core.executors["e10"].outstanding == 0
    assert world.heard(20, m.Recall)


def test_the_highest_lease_wins(world):
    world.session()
    world.executor()
    world.submit(b"x")
    restarted(world)
    comes_back(world, 1, 1, 1, 3, 1, 1, 1, 1, 5, 1)
    assert list(world.sessions.core.executors["e10"].handouts) == [(1, 5)]


def test_an_executor_drained_before_it_came_is_told_to_leave(world):
    world.session()
    world.handle(Received(ALLOCATOR, 0, m.Granted("e10", "s", "n1", "token")))
    world.handle(Received(ALLOCATOR, 0, m.DrainExecutor("e10", "share")))
    world.handle(Joined(10, m.Hello("executor", client_id="e10", token="token")))
    assert world.heard(10, m.Leave)


def test_an_executor_that_is_given_up_is_hung_up_on(world):
    world.session()
    peer = world.executor()
    effects = world.sessions.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "agent lost")), world.now)
    assert [effect.peer for effect in effects if isinstance(effect, Close)] == [peer]


def test_a_blocked_executor_that_reconnects_is_free_unless_it_says_so(world):
    world.session()
    peer = world.executor()
    world.handle(Received(peer, 0, m.Blocked("s", True)))
    world.handle(Lost(peer))
    comes_back(world)
    assert world.sessions.core.executors["e10"].usable


def test_an_earlier_connection_heard_of_late_changes_nothing(world):
    world.session()
    world.executor(peer=10)
    comes_back(world, peer=20)
    comes_back(world, peer=15)
    world.handle(Lost(15))
    assert world.sessions.core.executors["e10"].peer == 20


def test_an_executor_started_by_hand_is_not_named_to_the_allocator(world):
    world.session()
    world.handle(Joined(10, m.Hello("executor", client_id="mine", session="s", features=("by-hand",))))
    world.handle(Lost(ALLOCATOR))
    world.said.clear()
    world.handle(Joined(ALLOCATOR + 1, m.Hello("allocator")))
    assert [joined.placements for joined in world.heard(ALLOCATOR + 1, m.ManagerJoined)] == [()]


def test_a_session_closed_while_the_allocator_was_away_is_told(world):
    world.session()
    world.executor()
    world.handle(Lost(ALLOCATOR))
    world.ask(m.CloseSession("s"))
    world.handle(Joined(ALLOCATOR + 1, m.Hello("allocator")))
    assert [gone.session for gone in world.heard(ALLOCATOR + 1, m.DemandGone)] == ["s"]


def test_waiting_tasks_correct_what_the_allocator_was_told_of_idle_executors(world):
    world.session()
    peer = world.executor()
    world.submit(b"a", b"b", seq=1)
    world.handle(Lost(peer))
    world.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "agent lost")))
    assert world.sessions.core.sessions["s"].demand.idle == 0


def test_results_of_an_archived_session_reach_a_client_that_was_away(world):
    world.session()
    world.executor()
    world.submit(b"x")
    world.handle(Lost(CLIENT))
    run = world.assigned()[0]
    world.complete(run, b"y")
    world.handle(Joined(5, m.Hello("client", client_id="op")))
    world.ask(m.CloseSession("s"), 5)
    world.handle(Received(ALLOCATOR, 0, m.PlacementGone("e10", "s", "left")))
    world.handle(Joined(6, m.Hello("client", client_id="c", features=("results",))))
    world.ask(m.Resume("s", ()), 6)
    assert [found.blob for found in world.heard(6, m.Results)] == [b"y"]


def test_a_result_may_overtake_the_acknowledgement_of_its_frame():
    peer, found = ClientPeer("c"), []

    def resolve(tickets, codes, payloads, first):
        found.extend(zip(tickets, payloads, strict=True))

    window = peer.window("s", resolve, str.encode)
    window.queue.extend(["A", "B"])
    peer.joined(m.Welcome(1, 1, "h", "power"))
    peer.pump()
    peer.receive(m.Results("s", (1, 1), b"", *pack_payloads([b"done"])))
    assert found == []
    peer.receive(m.Submitted("s", 1, 1, 2))
    assert found == [("A", b"done")]


def test_an_executor_says_again_that_it_is_blocked_and_forgets_that_it_was_to_leave():
    peer = ExecutorPeer("e", "t", "s")
    peer.joined()
    peer.receive(m.Leave())
    peer.block(True)
    peer.lost()
    peer.joined()
    assert (peer.leaving, peer.drain()) == (False, [m.Blocked("s", True)])


def test_an_executor_that_is_back_before_its_grant_is_welcomed_with_it():
    """It says its results again at the welcome: one that came before the grant would have been lost."""
    world = World()
    world.session()
    world.executor()
    world.submit(b"x")
    (run,) = world.assigned()
    world.restart()
    hello = m.Hello("executor", client_id="e10", token="token", held=run, features=("entered",))
    world.handle(Joined(20, hello))
    assert not world.heard(20, m.Welcome)
    world.complete(run, b"y", peer=20)
    assert not world.heard(20, m.Failure), "an executor that hears a failure gives up"
    world.handle(Received(ALLOCATOR, 0, m.Granted("e10", "s", "n1", "token")))
    assert world.heard(20, m.Welcome)
    world.complete(run, b"y", peer=20)
    assert world.results() == {1: (0, b"y")}
