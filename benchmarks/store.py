"""What a commit costs on each engine: round trip of one row, rows and bytes a second. Medians of five runs.

python benchmarks/store.py            # starts a PostgreSQL server of its own
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flame.store.port import Row, Store
from flame.store.postgres import PostgresStore
from flame.store.sqlite import SqliteStore
from flame.testing.postgres import PostgresServer

RUNS = 5


def round_trip(store: Store, first: int) -> tuple[float, int]:
    """Median milliseconds of 300 commits of one row of 300 bytes."""
    took = []
    for position in range(first, first + 300):
        began = time.perf_counter()
        store.append([Row(position, "s", 1, b"x" * 300)])
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3, first + 300


def frames(count: int) -> Callable[[Store, int], tuple[float, int]]:
    """MB a second in 64 MiB of frames of 64 KiB, `count` a commit."""
    body = os.urandom(64 * 1024)

    def run(store: Store, first: int) -> tuple[float, int]:
        total = 1024
        began = time.perf_counter()
        for at in range(0, total, count):
            store.append([Row(first + at + n, "s", 1, body) for n in range(count)])
        return total * len(body) / 1e6 / (time.perf_counter() - began), first + total

    return run


def small_rows(store: Store, first: int) -> tuple[float, int]:
    """Rows a second, 500 rows of 200 bytes a commit."""
    began = time.perf_counter()
    for at in range(0, 20_000, 500):
        store.append([Row(first + at + n, "s", 1, b"y" * 200) for n in range(500)])
    return 20_000 / (time.perf_counter() - began), first + 20_000


MEASURES: dict[str, Callable[[Store, int], tuple[float, int]]] = {
    "commit of 1 row, ms": round_trip,
    "64 KiB frames, 1 a commit, MB/s": frames(1),
    "64 KiB frames, 16 a commit, MB/s": frames(16),
    "rows of 200 B, 500 a commit, rows/s": small_rows,
}


def main() -> None:
    with PostgresServer({"max_wal_size": "4GB"}) as server, tempfile.TemporaryDirectory() as directory:
        stores: dict[str, Store] = {}
        for durability in ("power", "process"):
            stores[f"sqlite {durability}"] = SqliteStore(Path(directory) / f"{durability}.db", durability)
            stores[f"postgresql {durability}"] = PostgresStore(server.dsn(), f"bench-{durability}", durability)
        for name, store in stores.items():
            store.open("h")
            position = 1
            for what, measure in MEASURES.items():
                found = []
                for _ in range(RUNS):
                    value, position = measure(store, position)
                    found.append(value)
                print(f"{name:20} {what:38} {statistics.median(found):12,.2f}", flush=True)
            store.close()


if __name__ == "__main__":
    main()
