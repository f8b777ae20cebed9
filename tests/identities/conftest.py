"""One cluster that listens by TLS, with two tenants and a token of every role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flame.core.model.access import LADDER
from flame.sdk.client import Client
from flame.sdk.connect import connect
from flame.testing.cluster import LocalCluster

TENANTS = ("acme", "bolt")


@dataclass
class Secured:
    cluster: LocalCluster
    tokens: dict[str, str] = field(default_factory=dict)  # "role@tenant" -> token

    @property
    def endpoint(self) -> str:
        assert self.cluster.run.listen is not None
        return self.cluster.run.listen

    @property
    def ca(self) -> Path:
        return self.cluster.data_dir / "certs" / "ca.pem"

    def connect(self, who: str) -> Client:
        return connect(self.endpoint, token=self.tokens[who], ca_file=self.ca)


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    with LocalCluster(listen="tls://127.0.0.1:0", advertise="127.0.0.1") as cluster, cluster.connect() as local:
        found = Secured(cluster)
        for tenant in TENANTS:
            local.set_tenant(tenant)
        for role in LADDER:
            for tenant in (*TENANTS, "*"):
                found.tokens[f"{role}@{tenant}"] = local.create_token(f"{role}-{tenant}", role, tenant).token
        yield found
