"""kill -9, full disks, wrong tokens: the engine goes on and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

import flame
from flame.cluster.parent import MAX_RESTARTS
from flame.core.model import messages as m
from flame.core.model.payloads import pack_payloads
from flame.sdk import way
from flame.sdk.local import PrivateCluster
from flame.shell.address import parse
from flame.testing.cluster import LocalCluster, eventually
from flame.wire.codec import Deframer, decode, frame

MOMENTS = int(os.environ.get("FLAME_KILL_MOMENTS", "8"))
TASKS = int(os.environ.get("FLAME_KILL_TASKS", "20000"))


@pytest.mark.parametrize("durability", ["power", "process"])
def test_kill_9_of_any_process_loses_nothing(durability):
    """The same client object finishes, every task has exactly one recorded result."""
    rng = random.Random(11)
    with LocalCluster(durability=durability) as cluster, cluster.connect() as client:
        for moment in range(MOMENTS // 2):
            victim = ("manager", "allocator", "agent", "executor")[moment % 4]
            session = client.session("flmping")
            futures = [session.run() for _ in range(TASKS // 2)]
            time.sleep(rng.uniform(0, 0.1))
            kill(cluster, client, session.id, victim)
            futures += [session.run() for _ in range(TASKS // 2)]
            outputs = [f.result(60) for f in futures]
            assert all(b"Completed" in o for o in outputs)
            info = session.status()
            assert (info.succeed, info.failed, info.pending, info.running) == (TASKS, 0, 0, 0), victim
            session.close()


def kill(cluster, client, session, victim):
    if victim != "executor":
        cluster.kill(victim)
        return
    for executor in client.list_executors():
        if executor.session == session and executor.pid:
            os.kill(executor.pid, signal.SIGKILL)
            return


def test_results_survive_a_restart_of_everything(tmp_path):
    """A-13: counts, creation time and payloads of a restarted engine."""
    with LocalCluster(tmp_path / "d", durability="power") as cluster:
        with cluster.connect() as client, client.session("flmping", detached=True) as session:
            list(session.map([None] * 5000))
        before = session.info
        cluster.stop()
        cluster.start()
        with cluster.connect() as client:
            after = client.get_session(session.id)
            assert (after.succeed, after.state, after.created) == (5000, 1, before.created)
            joined = [t.output for t in flame.sdk.session.Session(client.link, after, owned=False).list_tasks()]
            assert len(joined) == 5000
            assert all(b"Completed" in o for o in joined)


def test_open_sessions_go_on_after_a_restart(tmp_path):
    with LocalCluster(tmp_path / "d") as cluster:
        with cluster.connect() as client:
            session = client.session("flmping", id="goes-on", detached=True, resources="cpu=400")
            for _ in range(100):
                session.run()
            session.flush()
        cluster.stop()
        cluster._options["cpus"] = 401.0
        cluster.start()
        with cluster.connect() as client:
            eventually(lambda: client.get_session("goes-on").succeed == 100)


def test_a_paused_manager_pauses_the_client_and_nothing_else():
    with LocalCluster() as cluster, cluster.connect() as client, client.session("flmping") as session:
        session.invoke()
        pid = cluster.pid("manager")
        os.kill(pid, signal.SIGSTOP)
        futures = [session.run() for _ in range(1000)]
        time.sleep(0.5)
        assert not any(f.done() for f in futures)
        os.kill(pid, signal.SIGCONT)
        assert all(f.result(30) for f in futures)


def test_a_full_disk_stops_acknowledging_says_so_and_recovers():
    with LocalCluster(durability="power") as cluster, cluster.connect() as client, client.session("flmping") as session:
        session.invoke()
        size = (cluster.data_dir / "sessions.db-wal").stat().st_size
        pid = cluster.pid("manager")
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 20_000, hard))
        futures = [session.run(b"{}" + b" " * 5000) for _ in range(300)]
        eventually(lambda: "storage full" in client.status().storage)
        time.sleep(0.3)
        assert not all(f.done() for f in futures)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert all(f.result(60) for f in futures)
        assert client.status().storage == "ok"
        assert session.status().succeed == 301


@pytest.mark.parametrize("times", [2, None])
def test_a_cluster_that_is_not_ready_yet_is_asked_again(times, tmp_path, monkeypatch):
    monkeypatch.setattr(way, "GREET", 1.0)
    asked = []

    def serve(listener):
        with listener:
            while times is None or len(asked) <= times:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    asked.append(sock.recv(65536))
                    ready = len(asked) - 1 == times
                    answer = m.Welcome(1, 1, "h", "process") if ready else m.Failure("unavailable", "not yet")
                    sock.sendall(frame(answer))
                    if ready:
                        sock.recv(65536)

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "m.sock"))
    listener.listen()
    thread = threading.Thread(target=serve, args=(listener,))
    thread.start()
    try:
        if times is None:
            with pytest.raises(flame.Unavailable, match="not yet"):
                flame.connect(f"unix://{tmp_path}/m.sock")
            assert len(asked) > 3
        else:
            flame.connect(f"unix://{tmp_path}/m.sock").close()
            assert len(asked) == 3
    finally:
        with contextlib.suppress(OSError):  # closed by the thread, when it is done
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


class Raw:
    """A client by hand: one connection."""

    def __init__(self, cluster):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(parse(cluster.run.endpoint).path)
        self.deframer, self.came = Deframer(), []
        self.ask(m.Hello("client", client_id="by-hand"), m.Welcome)

    def ask(self, message, *kinds):
        self.sock.sendall(frame(message, 7))
        while True:
            for request, answer in self.came:
                if isinstance(answer, (*kinds, m.Failure)) and request in (0, 7):
                    self.came.clear()
                    return answer
            data = self.sock.recv(65536)
            if not data:
                return None
            self.came += [decode(envelope) for envelope in self.deframer.feed(data)]


def test_a_frame_that_was_committed_is_not_refused_when_it_comes_again_to_a_full_disk():
    """Refused, it would come once more under a new key, and its tasks would run twice."""
    with LocalCluster(durability="power") as cluster, cluster.connect() as client:
        session = client.session("flmping", id="s", detached=True)
        first = m.Submit("s", 1, *pack_payloads([None] * 3))
        raw = Raw(cluster)
        submitted = raw.ask(first, m.Submitted)
        assert (submitted.first, submitted.count) == (1, 3)
        raw.sock.close()
        pid = cluster.pid("manager")
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, ((cluster.data_dir / "sessions.db-wal").stat().st_size, hard))
        late = session.run(b"{}" + b" " * 50_000)
        eventually(lambda: "storage full" in client.status().storage)
        raw = Raw(cluster)
        assert raw.ask(first, m.Submitted) == submitted
        assert raw.ask(m.Submit("s", 2, *pack_payloads([None])), m.Submitted).code == "storage_full"
        raw.sock.close()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert late.result(60)
        eventually(lambda: session.status().succeed == 4)


def test_no_process_outlives_a_killed_client(tmp_path):
    script = textwrap.dedent("""
        import flame, sys, time
        client = flame.connect()
        session = client.session("flmping")
        session.invoke()
        print(client.private.pid, *[e.pid for e in client.list_executors()], flush=True)
        time.sleep(600)
    """)
    environment = os.environ | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    environment.pop("FLAME_ENDPOINT", None)
    child = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pids = [int(p) for p in child.stdout.readline().split()]
    assert len(pids) > 1
    child.kill()
    child.wait()
    child.stdout.close()
    eventually(lambda: not any(alive(p) for p in pids), seconds=2.0, what="processes of the private cluster live on")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_second_cluster_in_the_same_directory_is_refused():
    with LocalCluster() as cluster:
        again = PrivateCluster({"data_dir": str(cluster.data_dir)}, fall_back=False)
        with pytest.raises(flame.DataDirLocked):
            again.wait()


def test_a_taken_port_is_typed():
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(flame.PortTaken, match=str(port)):
        LocalCluster(listen=f"127.0.0.1:{port}").start()
    taken.close()


@pytest.mark.parametrize("option", ["listen", "compat"])
def test_nothing_plain_listens_beyond_this_machine(option):
    with pytest.raises(flame.InvalidArgument, match="loopback"):
        LocalCluster(**{option: "tcp://0.0.0.0:0"}).start()


def test_tcp_wants_the_token(monkeypatch):
    with LocalCluster(listen="127.0.0.1:0") as cluster:
        endpoint = cluster.run.listen
        monkeypatch.setenv("FLAME_TOKEN", "")
        monkeypatch.setenv("FLAME_TOKEN_FILE", os.devnull)
        with pytest.raises(flame.Unauthenticated, match="wants a token"):
            flame.connect(endpoint)
        monkeypatch.setenv("FLAME_TOKEN", "wrong")
        with pytest.raises(flame.Unauthenticated, match="not known here"):
            flame.connect(endpoint)
        monkeypatch.delenv("FLAME_TOKEN")
        monkeypatch.setenv("FLAME_TOKEN_FILE", cluster.run.token_file)
        with flame.connect(endpoint) as client, client.session("flmping") as session:
            assert session.invoke()
        assert os.stat(cluster.run.token_file).st_mode & 0o777 == 0o600


def test_sockets_are_private(cluster):
    path = parse(cluster.run.endpoint).path
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 20,
        b"\xff" * 64,
        b"\x05\0\0\0hello",
        frame(m.GetStatus(), 1),
        frame(m.Hello("client", magic="OTHER")),
        frame(m.Hello("client", version_min=90, version_max=99)),
    ],
)
def test_garbage_is_answered_with_a_failure_and_harms_nobody(cluster, client, garbage):
    path = parse(cluster.run.endpoint).path
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(garbage)
        while sock.recv(65536):
            pass
    with client.session("flmping") as session:
        assert session.invoke()


def test_a_dead_endpoint_is_typed_at_once():
    begun = time.monotonic()
    with pytest.raises(flame.Unavailable, match="nowhere"):
        flame.connect("unix:///tmp/nowhere-at-all.sock")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080", "unix://relative", "just-a-name", "tcp://host"])
def test_bad_endpoints_are_explained(endpoint):
    with pytest.raises((flame.InvalidArgument, flame.Unavailable)):
        flame.connect(endpoint)


def test_futures_end_when_the_cluster_is_gone_for_good():
    cluster = LocalCluster().start()
    client = cluster.connect()
    client.link.reconnect_for = 0.5
    session = client.session("flmping", resources="cpu=400")
    future = session.run()
    session.flush()
    cluster.stop()
    with pytest.raises(flame.Unavailable):
        future.result(20)
    client.close()


def test_threads_submit_side_by_side(client):
    with client.session("flmping") as session:
        counts = []

        def feed():
            counts.append(sum(1 for f in [session.run() for _ in range(3000)] if f.result(60)))

        threads = [threading.Thread(target=feed) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert counts == [3000] * 6
        assert session.status().succeed == 18000


def test_snapshots_are_written_while_running_and_recovery_uses_them(tmp_path):
    """Small sessions until several snapshots are made, kill -9 in between; everything is there afterwards."""
    with LocalCluster(tmp_path / "d", durability="power", compact_rows=40) as cluster, cluster.connect() as client:
        snapshot = lambda: int((read_meta(cluster.data_dir / "sessions.db") or {}).get("snapshot", 0))  # noqa: E731
        standing = client.session("flmping", id="standing", detached=True)
        futures = [standing.run() for _ in range(500)]
        for _ in range(30):
            with client.session("flmping", detached=True) as session:
                list(session.map([None] * 20))
        eventually(lambda: snapshot() > 0)
        doomed = client.session("flmping", id="doomed")
        doomed.invoke()
        doomed.close()
        client.delete_session("doomed")
        again = client.session("flmping", id="doomed", detached=True)
        assert again.invoke()
        first = snapshot()
        for _ in range(30):
            with client.session("flmping", detached=True) as session:
                list(session.map([None] * 20))
        eventually(lambda: snapshot() > first)
        cluster.kill("manager")
        assert all(f.result(30) for f in futures)
        assert standing.invoke()
        sessions = client.list_sessions()
        assert len(sessions) == 62
        assert sum(s.succeed for s in sessions) == 501 + 60 * 20 + 1
        assert all(t.output for s in sessions for t in client.link.ask(m.ListTasks(s.id)).tasks)


def read_meta(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return dict(connection.execute("SELECT key, value FROM meta"))
    finally:
        connection.close()


def test_an_executor_that_cannot_start_leaves_no_directory():
    """The disk of the agent is full: nothing stays of the attempt, and the task runs once there is room."""
    with LocalCluster() as cluster, cluster.connect() as client:
        work = cluster.data_dir / "work" / "executors"
        pid = cluster.pid("agent")
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        with client.session("flmping", max_instances=1) as session:
            future = session.run()
            # More often than a service may fail: what the node lacks is not counted against it.
            eventually(lambda: failed_starts(client, session.id) > 5, what="no failed start")
            left = list(work.iterdir())
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert future.result(30)
        assert not left


def failed_starts(client, session):
    return sum(event.count for event in client.get_session(session).events if "cannot start" in event.message)


def test_a_process_that_dies_while_the_disk_is_full_takes_nothing_with_it():
    """The run file cannot be written: the supervisor goes on, and writes it once it can."""
    with LocalCluster() as cluster, cluster.connect() as client, client.session("flmping") as session:
        session.invoke()
        supervisor = psutil.Process(cluster.pid("supervisor"))
        _, hard = supervisor.rlimit(psutil.RLIMIT_FSIZE)
        supervisor.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
        old = cluster.kill("allocator")
        eventually(lambda: not alive(old))
        assert session.run().result(20)
        assert cluster.pid("allocator") == old, "something wrote to a full disk"
        for process in [supervisor, *supervisor.children(recursive=True)]:
            process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        eventually(lambda: cluster.pid("allocator") != old)
        with client.session("flmping") as again:
            assert again.invoke()


def test_a_manager_that_cannot_open_its_journal_is_started_until_it_can():
    """More often than a process may die: a full disk passes, and nobody has to start the cluster again."""
    with LocalCluster() as cluster:
        with cluster.connect() as client:
            client.session("flmping", id="kept", detached=True).invoke()
        supervisor = psutil.Process(cluster.pid("supervisor"))
        _, hard = supervisor.rlimit(psutil.RLIMIT_FSIZE)
        supervisor.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
        lives, others = set(), {child.pid for child in supervisor.children()}
        cluster.kill("manager")

        def many() -> bool:
            lives.update(child.pid for child in supervisor.children() if child.pid not in others)
            return len(lives) > MAX_RESTARTS + 1

        eventually(many, 90, "it is not started again")
        supervisor.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        with cluster.connect() as client:
            assert client.open_session("kept").invoke()
