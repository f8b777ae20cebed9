"""The processes a supervisor forks. Each function here is the whole life of one, from just after the fork."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

from flame.core.base.errors import FlameError
from flame.ops.config import ClusterConfig
from flame.platform.slices import give_way

GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener"
"""How gRPC reads sockets in these processes: in the thread that waits for messages, instead of a pool of its own. Each hop of a message
then takes a switch or two between threads less. Known to 1.85; a release without the choice says so in the log and goes on."""


class Process(Protocol):
    stopping: asyncio.Event

    def run(self) -> Coroutine[Any, Any, None]: ...


def log_to(directory: Path, name: str) -> None:
    """Text lines in DIR/logs/NAME.log; standard output and error of the process go there too."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"{name}.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    logging.basicConfig(
        stream=sys.stderr, level=os.environ.get("FLAME_LOG", "INFO").upper(), force=True,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )  # fmt: skip


def live(name: str, config: ClusterConfig, make: Callable[[], Process], fail: Callable[[str], None]) -> NoReturn:
    """Run one process on uvloop until SIGTERM. `fail` gets one line when it cannot start or go on."""
    code = 1
    try:
        log_to(config.data_dir / "logs", name)
        os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
        code = _run(make)
    except FlameError as error:
        logging.getLogger("flame").error("%s", error)
        fail(json.dumps({"code": error.code, "message": error.message, "hint": error.hint}))
    except BaseException as error:
        logging.getLogger("flame").exception("%s died", name)
        fail(json.dumps({"code": "internal", "message": f"{name}: {type(error).__name__}: {error}", "hint": ""}))
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _run(make: Callable[[], Process]) -> int:
    try:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    # Long-lived state and few cycles: look for garbage less often. These processes are ours; executors run other people's code and keep
    # Python's own settings.
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)

    async def main() -> None:
        process = make()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, process.stopping.set)
        await process.run()

    loop.run_until_complete(main())
    return 0


def allocator(config: ClusterConfig, **more: Any) -> Process:
    give_way()  # nobody waits for a cycle of the scheduler as a task waits for its turn
    from flame.allocation.process import AllocatorConfig, AllocatorProcess

    return AllocatorProcess(AllocatorConfig(config, **more))


def manager(config: ClusterConfig, **more: Any) -> Process:
    from flame.manager.process import ManagerConfig, ManagerProcess

    return ManagerProcess(ManagerConfig(config, **more))


def gateway(config: ClusterConfig, **more: Any) -> Process:
    give_way()
    from flame.gateway.process import GatewayConfig, GatewayProcess

    return GatewayProcess(GatewayConfig(data_dir=config.data_dir, **more))


def agent(config: ClusterConfig, zygote: Any, allocators: Any, endpoints: Any, ground: Any, **more: Any) -> Process:
    from flame.agent.process import AgentConfig, AgentProcess

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    # It runs other people's code and has no business with the store.
    ours = replace(config, storage=None)
    grace = 0.5 if config.private else 2.0
    made = AgentConfig(ours, allocators, ground, endpoints, python=python, leave_grace=grace, **more)
    return AgentProcess(made, zygote)
