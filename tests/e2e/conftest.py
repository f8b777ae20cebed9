from __future__ import annotations

import pytest

from flame.testing.cluster import LocalCluster


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster() as made:
        yield made


@pytest.fixture
def client(cluster):
    with cluster.connect() as made:
        yield made
