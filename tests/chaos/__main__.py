"""`make chaos`: break a real cluster for MINUTES and check every promise; `python -m chaos --help`.

Exit code 1 when a promise was broken; the seed that is printed repeats the schedule.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chaos.run import Result, Run, Settings
from chaos.world import WORLDS, why_not
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Break real clusters and check every promise.")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the whole run")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; printed by every run")
    parser.add_argument("--cluster", choices=[*WORLDS, "all"], default="all", help="the arrangement")
    parser.add_argument("--round", type=float, default=60.0, help="seconds between two quiet moments")
    parser.add_argument("--clients", type=int, default=3, help="processes")
    parser.add_argument("--threads", type=int, default=3, help="of each client")
    parser.add_argument("--faults", default="", help="a regular expression: only these")
    parser.add_argument("--keep", type=Path, default=Path("chaos-failed"), help="where broken histories go")
    return parser.parse_args()


class Voice:
    """A bar with the time that is left on a terminal; plain lines everywhere."""

    def __init__(self, seconds: float) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._begin = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True)
        self._task = self.bar.add_task("starting", total=seconds)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def say(self, text: str) -> None:
        self.bar.console.print(f"{self.seconds:7.1f}  {text}", markup=False)

    def tick(self, name: str, number: int) -> None:
        self.bar.update(self._task, completed=self.seconds, description=f"{name}, round {number}")


def choose(told: argparse.Namespace, say: Callable[[str], None]) -> list[str]:
    """The arrangements that can be made here."""
    names = list(WORLDS) if told.cluster == "all" else [told.cluster]
    for name in names:
        if why := why_not(name):
            say(f"left out: {name}: {why}")
    return [name for name in names if not why_not(name)]


def main() -> int:
    told = arguments()
    seed = told.seed if told.seed is not None else secrets.randbelow(1_000_000)
    voice = Voice(told.minutes * 60)
    results: dict[str, Result] = {}
    with voice.bar:
        names = choose(told, voice.say)
        voice.say(f"seed {seed}: {', '.join(names)}")
        for name in names:
            settings = Settings(
                seed=seed, seconds=told.minutes * 60 / len(names), round=told.round, clients=told.clients,
                threads=told.threads, faults=told.faults, keep=told.keep, say=voice.say, tick=voice.tick,
            )  # fmt: skip
            results[name] = Run(name, settings).go()
            for text in results[name].missing:
                voice.say(f"left out: {text}")
            if results[name].broken:
                break
    console = voice.console
    console.print(summary(results))
    broken = [text for result in results.values() for text in [*map(str, result.findings.violations), *result.leaks]]
    for text in broken[:50]:
        console.print(text, style="red" if console.is_terminal else None, markup=False)
    console.print(f"seed {seed}: {len(broken)} violations in {voice.seconds / 60:.1f} minutes")
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


if __name__ == "__main__":
    sys.exit(main())
