"""One suite for services in any language: the same echo service in Python, Go and Rust, against one engine.

The service gives a task's input back, except for the words `common`, `count`, `pid`, `fail`, `exit` and `wait`; common data of `refuse`
keeps it from entering. When it leaves it prints how many tasks it had.
"""

from __future__ import annotations

import concurrent.futures
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sdk.toolchains import GO, RUST

import flame
from flame.agent.shims.grpc import PAYLOAD_LIMIT
from flame.testing.cluster import LocalCluster, eventually
from flame.testing.node import LocalNode

pytestmark = [pytest.mark.ledger("A-49"), pytest.mark.timeout(300)]  # the first build takes a while

PYTHON = (sys.executable, str(Path(__file__).with_name("echo.py")))
SOON = 60.0


@dataclass(frozen=True)
class Language:
    app: str
    folder: Path
    """Where its services run: what they print is here."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(listen="tls://127.0.0.1:0", advertise="127.0.0.1", cpus=3.0) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster) -> Iterator[flame.Client]:
    with cluster.connect() as made:
        yield made


@pytest.fixture(scope="module", params=["python", "go", "rust"])
def language(request, client, tmp_path_factory) -> Language:
    """The echo service in one language, registered."""
    tools = {"go": GO, "rust": RUST}.get(request.param)
    command, *arguments = (tools.built(),) if tools else PYTHON
    found = Language(f"echo-{request.param}", tmp_path_factory.mktemp(request.param))
    spec = flame.AppSpec(command=command, arguments=tuple(arguments), working_directory=str(found.folder))
    client.register(found.app, spec)
    return found


@pytest.fixture(scope="module")
def session(client, language) -> Iterator[flame.Session]:
    """With one executor."""
    made = client.session(language.app, common_data=b"shared", max_instances=1)
    yield made
    made.close("cancel")


def test_payloads_come_back_as_they_went(session):
    inputs = [None, b"", b"x", bytes(range(256)), b"y" * 70_000, bytes(1 << 20), bytes(PAYLOAD_LIMIT)]
    assert [session.invoke(data, SOON) for data in inputs] == inputs


def test_common_data_reaches_the_service(client, language, session):
    assert session.invoke(b"common", SOON) == b"shared"
    for common in (b"", None):
        with client.session(language.app, common_data=common) as other:
            assert other.invoke(b"common", SOON) == common


def test_a_failed_task_tells_code_and_words_and_its_neighbours_go_on(session):
    futures = [session.run(b"fail" if n % 10 == 3 else b"%d" % n) for n in range(100)]
    concurrent.futures.wait(futures, SOON)
    for n, future in enumerate(futures):
        if n % 10 != 3:
            assert future.result(0) == b"%d" % n
            continue
        with pytest.raises(flame.TaskFailed) as failed:
            future.result(0)
        assert (failed.value.return_code, failed.value.message) == (7, "asked to fail")


def test_a_cancelled_task_ends_and_its_process_serves_the_next(session):
    def survives() -> bool:
        process = session.invoke(b"pid", SOON)
        running, waiting = session.run(b"wait"), session.run(b"later")
        eventually(lambda: session.status().running == 1, SOON, "the task does not run")
        assert session.cancel([running]) == 0
        assert session.cancel([waiting]) == 1
        assert session.cancel([running], kill=True) == 1
        for future in (running, waiting):
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(SOON)
        return session.invoke(b"pid", SOON) == process

    # Who needs more than a second to stop is ended: on a busy machine that may be anybody, but not always.
    eventually(survives, SOON, "processes are ended with their tasks")


def test_a_task_that_takes_too_long_is_told_to_stop(session):
    with pytest.raises(flame.TaskTimeout):
        session.submit(b"wait", timeout=0.1).result(SOON)
    assert session.invoke(b"next", SOON) == b"next"


def test_thousands_of_tasks_over_several_executors_keep_their_order(client, language):
    with client.session(language.app, min_instances=3, max_instances=3) as session:
        inputs = [b"%d" % n for n in range(3000)]
        assert list(session.map(inputs, timeout=SOON)) == inputs
        assert sorted(session.map(inputs, ordered=False, timeout=SOON)) == sorted(inputs)
        for _ in range(3):  # one for each executor
            session.run(b"wait")
        eventually(lambda: session.status().running == 3, SOON, "three tasks do not run at once")
        assert session.cancel(kill=True) == 3
    info = client.get_session(session.id)
    assert (info.succeed, info.failed, info.cancelled, info.pending, info.running) == (6000, 0, 3, 0, 0)


def test_one_process_serves_one_session_and_leaves_it(client, language):
    processes = set()
    for _ in range(2):
        with client.session(language.app, max_instances=1) as session:
            assert list(session.map([b"count"] * 50, timeout=SOON)) == [b"%d" % n for n in range(1, 51)]
            processes |= set(session.map([b"pid"] * 73, timeout=SOON))
    assert len(processes) == 2

    def left() -> list[str]:
        return re.findall("left after 123 tasks", "".join(out.read_text() for out in language.folder.glob("*.out")))

    eventually(lambda: len(left()) == 2, SOON, "the services were not asked to leave")


def test_a_process_that_dies_under_a_task_takes_only_that_task_along(client, language):
    with client.session(language.app, max_instances=2) as session:
        first, bad, last = (session.run(data) for data in (b"first", b"exit", b"last"))
        assert [first.result(SOON), last.result(SOON)] == [b"first", b"last"]
        with pytest.raises(flame.WorkerDied) as died:
            bad.result(SOON)
        assert "last words" in died.value.message + died.value.remote_traceback


def test_a_service_that_refuses_to_enter_fails_the_tasks_with_its_words(client, language):
    session = client.session(language.app, common_data=b"refuse", max_instances=1)
    with pytest.raises(flame.ServiceFailed, match="asked to refuse"):
        session.invoke(b"x", SOON)
    session.close("cancel")


@pytest.fixture(scope="module")
def away(cluster) -> Iterator[LocalNode]:
    """A node that has joined over TLS, the only one with four CPUs."""
    with LocalNode(cluster, "away", remote=True, cpus=4.0) as made:
        yield made


def test_over_tls_with_a_token_on_a_node_that_joined_over_tls(cluster, client, away, language):
    token = client.create_token(f"ada-{language.app}", "user").token
    ca = cluster.data_dir / "certs" / "ca.pem"
    with flame.connect(cluster.run.listen, token=token, ca_file=ca) as remote:
        assert remote.whoami().role == "user"
        with remote.session(language.app, common_data=b"secret", resources="cpu=4") as session:
            assert session.invoke(b"common", SOON) == b"secret"
            assert [e.node for e in client.list_executors() if e.session == session.id] == ["away"]
            inputs = [None, b"", bytes(1 << 20), *(b"%d" % n for n in range(1000))]
            assert list(session.map(inputs, timeout=SOON)) == inputs
            with pytest.raises(flame.TaskFailed, match="asked to fail"):
                session.invoke(b"fail", SOON)
