"""Foreign services on a whole engine: what goes wrong is told, and the rest of the session goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import runner

import flame

SERVICE = Path(__file__).parent / "foreign_service.py"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[flame.Client]:
    home = tmp_path_factory.mktemp("foreign")
    run = runner(home)
    up = run("flame", "up", "--detach", "--data-dir", home / "data", FLAME_START_LIMIT="3")
    assert up.code == 0, up
    with flame.connect(str(home / "data")) as client:
        for how in ("good", "exit", "silent", "garbage", "refuse"):
            spec = flame.AppSpec(command=sys.executable, arguments=(str(SERVICE),), environments={"MISBEHAVE": how})
            client.register(how, spec)
        yield client
    run("flame", "down", "--data-dir", home / "data")


@pytest.mark.ledger("A-14")
def test_a_task_that_kills_its_service_ends_failed_and_the_others_succeed(client):
    with client.session("good", max_instances=2) as session:
        futures = [session.run(data) for data in (b"a", b"exit", b"b", b"c")]
        assert [futures[n].result(60) for n in (0, 2, 3)] == [b"a", b"b", b"c"]
        with pytest.raises(flame.WorkerDied) as died:
            futures[1].result(60)
    assert "7" in died.value.message
    assert "last words" in died.value.message + died.value.remote_traceback
    assert session.get_task(2).attempt == 3


def test_a_task_that_fails_tells_the_service_s_words(client):
    with client.session("good") as session:
        with pytest.raises(flame.TaskFailed, match="five") as failed:
            session.invoke(b"fail", 60)
        assert failed.value.return_code == 5
        assert session.invoke(b"after", 60) == b"after"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("exit", "cannot find my model"),
        ("refuse", "not today"),
        ("silent", "did not listen"),
        ("garbage", "does not speak gRPC"),
    ],
)
def test_a_service_that_cannot_serve_fails_the_tasks_with_its_reason(client, how, text):
    session = client.session(how, max_instances=1)
    try:
        with pytest.raises(flame.ServiceFailed, match=text):
            session.run(b"x").result(60)
    finally:
        session.close("cancel")


@pytest.mark.ledger("A-18")
def test_two_sessions_never_share_a_service_process(client):
    places = []
    for _ in range(2):
        with client.session("good", max_instances=1) as session:
            env = dict(line.split("=", 1) for line in session.invoke(b"env", 60).decode().splitlines() if "=" in line)
            places.append((env["FLAME_INSTANCE_ENDPOINT"], env["TMPDIR"]))
    assert places[0][0] != places[1][0]
    assert places[0][1] != places[1][1]
    deadline = time.monotonic() + 10
    while Path(places[0][1]).exists() and time.monotonic() < deadline:  # the executor leaves in its own time
        time.sleep(0.05)
    assert not Path(places[0][1]).exists()
