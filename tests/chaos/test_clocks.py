"""Wall clocks that jump while something else goes wrong."""

from __future__ import annotations

import os
import time

import psutil
import pytest
from chaos.clocks import Clocks
from chaos.world import environment

from flame.core.base.errors import StorageFull
from flame.testing.cluster import LocalCluster, eventually


@pytest.fixture
def clocks(tmp_path):
    made = Clocks(tmp_path)
    if made.why_not:
        pytest.skip(made.why_not)
    return made


def refused(client) -> bool:
    """Does the allocator say that it cannot keep anything?"""
    try:
        client.set_tenant("acme", weight=2)
    except StorageFull:
        return True
    return False


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_an_allocator_whose_disk_was_full_goes_on_when_its_clock_has_jumped(clocks, seconds):
    with environment(clocks.environment), LocalCluster(durability="power", delay_release=0.5) as cluster:
        allocator = psutil.Process(cluster.pid("allocator"))
        with cluster.connect() as client:
            with client.session("flmping") as session:
                session.invoke()
            _, hard = allocator.rlimit(psutil.RLIMIT_FSIZE)
            allocator.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
            eventually(lambda: refused(client))
            clocks.set(os.getpgid(allocator.pid), seconds)
            allocator.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
            eventually(lambda: not refused(client), what="it cannot write again")
            begin = time.monotonic()
            with client.session("flmping") as session:
                assert session.run().result(20)
            assert time.monotonic() - begin < 10
            assert cluster.pid("allocator") == allocator.pid
