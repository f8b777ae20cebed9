"""`flame backup` of a running cluster, `flame restore` into another one."""

from __future__ import annotations

import pytest

from flame.core.base.errors import HistoryLost
from flame.testing.cluster import LocalCluster


@pytest.mark.ledger("A-13")
def test_a_cluster_goes_on_elsewhere_from_its_backup(bare, database, tmp_path):
    """From SQLite into PostgreSQL and back; a client that saw more than the backup holds hears that it is gone."""
    file, first = tmp_path / "b", tmp_path / "first"
    with LocalCluster(first, durability="power") as cluster:
        client = cluster.connect()
        session = client.session("flmping", id="kept", detached=True)
        list(session.map([None] * 500))
        done = bare("flame", "backup", file, "--data-dir", first)
        assert done.code == 0, done
        assert "rows" in done.out
        list(session.map([None] * 50))
        refused = bare("flame", "restore", file, "--data-dir", first)
        assert (refused.code, "is running in" in refused.err) == (73, True)
        cluster.stop()
        for path in first.glob("*.db*"):
            path.unlink()
        assert bare("flame", "restore", file, "--data-dir", first).code == 0
        lost = session.run()
        cluster.start()
        with pytest.raises(HistoryLost):
            lost.result(30)
        client.close()
        with cluster.connect() as other:
            assert other.get_session("kept").succeed == 500
    assert bare("flame", "restore", file, FLAME_STORAGE=database).code == 0
    with LocalCluster(durability="power", storage=database) as cluster, cluster.connect() as client:
        assert client.get_session("kept").succeed == 500
        with client.session("flmping") as more:
            assert len(list(more.map([None] * 100))) == 100
        wrong = bare("flame", "backup", tmp_path / "c", "--data-dir", cluster.data_dir)
        assert (wrong.code, "FLAME_STORAGE" in wrong.err) == (65, True), wrong
        assert bare("flame", "backup", tmp_path / "c", FLAME_STORAGE=database).code == 0
    assert bare("flame", "restore", tmp_path / "c", "--data-dir", tmp_path / "third").code == 0
    with LocalCluster(tmp_path / "third", durability="power") as cluster, cluster.connect() as client:
        assert client.get_session("kept").succeed == 500


def test_mistakes_are_said_in_a_sentence(bare, tmp_path):
    nothing = bare("flame", "backup", tmp_path / "b", "--data-dir", tmp_path / "empty")
    assert (nothing.code, nothing.err.startswith("Error: there is no journal in")) == (68, True), nothing
    (tmp_path / "b").write_text("not a backup")
    damaged = bare("flame", "restore", tmp_path / "b", "--data-dir", tmp_path / "empty")
    assert (damaged.code, "damaged" in damaged.err) == (74, True), damaged
    both = bare("flame", "restore", tmp_path / "b", "--data-dir", tmp_path, "--storage", "postgresql://x/y")
    assert both.code == 65, both
