"""`python -m flame.sim --seeds N [--start S] [--mutant NAME] [-o json]`: play many seeds, say which one fails and how to see it again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from os import cpu_count

from flame.sim.world import Outcome, World, run_seed


def main() -> int:
    arguments = parse()
    if arguments.trace:
        return show(arguments)
    began = time.perf_counter()
    failures, count, steps, digest = [], 0, 0, 0
    for outcome in play(arguments):
        count += 1
        steps += outcome.steps
        digest = (digest * 1_000_003 + outcome.hash) % 2**61
        if outcome.failure:
            failures.append(outcome)
            if not arguments.keep_going:
                break
    seconds = time.perf_counter() - began
    report(arguments, failures, count, steps, digest, seconds)
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flame.sim", description="Play simulated clusters, one per seed.")
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=cpu_count() or 1, help="processes to use")
    parser.add_argument("--mutant", default="", help="plant this bug first (tests/sim/mutants.py)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("--trace", action="store_true", help="print everything that happens in the first seed")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    return parser.parse_args()


def planted(name: str) -> AbstractContextManager[object]:
    """The mutant as a context. The mutants live beside the tests: they are no part of what is installed."""
    if not name:
        return nullcontext()
    sys.path.insert(0, "tests/sim")
    context: AbstractContextManager[object] = import_module("mutants").MUTANTS[name]()
    return context


def play_range(start: int, count: int, mutant: str) -> list[Outcome]:
    """Play seeds one after another; stops after the first failure of the range."""
    found = []
    with planted(mutant):
        for seed in range(start, start + count):
            outcome = run_seed(seed)
            found.append(outcome)
    return found


def play(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Outcomes in the order of their seeds."""
    chunk = 50
    chunks = [
        (first, min(chunk, arguments.start + arguments.seeds - first), arguments.mutant)
        for first in range(arguments.start, arguments.start + arguments.seeds, chunk)
    ]
    if arguments.jobs <= 1 or len(chunks) == 1:
        for one in chunks:
            yield from play_range(*one)
        return
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for found in pool.map(play_range, *zip(*chunks, strict=True)):
            yield from found


def show(arguments: argparse.Namespace) -> int:
    """One seed with its whole trace."""
    with planted(arguments.mutant):
        world = World(arguments.start, trace=True)
        outcome = world.run()
    print("\n".join(world.clock.lines or []))
    print(f"seed {outcome.seed}: {outcome.failure or 'ok'} ({outcome.steps} steps, hash {outcome.hash:08x})")
    if outcome.failure:
        import traceback

        traceback.print_exception(world.error)
    return 1 if outcome.failure else 0


def report(
    arguments: argparse.Namespace, failures: list[Outcome], count: int, steps: int, digest: int, seconds: float
) -> None:
    mutant = f" --mutant {arguments.mutant}" if arguments.mutant else ""
    replay = [f"python -m flame.sim --start {failure.seed} --trace{mutant}" for failure in failures]
    if arguments.output == "json":
        value = {
            "seeds": count,
            "failures": [
                {"seed": failure.seed, "failure": failure.failure, "replay": line}
                for failure, line in zip(failures, replay, strict=True)
            ],
            "steps": steps,
            "hash": f"{digest:016x}",
            "seconds": round(seconds, 3),
        }
        print(json.dumps(value))
        return
    for failure, line in zip(failures, replay, strict=True):
        print(f"seed {failure.seed}: {failure.failure}\n  replay: {line}")
    print(f"{count} seeds, {len(failures)} failed, {steps} steps, {seconds:.1f} s, hash {digest:016x}")


if __name__ == "__main__":
    sys.exit(main())
