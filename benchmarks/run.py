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


def one_round(peer: Peer, quick: bool) -> dict[str, Any]:
    """Everything that every peer does, with only this one alive: some burn a core while idle."""
    out: dict[str, Any] = {}
    peer.start()
    try:
        for size in SIZES[: 2 if quick else 3]:
            if size <= peer.limit:
                out[f"{size:,}"] = measure.throughput(peer, size)
                out[f"map {size:,}"] = measure.mapped(peer, size)
        trips = measure.round_trips(peer, 300)
        opened = measure.open_loop(peer, 0.5e3 / trips["p50"])
        out |= {f"closed {p}": ms for p, ms in trips.items()} | {f"open {p}": ms for p, ms in opened.items()}
        out["efficiency at 1 ms"] = measure.efficiency(peer, 1e-3, 400)
        out["efficiency at 10 ms"] = measure.efficiency(peer, 10e-3, 100)
        out["METG(50 %) us"] = measure.metg(peer, LENGTHS)
        if not isinstance(peer, Flame):  # a session of bytes takes no functions
            out["pi, 1,000 tasks, s"] = measure.pi(peer)
    finally:
        peer.stop()
    return out


def compare(peers: list[Peer], rounds: int, quick: bool) -> dict[str, Any]:
    """Every peer once a round, so that a slow minute of the machine is slow for all; slow peers sit out after the second round."""
    rows: dict[str, list[dict[str, Any]]] = {p.name: [] for p in peers}
    for number in range(rounds):
        for peer in peers:
            if number < 2 or not peer.slow:
                say(f"round {number + 1}/{rounds}: {peer.name}")
                rows[peer.name].append(one_round(peer, quick))
    found = {name: middle(values) for name, values in rows.items()}
    columns = list(dict.fromkeys(c for row in found.values() for c in row))
    groups = {
        "Tasks per second, one submit a task, and map": [c for c in columns if c.endswith(",000")],
        "Round trip of one task, ms: closed loop, and open loop at half of that rate": [c for c in columns if " p" in c and c[0] in "co"],
        "Granularity": [c for c in columns if "efficiency" in c or "METG" in c or c.startswith("pi,")],
    }  # fmt: skip
    for title, names in groups.items():
        table(title, {name: {c: row.get(c) for c in names} for name, row in found.items()})
    return {"compare": found}


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
