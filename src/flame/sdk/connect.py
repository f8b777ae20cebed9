"""`flame.connect`: from a name, or from nothing, to a client."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flame.sdk.client import Client

_default: Client | None = None
_lock = threading.Lock()


def connect(
    endpoint: str | None = None,
    *,
    token: str | None = None,
    ca_file: str | Path | None = None,
    tenant: str | None = None,
    patience: float = 60.0,
) -> Client:
    """A client of the cluster at `endpoint`, else `FLAME_ENDPOINT`, else `~/.flame/flame.yaml`, else the one running here, else a private
    one that ends with this process.

    endpoint: `unix:///path`, `tcp://host:port`, `tls://host:port`, several of one cluster with commas between, or a data directory.
    token:    who you are; None: `FLAME_TOKEN`, the file `FLAME_TOKEN_FILE`, or what `flame login` stored.
    ca_file:  who signed the server's certificate; None: `FLAME_CA_FILE`, or what `flame login` stored.
    tenant:   of the sessions made here, for identities that reach several; None: your own.
    patience: seconds a full queue is waited for; then futures fail with Exhausted.
    Raises Unavailable (saying why a TLS connection failed), Unauthenticated, InvalidArgument.
    """
    if os.environ.get("FLAME_SYNC") == "1":
        from flame.sdk.inline import InlineClient

        return InlineClient()
    from flame.sdk.local import PrivateCluster
    from flame.sdk.target import Target, find

    found = find(endpoint, token, ca_file)
    private = None if found else PrivateCluster()  # it starts while we import the rest
    from flame.sdk.client import Client

    if found is not None:
        return Client(found, tenant=tenant, patience=patience)
    assert private is not None
    client = Client(Target((private.wait(),)), private=private, tenant=tenant)
    atexit.register(client.close)
    return client


def default_client() -> Client:
    """The client that `@flame.task` and FlameExecutor use when none is given: made on first use, once per process."""
    global _default
    with _lock:
        if _default is None or _default.link.closed or _default.link._pid != os.getpid():
            _default = connect()
        return _default
