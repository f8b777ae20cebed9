"""The gateway's process: an HTTP server on a socket that the supervisor holds, so that connections wait while it restarts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from flame.gateway.app import make_app
from flame.gateway.callers import Callers
from flame.gateway.entrance import Protocol, Server
from flame.gateway.live import LiveSettings
from flame.gateway.metrics import Metrics
from flame.gateway.watches import Watches
from flame.ops.gateway import Door
from flame.shell.address import Address

log = logging.getLogger("flame.gateway")

CONNECTIONS = 4000
"""Open at once; more get 503."""
KEEP_ALIVE = 75
"""Seconds that a connection may be idle between two requests."""
SWEEP = 10.0
"""Seconds between two looks at idle callers."""
FIRST_SETTINGS = 5.0
"""Seconds that the start waits for the settings; then the defaults hold until they come."""
GRACE = 2
"""Seconds that requests may take to end when the gateway does."""


@dataclass
class GatewayConfig:
    """door: where it listens; edge: where the first session manager takes connections with tokens; token: of the cluster."""

    data_dir: Path
    door: Door
    edge: Address
    token: str
    ready: Callable[[], None] = lambda: None


class GatewayProcess:
    """`run` returns when it is told to stop."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        config = self.config
        metrics, callers = Metrics(), Callers(config.edge)
        watches, live = Watches(metrics), LiveSettings(callers, config.token)
        app = make_app(config.door, callers, live, metrics, watches, config.token)
        server = Server(_uvicorn(app), config.door.sock, config.door.plain, config.door.identity, config.ready)
        background = [asyncio.ensure_future(live.follow()), asyncio.ensure_future(_sweep(callers))]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.known.wait(), FIRST_SETTINGS)
        serving = asyncio.ensure_future(server.serve())
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watches.closing.set()
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            for task in (*background, stopping):
                task.cancel()
            await asyncio.gather(*background, stopping, return_exceptions=True)
            await callers.close()
        if not self.stopping.is_set():
            serving.result()


def _uvicorn(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app, loop="none", http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,  # type: ignore[arg-type]
        proxy_headers=False, timeout_keep_alive=KEEP_ALIVE, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip


async def _sweep(callers: Callers) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        callers.sweep()
