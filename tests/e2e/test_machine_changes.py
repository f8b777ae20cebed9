"""A machine whose memory changes while its agent runs, as a virtual machine's does."""

from __future__ import annotations

import os

import pytest

from flame.testing.cluster import LocalCluster, eventually

MACHINE = """
import os
from pathlib import Path
real = os.sysconf
def sysconf(name):
    return int(Path({path!r}).read_text()) if name == "SC_PHYS_PAGES" else real(name)
os.sysconf = sysconf
"""
VALUES = {
    "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameValues", "metadata": {"name": "flame"},
    "flame": {"agent": {"config": {"resourceUpdateInterval": "1s"}}},
}  # fmt: skip


@pytest.mark.ledger("B-030")
def test_a_node_shows_what_its_machine_has_now(tmp_path, monkeypatch):
    """The kernel's number of pages is read from a file, in every process of the cluster."""
    pages = tmp_path / "pages"
    pages.write_text(str(1 << 18))
    (tmp_path / "sitecustomize.py").write_text(MACHINE.format(path=str(pages)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    size = os.sysconf("SC_PAGE_SIZE")
    with LocalCluster() as cluster, cluster.connect() as client:

        def memory():
            return client.list_nodes()[0].capacity["memory"] // size

        eventually(client.list_nodes)
        assert memory() == 1 << 18  # 1 GiB
        client.objects.apply(VALUES)
        with client.session("flmping", resources="cpu=1,mem=2g") as session:
            future = session.run(None)
            eventually(lambda: "NeverFits" in {reason.reason for reason in client.explain(session.id).reasons})
            pages.write_text(str(1 << 19))
            assert future.result(30)
        assert memory() == 1 << 19
