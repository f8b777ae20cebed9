"""Watching a task while connections break."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from flame.testing.cluster import eventually


def exec_task(code: str) -> bytes:
    return json.dumps({"language": "shell", "code": code}).encode()


class Away:
    """A client whose connection is gone, and stays so until the block ends."""

    def __init__(self, client) -> None:
        self.link, self._back = client.link, threading.Event()
        self._open = self.link._way._open

    def __enter__(self):
        def open_later(address):
            assert self._back.wait(20)
            return self._open(address)

        self.link._way._open = open_later
        self.link._sock.shutdown(socket.SHUT_RDWR)
        eventually(lambda: self.link._sock is None)

    def __exit__(self, *_):
        self._back.set()


def watched(session, no):
    """A thread that watches, and what it sees."""
    seen: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: seen.extend((t.state, t.attempt) for t in session.watch(no, timeout=20)))
    thread.start()
    link = session.link
    eventually(lambda: link._watches._watches and not link._asked, what="nobody watches")
    return thread, seen


@pytest.mark.parametrize("back", ["while it runs", "when it has ended"])
def test_a_watch_misses_nothing_that_happens_while_its_client_is_away(client, cluster, back):
    """The task starts meanwhile; or starts and ends: then its end is told."""
    with client.session("flmexec", max_instances=1) as session, cluster.connect() as other:
        session.run(exec_task("sleep 0.6"))
        session.run(exec_task("sleep 1"))
        session.flush()
        thread, seen = watched(session, 2)
        eventually(lambda: other.get_session(session.id).running == 1)
        with Away(client):
            eventually(
                lambda: other.open_session(session.id).get_task(2).state == (1 if back == "while it runs" else 2)
            )
        thread.join(20)
        assert seen == ([(1, 1), (2, 1)] if back == "while it runs" else [(2, 1)])


def test_a_watch_ends_when_its_session_is_deleted_while_its_client_is_away(client, cluster):
    with cluster.connect() as other:
        session = client.session("flmexec", max_instances=0, detached=True)
        session.run(exec_task("true"))
        session.flush()
        thread, seen = watched(session, 1)
        with Away(client):
            other.close_session(session.id, "cancel")
            other.delete_session(session.id)
        thread.join(20)
        assert not thread.is_alive()
        assert seen == []
