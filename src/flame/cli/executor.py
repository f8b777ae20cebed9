"""`flame executor`: one executor, started by hand, that serves one session. It dials out and listens nowhere."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path

from flame.cli.output import write
from flame.core.base.errors import InvalidArgument, SessionClosed
from flame.core.model.messages import BY_HAND
from flame.core.model.states import SessionState


def serve(endpoint: str, session: str) -> int:
    """Serve an open session of the cluster at `endpoint` until it closes. Returns the exit code."""
    from flame.agent.executor import Executor, Launch
    from flame.agent.outcome import load_service
    from flame.agent.page import Page
    from flame.sdk import current
    from flame.sdk.connect import connect
    from flame.sdk.target import find

    with connect(endpoint) as client:
        info = client.get_session(session)
        if info.state == SessionState.CLOSED:
            raise SessionClosed(f"session {info.id} is not open", hint="flmctl list -s shows the open ones")
        target = find(endpoint)
        assert target is not None, "an endpoint was given"
        address, token = target.addresses[0], target.token
        if address.tls:
            raise InvalidArgument(
                f"an executor by hand cannot go over TLS to {address}",
                hint="`flame agent join` makes this machine a node",
            )
    id = f"hand-{secrets.token_hex(8)}"
    with tempfile.TemporaryDirectory(prefix="flame-executor-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        (Path(folder) / "tmp").mkdir()
        for name in ("TMPDIR", "TMP", "TEMP"):
            os.environ[name] = f"{folder}/tmp"
        os.environ |= {"FLAME_EXECUTOR_ID": id, "FLAME_ENDPOINT": str(address)}
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        made = Executor(
            Launch(id, token or secrets.token_urlsafe(24), info.id, str(address), python),
            Page(Path(folder) / "page"),
            load_service,
        )
        made.peer.features = (BY_HAND,)
        current.executor = made
        write(f"Executor <{id}> serves session <{info.id}>.")
        sys.stdout.flush()
        return made.run()
