"""What users and broken programs send: each a clear typed error, nothing lost, and the engine goes on."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time

import pytest

import flame
from flame.core.model import messages as m
from flame.core.model.messages import BY_HAND
from flame.core.model.payloads import MAX_PAYLOAD
from flame.shell.address import connect, parse
from flame.testing.cluster import LocalCluster, eventually
from flame.wire.codec import Deframer, decode, frame

HUGE = "x" * 10_000_000


@pytest.fixture(scope="module")
def cluster():
    patch = pytest.MonkeyPatch()
    for name, seconds in (("START", "10"), ("ENTER", "4"), ("LEAVE", "1")):
        patch.setenv(f"FLAME_{name}_LIMIT", seconds)
    with LocalCluster(compat="127.0.0.1:0", listen="127.0.0.1:0") as made:
        patch.undo()
        yield made


@pytest.fixture
def client(cluster):
    """After every test the same manager still runs tasks."""
    manager = cluster.pid("manager")
    with cluster.connect() as made:
        yield made
        assert b"Completed" in made.session("flmping").invoke(timeout=30)
        assert cluster.pid("manager") == manager
        assert "Traceback" not in cluster.log("manager")


# -- requests --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["../x", "", "a/b", "a\\b", "..", "a\x00b", "a\nb", HUGE, "\ud800"])
def test_bad_session_ids(client, id):
    with pytest.raises(flame.InvalidArgument) as refused:
        client.session("flmping", id=id)
    assert len(refused.value.message) < 300


def test_an_unknown_application_is_told_what_there_is(client):
    with pytest.raises(flame.NotFound, match="flmping") as refused:
        client.session("nope")
    assert "register" in refused.value.hint
    with pytest.raises(flame.NotFound) as refused:
        client.session(HUGE)
    assert len(refused.value.message) < 300


def test_a_closed_session_takes_nothing(client):
    session = client.session("flmping")
    session.close()
    with pytest.raises(flame.SessionClosed):
        session.run()
    with pytest.raises(flame.SessionClosed):
        client.open_session(session.id)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": float("nan")}, {"timeout": -1.0}, {"timeout": "5"}, {"priority": "high"}, {"priority": 2**70}, {"resources": 5},
        {"resources": "cpu=x"}, {"resources": "cpu=-1"}, {"resources": "foo=1"}, {"min_instances": 3, "max_instances": 1},
        {"common_data": "text"}, {"backoff": float("inf")}, {"resources": {"memory": "2Gi"}},
    ],
    ids=repr,
)  # fmt: skip
def test_options_that_make_no_sense(client, options):
    with pytest.raises(flame.InvalidArgument):
        client.session("flmping", **options)


def test_more_than_fits_is_refused_before_it_is_sent(client):
    with client.session("flmping") as session:
        with pytest.raises(flame.PayloadTooLarge, match="67,108,864"):
            session.run(bytes(MAX_PAYLOAD + 1))
        assert b"Completed" in session.invoke(timeout=30)
    for size in (MAX_PAYLOAD + 1, 90 * 1024 * 1024):
        with pytest.raises(flame.PayloadTooLarge):
            client.session("flmping", common_data=bytes(size))


@pytest.mark.parametrize("object", ["{}/abc", "{}/-1", "{}/1.5", "{}/" + "9" * 5000])
def test_explain_of_what_is_no_task(client, object):
    with client.session("flmping") as session, pytest.raises(flame.InvalidArgument):
        client.explain(object.format(session.id))


def test_tasks_that_are_not_there(client):
    with client.session("flmping") as session:
        for no in (0, -1, 99):
            with pytest.raises(flame.NotFound):
                session.get_task(no)
        with pytest.raises(flame.InvalidArgument):
            session.get_task(2**70)


def test_what_cannot_be_pickled_says_what_stands_in_the_way(client):
    lock = threading.Lock()

    def made():
        return threading.Lock()

    with flame.FlameExecutor(client=client) as pool:
        with pytest.raises(flame.Unpicklable, match="argument"):
            pool.submit(print, lock)
        with pytest.raises(flame.Unpicklable, match="function"):
            pool.submit(lambda: lock)
        with pytest.raises(flame.Unpicklable, match="result"):
            pool.submit(made).result(30)
        assert pool.submit(sum, [1, 2]).result(30) == 3


# -- services --------------------------------------------------------------------------------------------------------------


class HangsInEnter(flame.FlameService):
    def on_session_enter(self, ctx):
        time.sleep(600)

    def on_task_invoke(self, ctx):
        return b""


class HangsInInvoke(flame.FlameService):
    def on_task_invoke(self, ctx):
        if ctx.input == b"hang":
            time.sleep(600)
        return ctx.input


class HangsInLeave(flame.FlameService):
    def on_task_invoke(self, ctx):
        return str(os.getpid()).encode()

    def on_session_leave(self):
        time.sleep(600)


class ExitsAtOnce(flame.FlameService):
    def on_session_enter(self, ctx):
        os._exit(9)

    def on_task_invoke(self, ctx):
        return b""


class ReturnsTooMuch(flame.FlameService):
    def on_task_invoke(self, ctx):
        return bytes(MAX_PAYLOAD + 1) if ctx.input == b"bytes" else "a text" if ctx.input == b"text" else b"ok"


def test_a_service_that_hangs_in_enter_is_ended_and_the_tasks_are_told(client):
    session = client.session(HangsInEnter, max_instances=4)
    with pytest.raises(flame.ServiceFailed, match="hung"):
        session.run().result(60)
    assert any("return_code 12" in event.message for event in session.status().events)
    session.close("cancel")
    eventually(lambda: not [e for e in client.list_executors() if e.session == session.id], 20, "executors stay")


def test_a_service_that_hangs_in_invoke_ends_by_its_timeout_and_the_others_run(client):
    with client.session(HangsInInvoke, timeout=0.3) as session:
        futures = [session.run(data) for data in (b"a", b"hang", b"b")]
        with pytest.raises(flame.TaskTimeout, match=r"0\.3 s"):
            futures[1].result(30)
        assert [futures[0].result(30), futures[2].result(30)] == [b"a", b"b"]


def test_a_service_that_hangs_in_leave_is_ended(client):
    session = client.session(HangsInLeave)
    pid = int(session.invoke(timeout=30))
    session.close()
    eventually(lambda: not _alive(pid), 20, f"process {pid} lives on")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_service_that_exits_at_once_fails_the_tasks_with_the_exit_code(client):
    session = client.session(ExitsAtOnce)
    with pytest.raises(flame.ServiceFailed, match="exited with code 9"):
        session.run().result(60)
    session.close("cancel")


def test_a_service_that_returns_too_much_or_no_bytes(client):
    with client.session(ReturnsTooMuch) as session:
        with pytest.raises(flame.PayloadTooLarge, match="67,108,865"):
            session.invoke(b"bytes", timeout=60)
        with pytest.raises(flame.TaskFailed, match="returned str"):
            session.invoke(b"text", timeout=60)
        assert session.invoke(b"", timeout=60) == b"ok"


# -- the wire --------------------------------------------------------------------------------------------------------------


class Raw:
    """A connection that says what it likes."""

    def __init__(self, endpoint, hello=None):
        self.sock = connect(parse(endpoint), 10)
        self.sock.settimeout(10)
        self.deframer = Deframer()
        self.heard = []
        if hello is not None:
            self.say(hello)
            assert isinstance(self.next(), m.Welcome)

    def say(self, message, request=0):
        self.sock.sendall(frame(message, request))

    def next(self):
        """The next message, or None at the end of the connection."""
        while not self.heard:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self.heard += [decode(bytes(envelope))[1] for envelope in self.deframer.feed(data)]
        return self.heard.pop(0)

    def ask(self, message):
        self.say(message, 7)
        return self.next()


@pytest.fixture
def dial():
    """Raw, closed at the end."""
    made = []

    def to(*args):
        made.append(Raw(*args))
        return made[-1]

    yield to
    for one in made:
        one.sock.close()


@pytest.fixture
def raw(cluster, dial):
    return dial(cluster.run.endpoint, m.Hello("client", client_id="raw", features=("results",)))


@pytest.mark.parametrize(
    "message",
    [
        m.CancelTasks("{}", (1,)), m.CancelTasks("{}", (1, -1)), m.Resume("{}", (1, 2, 3)), m.Submit("{}", 9, b"", b""),
        m.Submit("{}", 9, b"\1\0\0", b""), m.Submit("{}", 9, b"\7\0\0\0", b"x"), m.Granted("p", "{}", "n", "t"), m.Welcome(1, 1, "", ""),
        m.RegisterNode("n", {}, {}),
    ],
    ids=repr,
)  # fmt: skip
def test_broken_messages_cost_the_connection_and_nothing_else(client, raw, message):
    with client.session("flmping") as session:
        if "session" in message.__struct_fields__:
            message = type(message)(
                **{name: getattr(message, name) for name in message.__struct_fields__} | {"session": session.id}
            )
        answer = raw.ask(message)
        assert isinstance(answer, m.Failure)
        assert answer.code == "protocol"
        assert raw.next() is None
        assert b"Completed" in session.invoke(timeout=30)


@pytest.mark.parametrize(
    "message", [m.Completed("s", 1, (), b"", b"", b"", 0.0, 0.0), m.Entered(0), m.Left()], ids=repr
)
def test_a_client_that_talks_like_an_executor(client, raw, message):
    answer = raw.ask(message)
    assert isinstance(answer, m.Failure)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, random.Random(302).randbytes(4096), struct.pack("<I", 1 << 31),
        struct.pack("<I", 5) + b"\xff" * 5,
        frame(m.GetStatus()), frame(m.Hello("client", magic="ICE")), frame(m.Hello("client", client_id=HUGE)),
        frame(m.Hello("agent")), frame(m.Hello("")),
    ],
    ids=lambda data: repr(bytes(data[:12])),
)  # fmt: skip
def test_what_is_no_hello_is_answered_and_dropped(client, cluster, dial, data):
    wild = dial(cluster.run.endpoint)
    wild.sock.sendall(data)
    wild.sock.shutdown(socket.SHUT_WR)
    last = None
    while (answer := wild.next()) is not None:
        last = answer
    assert last is None or isinstance(last, m.Failure)


@pytest.mark.parametrize(
    "hello",
    [
        m.Hello("client"), m.Hello("client", token="wrong"), m.Hello("client", token="€"),
        m.Hello("executor", client_id="hand", features=(BY_HAND,)), m.Hello("executor", client_id="hand", token="x", features=(BY_HAND,)),
    ],
    ids=repr,
)  # fmt: skip
def test_tcp_wants_the_token_of_everybody_who_was_not_placed(client, cluster, dial, hello):
    wild = dial(cluster.run.listen)
    wild.say(hello)
    answer = wild.next()
    assert isinstance(answer, m.Failure)
    assert answer.code == "unauthenticated"


def test_a_guessed_executor_learns_nothing(client, cluster, dial):
    wild = dial(cluster.run.listen)
    wild.say(m.Hello("executor", client_id="guess", token="guess"))
    answer = wild.ask(m.ListSessions())
    assert isinstance(answer, m.Failure)
    assert answer.code == "permission_denied"


@pytest.mark.parametrize(
    "data",
    [b"\0" * 1024, random.Random(343).randbytes(64 * 1024), b"GET / HTTP/1.1\r\n\r\n"],
    ids=lambda d: repr(d[:8]),
)
def test_garbage_at_the_grpc_listener(client, cluster, data):
    host, port = cluster.run.compat.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(data)
        sock.settimeout(10)
        try:
            while sock.recv(4096):
                pass
        except OSError:
            pass
