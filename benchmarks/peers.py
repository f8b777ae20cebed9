"""What Flame is measured against: each peer submits tasks one by one, maps, and answers single calls."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

WORKERS = 2
PAYLOAD = b"x" * 16


def echo(payload: bytes) -> bytes:
    return payload


def spin(seconds: float) -> None:
    """Compute for `seconds`; sleeping would not use a core."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class Peer:
    """`submit` returns something that `wait` understands."""

    name = ""
    slow = False
    """Takes part in two rounds only."""
    limit = 1_000_000
    """Tasks beyond which this peer takes too long to be measured."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def submit(self, function: Callable[..., Any], argument: Any) -> Any: ...
    def wait(self, handles: list[Any]) -> None: ...
    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None: ...

    def one(self) -> None:
        self.wait([self.submit(echo, PAYLOAD)])


class Pool(Peer):
    name = "multiprocessing.Pool"
    limit = 100_000

    def start(self) -> None:
        self.pool = multiprocessing.get_context("fork").Pool(WORKERS)
        self.one()

    def stop(self) -> None:
        self.pool.terminate()
        self.pool.join()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.pool.apply_async(function, (argument,))

    def wait(self, handles: list[Any]) -> None:
        for handle in handles:
            handle.get()

    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        self.pool.map(function, arguments)


class ProcessPool(Peer):
    name = "ProcessPoolExecutor"
    limit = 30_000

    def start(self) -> None:
        self.pool = concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("fork"))
        self.one()

    def stop(self) -> None:
        self.pool.shutdown()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.pool.submit(function, argument)

    def wait(self, handles: list[Any]) -> None:
        for handle in handles:
            handle.result()

    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        for _ in self.pool.map(function, arguments, chunksize=500):
            pass


class Ray(Peer):
    name = "Ray tasks"
    slow = True
    limit = 10_000

    def start(self) -> None:
        import ray

        self.ray = ray
        if not ray.is_initialized():
            ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.remote: dict[Any, Any] = {}
        self.one()

    def stop(self) -> None:
        self.ray.shutdown()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        if function not in self.remote:
            self.remote[function] = self.ray.remote(function)
        return self.remote[function].remote(argument)

    def wait(self, handles: list[Any]) -> None:
        self.ray.get(handles)

    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        self.wait([self.submit(function, a) for a in arguments])


class RayActors(Ray):
    name = "Ray actor pool"

    def start(self) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

        class Worker:
            def call(self, function: Callable[..., Any], argument: Any) -> Any:
                return function(argument)

        self.ray = ray
        actor = ray.remote(num_cpus=0)(Worker)
        self.actors = [actor.remote() for _ in range(WORKERS)]
        self.turn = 0
        self.one()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        self.turn = (self.turn + 1) % WORKERS
        return self.actors[self.turn].call.remote(function, argument)


class Dask(Peer):
    name = "Dask distributed"
    slow = True
    limit = 10_000

    def start(self) -> None:
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
        self.client = Client(self.cluster)
        self.one()

    def stop(self) -> None:
        self.client.close()
        self.cluster.close()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.client.submit(function, argument, pure=False)

    def wait(self, handles: list[Any]) -> None:
        self.client.gather(handles)

    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        self.client.gather(self.client.map(function, arguments, pure=False))


class Flame(Peer):
    """`session.run` of bytes on a service: what flmping measures. `durability` as `flame up --durability` has it."""

    def __init__(self, durability: str = "power") -> None:
        self.durability = durability
        self.name = f"Flame session.run ({durability})"

    def start(self) -> None:
        from benchmarks.service import Bench
        from flame.testing.cluster import LocalCluster

        self.cluster = LocalCluster(durability=self.durability).start()
        self.client = self.cluster.connect()
        self.session = self.client.session(Bench, max_instances=WORKERS)
        self.one()

    def stop(self) -> None:
        self.client.close()
        self.cluster.stop()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.session.run(argument if function is echo else repr(argument).encode())

    def wait(self, handles: list[Any]) -> None:
        for handle in handles:
            handle.result()

    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        for _ in self.session.map(arguments if function is echo else [repr(a).encode() for a in arguments]):
            pass


class FlamePool(Peer):
    """FlameExecutor.submit of a Python function."""

    name = "FlameExecutor.submit"

    def start(self) -> None:
        import flame
        from flame.testing.cluster import LocalCluster

        self.cluster = LocalCluster(durability="power").start()
        self.client = self.cluster.connect()
        self.pool = flame.FlameExecutor(WORKERS, client=self.client)
        self.one()

    def stop(self) -> None:
        self.client.close()
        self.cluster.stop()

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.pool.submit(function, argument)

    def wait(self, handles: list[Any]) -> None:
        for handle in handles:
            handle.result()

    def map(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        for _ in self.pool.map(function, arguments):
            pass


def available() -> list[Peer]:
    """Flame and every peer that is installed."""
    out: list[Peer] = [Flame("power"), Flame("process"), FlamePool(), Pool(), ProcessPool()]
    try:
        import ray  # noqa: F401

        out += [Ray(), RayActors()]
    except ImportError:
        pass
    try:
        import distributed  # noqa: F401

        out.append(Dask())
    except ImportError:
        pass
    return out
