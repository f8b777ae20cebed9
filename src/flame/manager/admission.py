"""Letting a machine in: its certificate, signed by the cluster's authority."""

from __future__ import annotations

from flame.core.base.errors import Unimplemented
from flame.core.model import messages as m
from flame.core.model.access import AGENT
from flame.ops.config import ClusterConfig


def admission(cluster: ClusterConfig, join: m.JoinNode) -> m.NodeAdmitted:
    """Raises Unimplemented where the cluster has no authority of its own, InvalidArgument for a request that is none."""
    from flame.security.authority import Authority

    directory = cluster.data_dir / "certs"
    if not (directory / "ca.key").exists():
        raise Unimplemented(
            "this cluster has no authority to sign certificates", hint="`flame up --listen HOST` makes one"
        )
    authority = Authority.load(directory)
    certificate = authority.sign(join.request, AGENT, join.name, join.hosts) if join.request else b""
    return m.NodeAdmitted(join.name, certificate, authority.ca_file.read_bytes(), ())
