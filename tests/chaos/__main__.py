"""`make chaos`: break a real cluster for MINUTES and check every promise; `python -m chaos --help`.

Exit code 1 when a promise was broken; the seed that is printed repeats the schedule.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from pathlib import Path

from chaos.audit import Findings
from chaos.run import Result, Run, Settings
from chaos.world import WORLDS, why_not
from rich.console import Console
from rich.table import Table

BLOCK = 20 * 60.0
"""Seconds of one arrangement before the next has its turn, at most."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Break real clusters and check every promise.")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the whole run")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; printed by every run")
    parser.add_argument("--cluster", choices=[*WORLDS, "all"], default="all", help="the arrangement")
    parser.add_argument("--round", type=float, default=60.0, help="seconds between two quiet moments")
    parser.add_argument("--clients", type=int, default=3, help="processes")
    parser.add_argument("--threads", type=int, default=3, help="of each client")
    parser.add_argument("--keep", type=Path, default=Path("chaos-failed"), help="where broken histories go")
    return parser.parse_args()


def main() -> int:
    told = arguments()
    console = Console(highlight=False, soft_wrap=True)
    seed = told.seed if told.seed is not None else secrets.randbelow(1_000_000)
    begin = time.monotonic()

    def say(text: str) -> None:
        at = time.monotonic() - begin
        console.print(f"{at:7.1f}  {text}", style="dim" if console.is_terminal and " s  " in text else None)

    names = [told.cluster] if told.cluster != "all" else [name for name in WORLDS if not why_not(name)]
    for name in WORLDS if told.cluster == "all" else names:
        if why := why_not(name):
            say(f"left out: {name}: {why}")
            names = [n for n in names if n != name]
    say(f"seed {seed}: {', '.join(names)}")
    results: dict[str, Result] = {}
    for name in names:
        settings = Settings(
            seed, told.minutes * 60 / len(names), told.round, told.clients, told.threads, told.keep, say
        )
        results[name] = Run(name, settings).go()
        for text in results[name].missing:
            say(f"left out: {text}")
        if results[name].broken:
            break
    console.print(summary(results))
    broken = [text for result in results.values() for text in [*map(str, result.findings.violations), *result.leaks]]
    for text in broken[:50]:
        console.print(text, style="red" if console.is_terminal else None, markup=False)
    console.print(f"seed {seed}: {len(broken)} violations in {(time.monotonic() - begin) / 60:.1f} minutes")
    return 1 if broken or not results else 0


def summary(results: dict[str, Result]) -> Table:
    table = Table("", *results, title="chaos")
    rows: dict[str, list[str]] = {"rounds": [str(r.rounds) for r in results.values()]}
    keys = Counter(key for r in results.values() for key in r.findings.counts)
    for key in sorted(keys):
        rows[key] = [f"{r.findings.counts[key]:,}" for r in results.values()]
    for key in sorted(Counter(key for r in results.values() for key in r.faults)):
        rows[f"fault: {key}"] = [str(r.faults[key]) for r in results.values()]
    rows["longest pause of a client, s"] = [f"{r.findings.longest:.1f}" for r in results.values()]
    rows["memory"] = ["\n".join(r.growth) or "too few samples" for r in results.values()]
    rows["violations"] = [str(len(r.findings.violations) + len(r.leaks)) for r in results.values()]
    for key, values in rows.items():
        table.add_row(key, *values)
    return table


__all__ = ["Findings", "main"]
if __name__ == "__main__":
    sys.exit(main())
