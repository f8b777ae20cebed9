"""A cluster whose journals are in PostgreSQL: what must never be lost when its processes, or the server's, go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from cli.conftest import runner

import flame
from flame.testing.cluster import LocalCluster, eventually
from flame.testing.postgres import PostgresServer

TASKS = 20_000


@pytest.fixture(scope="module")
def server():
    """One that may be stopped and killed."""
    with PostgresServer() as made:
        yield made


@pytest.fixture
def cluster(server):
    with LocalCluster(durability="power", storage=server.make_database()) as made:
        yield made
        print(made.log("manager")[-5000:], made.log("allocator")[-5000:])  # shown when a test fails


def exactly_once(session, futures):
    assert all(b"Completed" in f.result(60) for f in futures)
    info = session.status()
    assert (info.succeed, info.failed, info.pending, info.running) == (len(futures), 0, 0, 0)


@pytest.mark.ledger("A-13")
def test_a_killed_manager_loses_nothing(cluster):
    with cluster.connect() as client, client.session("flmping") as session:
        futures = [session.run() for _ in range(3000)]
        exactly_once(session, futures)
        futures += [session.run() for _ in range(TASKS // 2)]
        cluster.kill("manager")
        futures += [session.run() for _ in range(TASKS // 2)]
        exactly_once(session, futures)
    assert not list(cluster.data_dir.glob("*.db*")), "something was kept in SQLite"


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_no_acknowledged_task_is_lost_when_the_server_restarts_under_load(server, cluster, how):
    stop = threading.Event()
    with cluster.connect() as client, client.session("flmping") as session:
        futures = [session.run() for _ in range(1000)]

        def feed():
            while not stop.is_set():
                futures.extend(session.run() for _ in range(200))
                time.sleep(0.01)

        feeding = threading.Thread(target=feed)
        feeding.start()
        for _ in range(2):
            time.sleep(0.3)
            server.restart() if how == "restart" else (server.kill(), server.start())
            eventually(lambda: client.status().storage == "ok")
        done = len(futures)
        eventually(lambda: futures[done - 1].done())
        stop.set()
        feeding.join()
        exactly_once(session, futures)


def test_while_the_server_is_away_nothing_is_acknowledged_and_a_killed_manager_waits_for_it(server, cluster):
    with cluster.connect() as client, client.session("flmping") as session:
        session.invoke()
        server.stop()
        try:
            futures = [session.run() for _ in range(500)]
            eventually(lambda: "journal: " in cluster.log("manager"))
            old = cluster.kill("manager")
            time.sleep(1)  # it starts again meanwhile, and finds no server
            assert not any(f.done() for f in futures)
        finally:
            server.start()
        assert all(f.result(60) for f in futures)
        assert session.status().succeed == 501
        assert cluster.pid("manager") != old


@pytest.mark.ledger("A-13")
def test_everything_is_there_for_a_cluster_on_another_machine(server):
    """The data directory is another one; only the database is the same."""
    storage = server.make_database()
    with (
        LocalCluster(durability="power", storage=storage) as first,
        first.connect() as client,
        client.session("flmping", id="moved", detached=True) as session,
    ):
        list(session.map([None] * 2000))
    with LocalCluster(durability="power", storage=storage) as second, second.connect() as client:
        info = client.get_session("moved")
        assert info.succeed == 2000
        outputs = [t.output for t in flame.sdk.session.Session(client.link, info, owned=False).list_tasks()]
        assert len(outputs) == 2000
        assert all(b"Completed" in output for output in outputs)


def test_the_password_is_nowhere_to_be_read(server):
    home = Path(tempfile.mkdtemp(prefix="flame-pw-"))
    run = runner(home)
    storage = server.make_database()
    command = [Path(sys.executable).parent / "flame", "up", "--storage", storage, "--data-dir", home / "d"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
    up = subprocess.Popen(
        command, env=env | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}, stdout=subprocess.PIPE, text=True
    )
    try:
        eventually((home / "d" / "run.json").exists)
        assert run("flmping", "-t", "3000", "-p").code == 0
        family = psutil.Process(up.pid).children(recursive=True)
        assert len(family) > 4, "supervisor, allocator, manager, agent, zygote"
        for process in [psutil.Process(up.pid), *family]:
            assert server.password not in " ".join(process.cmdline())
        for process in family:
            assert server.password not in str(process.environ())
        for path in (path for path in home.rglob("*") if path.is_file()):
            assert server.password.encode() not in path.read_bytes(), path
    finally:
        up.send_signal(signal.SIGTERM)
        said = up.communicate(timeout=30)[0]
        shutil.rmtree(home, ignore_errors=True)
    assert server.password not in said
    assert "running" in said


def test_wrong_addresses_are_refused_without_repeating_them(server, tmp_path):
    run = runner(tmp_path)
    for url in ("mysql://me:s3cret@host/db", "s3cret", f"postgresql://flame:s3cret@/postgres?host={server.directory}"):
        done = run("flame", "up", "--detach", FLAME_STORAGE=url)
        assert done.code != 0
        assert "s3cret" not in done.out + done.err
        assert done.err.startswith("Error: ")
