"""`flame.connect`: from a name, or from nothing, to a client."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flame.sdk.client import Client

_default: Client | None = None
_lock = threading.Lock()


def connect(endpoint: str | None = None) -> Client:
    """A client of the cluster at `endpoint`, else `FLAME_ENDPOINT`, else `~/.flame/flame.yaml`, else the one running here, else a private
    one that ends with this process.

    endpoint: `unix:///path`, `tcp://host:port`, or a data directory. Raises Unavailable, Unauthenticated, InvalidArgument.
    """
    if os.environ.get("FLAME_SYNC") == "1":
        from flame.sdk.inline import InlineClient

        return InlineClient()
    from flame.sdk.local import PrivateCluster, find

    found = find(endpoint)
    private = None if found else PrivateCluster()  # it starts while we import the rest
    from flame.sdk.client import Client

    if found is not None:
        return Client(*found)
    assert private is not None
    client = Client(private.wait(), private=private)
    atexit.register(client.close)
    return client


def default_client() -> Client:
    """The client that `@flame.task` and FlameExecutor use when none is given: made on first use, once per process."""
    global _default
    with _lock:
        if _default is None or _default.link.closed or _default.link._pid != os.getpid():
            _default = connect()
        return _default
