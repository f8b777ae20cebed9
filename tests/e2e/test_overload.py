"""More than the engine may hold: senders slow down and are then refused, slow readers wait for themselves, and control goes on."""

from __future__ import annotations

import signal
import socket
import statistics
import threading
import time

import grpc
import psutil
import pytest

from flame.core.base.errors import Exhausted, SessionClosed
from flame.core.model import messages as m
from flame.core.model.payloads import pack_payloads
from flame.sdk.connect import connect
from flame.shell.address import connect as dial
from flame.shell.address import parse
from flame.testing.cluster import LocalCluster, eventually
from flame.wire.codec import Deframer, decode, frame


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(listen="tls://127.0.0.1:0", advertise="127.0.0.1") as made:
        yield made


def of_tenant(cluster, name: str, **limits: int):
    with cluster.connect() as local:
        local.set_tenant(name, **limits)
        token = local.create_token(name, "user", name).token
    return token, cluster.data_dir / "certs" / "ca.pem"


def test_a_full_queue_slows_the_sender_down_and_loses_nothing(cluster):
    token, ca = of_tenant(cluster, "slow", max_queued=500)
    with connect(cluster.run.listen, token=token, ca_file=ca) as client, client.session("flmping") as session:
        futures = [session.run(None) for _ in range(5000)]
        assert all(f.result(100) for f in futures)
        info = client.get_session(session.id)
        assert (info.succeed, info.failed) == (5000, 0)


def test_a_queue_that_stays_full_refuses_with_when_to_come_again(cluster):
    token, ca = of_tenant(cluster, "stuck", max_queued=10)
    with connect(cluster.run.listen, token=token, ca_file=ca, patience=1.0) as client:
        with client.session("flmping", max_instances=0) as session:
            held = [session.run(None) for _ in range(10)]
            session.flush(10)
            begin = time.monotonic()
            with pytest.raises(Exhausted, match="10") as caught:
                session.run(None).result(30)
            assert 0.9 < time.monotonic() - begin < 15
            assert caught.value.retry_after > 0
            assert not any(f.done() for f in held)
            session.close("cancel")
        with pytest.raises(SessionClosed):
            session.run(None)


def test_who_does_not_read_its_results_does_not_grow_the_manager(cluster):
    """100,000 results for a connection that reads nothing: they stay in the journal."""
    manager = psutil.Process(cluster.pid("manager"))
    sock = dial(parse(cluster.run.endpoint))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(frame(m.Hello("client", client_id="deaf", features=("results",))))
    sock.sendall(frame(m.OpenSession("deaf", m.SessionSpec("flmping", detached=True)), 1))
    with cluster.connect() as client:
        client.list_sessions()
        before = manager.memory_info().rss
        for seq in range(1, 26):
            sock.sendall(frame(m.Submit("deaf", seq, *pack_payloads([None] * 4000)), 100 + seq))
        eventually(lambda: client.get_session("deaf").succeed == 100_000, 60)
        assert manager.memory_info().rss - before < 150 * 1024 * 1024
        # It reads after all: everything comes.
        got, deframer = 0, Deframer()
        sock.settimeout(30)
        while got < 100_000:
            for envelope in deframer.feed(sock.recv(1 << 18)):
                _, message = decode(envelope)
                if isinstance(message, m.Results):
                    got += sum(message.runs[1::2])
        assert got == 100_000
        sock.close()
        client.close_session("deaf")


def test_control_calls_are_answered_under_ten_times_the_load(cluster):
    """Ten clients keep the engine full; another asks for lists, opens and closes."""
    stop = threading.Event()

    def flood() -> None:
        with cluster.connect() as client, client.session("flmping") as session:
            while not stop.is_set():
                futures = [session.run(None) for _ in range(5000)]
                for future in futures:
                    future.result(60)

    threads = [threading.Thread(target=flood) for _ in range(10)]
    for thread in threads:
        thread.start()
    took: list[float] = []
    try:
        with cluster.connect() as client:
            eventually(lambda: client.status().sessions_open >= 10, 30)
            for _ in range(100):
                begin = time.monotonic()
                client.status()
                client.list_sessions()
                took.append((time.monotonic() - begin) / 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    took.sort()
    print(f"control calls: median {statistics.median(took) * 1e3:.1f} ms, p99 {took[98] * 1e3:.1f} ms")
    assert took[98] < 5  # 1 s on a quiet machine; ten clients of this process share one interpreter


def test_health_does_real_work(cluster):
    credentials = grpc.ssl_channel_credentials((cluster.data_dir / "certs" / "ca.pem").read_bytes())
    with grpc.secure_channel(cluster.run.listen.removeprefix("tls://"), credentials) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=10) == b"\x08\x01"
        pid = cluster.kill("allocator", signal.SIGSTOP)
        try:
            # A paused allocator keeps its connection; a dead one does not.
            assert check(b"", timeout=10) == b"\x08\x01"
        finally:
            cluster.kill("allocator", signal.SIGCONT)
        cluster.kill("allocator")
        eventually(lambda: cluster.pid("allocator") != pid)
        eventually(lambda: check(b"", timeout=10) == b"\x08\x01", 20)
