"""Watches over HTTP: in order, without gaps, across restarts, and told when something is forgotten."""

from __future__ import annotations

import json
import threading
from typing import Any

from gateway.conftest import CONFIGS, Gate, config

from flame.testing.cluster import eventually


def events(stream: Any, count: int) -> list[dict[str, Any]]:
    return [json.loads(stream.readline()) for _ in range(count)]


def test_a_watch_tells_what_changes(gate: Gate):
    version = gate.get(CONFIGS).json["metadata"]["resourceVersion"]
    with gate.stream(f"{CONFIGS}?watch=1&resourceVersion={version}&fieldSelector=metadata.name=watch-a") as stream:
        gate.ask("POST", CONFIGS, config("watch-a", x="1"))
        gate.ask("POST", CONFIGS, config("watch-other"))
        gate.ask("PUT", f"{CONFIGS}/watch-a", config("watch-a", x="2"))
        gate.ask("DELETE", f"{CONFIGS}/watch-a")
        found = events(stream, 3)
    assert [event["type"] for event in found] == ["ADDED", "MODIFIED", "DELETED"]
    assert all(event["object"]["metadata"]["name"] == "watch-a" for event in found)
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert versions == sorted(versions)
    # Who comes back with the version of the first change gets the others again, and nothing else.
    again = f"{CONFIGS}?watch=1&resourceVersion={versions[0]}&fieldSelector=metadata.name=watch-a"
    with gate.stream(again) as stream:
        assert events(stream, 2) == found[1:]


def test_a_watch_without_a_version_begins_with_what_there_is(gate: Gate):
    gate.ask("POST", CONFIGS, config("watch-there"))
    path = (
        f"{CONFIGS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&fieldSelector=metadata.name=watch-there"
    )
    with gate.stream(path) as stream:
        added, mark = events(stream, 2)
    assert (added["type"], mark["type"]) == ("ADDED", "BOOKMARK")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_version_that_is_forgotten_is_gone(gate: Gate):
    refused = gate.get(f"{CONFIGS}?watch=1&resourceVersion=1")
    assert (refused.status, refused.json["reason"], refused.json["code"]) == (410, "Expired", 410)


def test_a_watch_ends_in_time(gate: Gate):
    with gate.stream(f"{CONFIGS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name=watch-nothing") as stream:
        assert stream.read() == b""


def test_one_identity_has_so_many_watches(gate: Gate):
    from flame.gateway.watches import MOST_OF_ONE

    token = gate.tokens["viewer@acme"]
    path = f"{CONFIGS}?watch=1&resourceVersion={gate.get(CONFIGS, token=token).json['metadata']['resourceVersion']}"
    streams = []

    def refused() -> bool:
        answer = gate.get(path + "&timeoutSeconds=1", token=token)
        return answer.status == 429 and answer.headers["retry-after"] is not None

    try:
        import time

        for number in range(MOST_OF_ONE):
            if number % 40 == 39:
                time.sleep(0.5)  # the rate limit is another matter
            streams.append(gate.stream(path + "&timeoutSeconds=60", token=token))
        assert refused()
        # Others are not held up by that.
        assert gate.get(CONFIGS).status == 200
    finally:
        for stream in streams:
            stream.close()
    eventually(lambda: gate.get(path + "&timeoutSeconds=1", token=token).status == 200, 30)


def test_a_watch_goes_on_when_the_session_manager_starts_again(own_gate):
    gate = own_gate()
    version = gate.get(CONFIGS).json["metadata"]["resourceVersion"]
    with gate.stream(f"{CONFIGS}?watch=1&resourceVersion={version}", 60) as stream:
        gate.ask("POST", CONFIGS, config("before"))
        first = events(stream, 1)[0]
        gate.cluster.kill("manager")
        made = threading.Thread(target=lambda: eventually(lambda: _made(gate)))
        made.start()
        second = events(stream, 1)[0]
        made.join()
    assert [e["object"]["metadata"]["name"] for e in (first, second)] == ["before", "after"]


def _made(gate: Gate) -> bool:
    return gate.ask("POST", CONFIGS, config("after")).status in (201, 409)


def test_after_the_allocator_started_again_a_watch_is_told_to_list(own_gate):
    """It has forgotten what changed before: 410, never a gap."""
    gate = own_gate()
    version = gate.ask("POST", CONFIGS, config("one")).json["metadata"]["resourceVersion"]
    gate.cluster.kill("allocator")
    eventually(lambda: gate.get("/ready", token=None).status == 200)
    eventually(lambda: gate.get(CONFIGS).status == 200)
    answer = gate.get(f"{CONFIGS}?watch=1&timeoutSeconds=1&resourceVersion={version}")
    assert answer.status in (200, 410)
    assert [item["metadata"]["name"] for item in gate.get(CONFIGS).json["items"]] == ["one"]
