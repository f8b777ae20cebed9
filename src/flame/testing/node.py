"""A node that joins a `LocalCluster`: over its sockets, or over TLS as a machine elsewhere would.

with LocalCluster(listen="tls://127.0.0.1:0") as cluster, LocalNode(cluster, "b", remote=True):
    ...
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flame.agent import joining
from flame.sdk.local import PrivateCluster
from flame.shell.address import parse
from flame.testing.cluster import LocalCluster

if TYPE_CHECKING:
    from types import TracebackType


class LocalNode:
    """`options`: fields of ClusterConfig, such as cpus."""

    def __init__(self, cluster: LocalCluster, name: str, *, remote: bool = False, **options: Any) -> None:
        self.cluster, self.name, self.remote = cluster, name, remote
        self.data_dir = Path(tempfile.mkdtemp(prefix="flame-node-"))
        self._options = {"data_dir": str(self.data_dir), "node": name, "durability": "memory", "cpus": 4.0} | options
        self._process: PrivateCluster | None = None

    def __enter__(self) -> LocalNode:
        run = self.cluster.run
        endpoint = run.listen if self.remote else run.endpoint
        assert endpoint is not None, "the cluster does not listen beyond its sockets"
        if self.remote:
            certs = self.data_dir / "certs"
            joining.trust([parse(endpoint)], certs, self.cluster.data_dir / "certs" / joining.CA, None)
            with self.cluster.connect() as client:
                token = client.create_token(self.name, "join").token
            joining.admit([parse(endpoint)], self.name, token, certs, ())
        self._process = PrivateCluster(
            self._options | {"endpoints": [endpoint]}, fall_back=False, module="flame.cluster.node"
        )
        self._process.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self._process.stop()
        for inspect in self.cluster.inspectors:
            inspect(self.data_dir)
        shutil.rmtree(self.data_dir, ignore_errors=True)
