"""`python -m flame.sim.daily [--seed N] [--nodes N] [--hours H] [--load X] [--plot FILE] [-o json]`: play a day and tell what it
came to."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flame.sim.day import DayWorld, Plan
from flame.sim.report import plot, rows


def main() -> int:
    told = parse()
    console = Console(stderr=True)
    world = DayWorld(Plan(told.seed, told.nodes, told.hours, told.load, told.tenants))
    begun = time.perf_counter()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("a day", total=1.0)
        outcome = world.play(lambda done: progress.update(task, completed=done))
    seconds = time.perf_counter() - begun
    found = [*rows(outcome), ("scheduling cycles / seconds to play", f"{world.allocator.cycles:,} / {seconds:.0f}")]
    if told.output == "json":
        json.dump(dict(found), sys.stdout, indent=1)
        print()
    else:
        table = Table(
            title=f"seed {told.seed}: {told.hours:g} h, {told.nodes} nodes, {told.tenants} tenants, load {told.load:g}"
        )
        table.add_column("figure")
        table.add_column("value", justify="right")
        for row in found:
            table.add_row(*row)
        Console().print(table)
    if told.plot is not None:
        try:
            plot(outcome, told.plot)
        except ImportError:
            console.print("no plot: matplotlib is not installed (pip install matplotlib)")
            return 1
        console.print(f"plotted: {told.plot}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flame.sim.daily", description="Play a day of sessions and workloads."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=20, help="of 64 CPUs and 8 GPUs")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--load", type=float, default=1.1, help="GPU time that is asked for, over what there is")
    parser.add_argument("--tenants", type=int, default=3)
    parser.add_argument("--plot", type=Path, default=None, help="a PNG of the day")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
