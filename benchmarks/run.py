"""`make bench`: Flame beside its peers in one run, interleaved, medians. Prints tables, and JSON with --json FILE.

--quick takes a minute and says less; --only NAME runs one part. Ray and Dask take part when they are installed (`pip install .[bench]`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure
from benchmarks.peers import Flame, FlamePool, Peer, available

SIZES = (10_000, 30_000, 100_000)
LENGTHS = (10e-3, 3e-3, 1e-3, 300e-6, 100e-6, 50e-6, 25e-6, 12e-6, 6e-6)


def interleaved(peers: list[Peer], rounds: int, work: Callable[[Peer], Any]) -> dict[str, list[Any]]:
    """Every peer once a round, so that a slow minute of the machine is slow for all."""
    out: dict[str, list[Any]] = {p.name: [] for p in peers}
    for number in range(rounds):
        for peer in peers:
            say(f"  round {number + 1}/{rounds}: {peer.name}")
            out[peer.name].append(work(peer))
    return out


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def middle(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: statistics.median(v[key] for v in values) for key in values[0]}
    return statistics.median(values)


def table(title: str, rows: dict[str, dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(c for row in rows.values() for c in row))
    print(f"\n### {title}\n\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(show(row.get(c)) for c in columns)} |")


def show(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}"


def compare(peers: list[Peer], rounds: int, quick: bool) -> dict[str, Any]:
    """Everything that the peers do too."""
    found: dict[str, dict[str, Any]] = {p.name: {} for p in peers}
    for peer in peers:
        say(f"starting {peer.name}")
        peer.start()
    for size in SIZES[: 2 if quick else 3]:
        able = [p for p in peers if p.limit >= size]
        for name, values in interleaved(able, rounds, lambda p, n=size: measure.throughput(p, n)).items():
            found[name][f"{size:,}"] = middle(values)
        for name, values in interleaved(able, rounds, lambda p, n=size: measure.mapped(p, n)).items():
            found[name][f"map {size:,}"] = middle(values)
    table("Tasks per second, one submit a task, and map", found)
    trips = {
        n: middle(v)
        for n, v in interleaved(peers, rounds, lambda p: measure.round_trips(p, 300 if quick else 1000)).items()
    }
    table("Round trip of one task, closed loop, ms", trips)
    opened = interleaved(peers, min(rounds, 3), lambda p: measure.open_loop(p, 0.5e3 / trips[p.name]["p50"]))
    open_loop = {name: middle(values) for name, values in opened.items()}
    table("Open loop at half of each peer's own closed-loop rate, ms", open_loop)
    granular: dict[str, dict[str, Any]] = {p.name: {} for p in peers}
    for length, count in ((1e-3, 800), (10e-3, 120)):
        for name, values in interleaved(
            peers, min(rounds, 3), lambda p, s=length, n=count: measure.efficiency(p, s, n)
        ).items():
            granular[name][f"efficiency at {length * 1e3:g} ms"] = middle(values)
    for name, values in interleaved(peers, min(rounds, 3), lambda p: measure.metg(p, LENGTHS)).items():
        granular[name]["METG(50 %) us"] = middle(values)
    callers = [p for p in peers if not isinstance(p, Flame)]  # a session of bytes takes no functions
    for name, values in interleaved(callers, min(rounds, 3), measure.pi).items():
        granular[name]["pi, 1,000 tasks, s"] = middle(values)
    table("Granularity", granular)
    for peer in peers:
        peer.stop()
    return {"throughput": found, "round trip": trips, "open loop": open_loop, "granularity": granular}


def engine(quick: bool, rounds: int) -> dict[str, Any]:
    """What only Flame is asked."""
    out: dict[str, Any] = {}
    colds = [measure.cold_start() for _ in range(rounds)]
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "cold start, s": lambda: middle(colds),
        "sessions": lambda: measure.sessions(100 if quick else 1000),
        "8 clients, one session": measure.many_clients,
        "kill -9": lambda: measure.recovery(4 if quick else 20, 20_000 if quick else 100_000),
    }
    if not quick:
        parts["1,000,000 tasks"] = measure.million
    for name, part in parts.items():
        say(name)
        out[name] = part()
        table(name, {"Flame": out[name]})
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0, help="5, or 2 with --quick")
    parser.add_argument("--only", choices=("compare", "engine", "flame"), help="flame: the comparison without peers")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    rounds = args.rounds or (2 if args.quick else 5)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}; medians of {rounds} interleaved rounds")
    found: dict[str, Any] = {"machine": machine, "rounds": rounds}
    if args.only != "engine":
        peers = [Flame("power"), Flame("process"), FlamePool()] if args.only == "flame" else available()
        found |= compare(peers, rounds, args.quick)
    if args.only in (None, "engine"):
        found |= engine(args.quick, rounds)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
