"""Several session managers in one cluster: sessions divided among them by id, one allocator for all."""

from __future__ import annotations

from collections import Counter

import pytest

from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.base.ids import shard_of
from flame.testing.cluster import LocalCluster, eventually


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(managers=2) as made:
        yield made


def test_sessions_are_divided_and_found_again(cluster):
    assert {"manager", "manager-1"} <= cluster.run.pids.keys()
    ids = [f"s{n}" for n in range(12)]
    assert set(Counter(shard_of(id, 2) for id in ids)) == {0, 1}
    with cluster.connect() as client, cluster.connect() as other:
        sessions = [client.session("flmping", id=id) for id in ids]
        futures = [session.run(None) for session in sessions for _ in range(50)]
        assert all(future.result(60) is not None for future in futures)
        assert {info.id for info in other.list_sessions()} >= set(ids)
        assert len({info.alias for info in other.list_sessions()}) == len(other.list_sessions())
        for info in other.list_sessions():
            assert other.get_session(str(info.alias)).id == info.id
            assert other.explain(info.id).reasons
        assert other.status().sessions_open >= 12
        assert {executor.session for executor in other.list_executors()} <= set(ids)
        for session in sessions:
            session.close()
        assert all(other.get_session(id).succeed == 50 for id in ids)


def test_the_death_of_one_manager_stops_only_its_sessions(cluster):
    with cluster.connect() as client:
        first, second = (
            client.session("flmping", id=next(f"d{n}" for n in range(99) if shard_of(f"d{n}", 2) == s)) for s in (0, 1)
        )
        first.run(None).result(60), second.run(None).result(60)
        pid = cluster.kill("manager-1")
        assert first.run(None).result(5) is not None
        futures = [second.run(None) for _ in range(200)]
        assert all(future.result(60) is not None for future in futures)
        eventually(lambda: cluster.pid("manager-1") != pid)
        first.close(), second.close()


def test_applications_are_known_to_every_manager(cluster):
    with cluster.connect() as client:
        client.register("mine", service="flame.apps.ping:PingService")
        for id in ("m0", "m1", "m2", "m3"):
            with client.session("mine", id=id) as session:
                session.run(None).result(60)
        client.unregister("mine")
        for id in ("n0", "n1", "n2", "n3"):
            with pytest.raises(NotFound):
                client.session("mine", id=id)


def test_what_cannot_be_is_said_at_the_start():
    with pytest.raises(InvalidArgument, match="compat"):
        LocalCluster(managers=2, compat="127.0.0.1:0").start()
    with pytest.raises(InvalidArgument, match="standby"):
        LocalCluster(standby=True).start()
