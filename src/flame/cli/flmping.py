"""`flmping`: run tasks of the built-in application and say how fast they were.

Parses with argparse and imports little: with no cluster running the whole command has a second.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from flame.cli.entry import guard
from flame.cli.parsing import completion, whole
from flame.core.base.quantity import parse_size
from flame.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flame.sdk.session import Session

RULE = "=" * 60
BAR = 45
TICK = 0.05


class Pinged(NamedTuple):
    """What came of it. Times are seconds; an outcome is (task number, state, text)."""

    session: str
    created: float
    duration: float
    first: float
    outcomes: list[tuple[int, str, str]]
    succeeded: int
    failed: int


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="flmping",
        description="Run tasks that only say where they ran: proof that the cluster works, and how fast it is.",
    )
    p.add_argument("-t", "--task-num", type=whole, default=10, metavar="N", help="how many tasks (10)")
    p.add_argument("-c", "--common-data", metavar="TEXT", help="common data of the session")
    p.add_argument("-d", "--duration", type=whole, metavar="MS", help="each task sleeps so many milliseconds")
    p.add_argument("-m", "--memory", metavar="SIZE", help="each task allocates so much, such as 1m")
    p.add_argument("-p", "--perf", action="store_true", help="print BENCHMARK RESULTS instead of a row per task")
    p.add_argument("-P", "--priority", type=whole, default=0, metavar="N", help="of the session (0)")
    p.add_argument("-r", "--resreq", metavar="TEXT", help="resources of one executor, such as cpu=1,mem=1g")
    p.add_argument("-o", "--output", choices=("table", "json"), default="table", help="for people or for programs")
    p.add_argument("-v", "--verbose", action="store_true", help="also say how long the first and the later tasks took")
    p.add_argument(
        "--endpoint", metavar="ADDR", help="the cluster; else FLAME_ENDPOINT, the one running here, or one of its own"
    )
    p.add_argument("--completion", choices=("bash", "zsh", "fish"), help="print a completion script")
    p.add_argument("--version", action="store_true", help="print the version")
    return p


def request(duration: int | None, memory: int | None) -> bytes | None:
    """The input of every task: absent when nothing is asked, which is also the fastest."""
    if duration is None and memory is None:
        return None
    return json.dumps({"duration": duration, "memory": memory}).encode()


def ping(args: argparse.Namespace, client: Any) -> Pinged:
    """Open a session, submit everything, wait, close. Prints the header as soon as the session is there."""
    quiet = args.output == "json"
    payload = request(args.duration, parse_size(args.memory) if args.memory else None)
    common = json.dumps({"value": args.common_data}).encode() if args.common_data is not None else None
    more = {"resources": args.resreq} if args.resreq else {}
    begun = time.perf_counter()
    session = client.session("flmping", common_data=common, priority=args.priority, **more)
    created = time.perf_counter() - begun
    try:
        if not quiet:
            print(
                f"Session <{session.id}> was created in <{round(created * 1000):,} ms>, "
                f"start to run <{args.task_num:,}> tasks in the session:\n",
                flush=True,
            )
        bar = sys.stdout.isatty() and not quiet
        return measure(session, payload, args.task_num, bar, not args.perf, created)
    finally:
        session.close()


def measure(session: Session, payload: bytes | None, count: int, bar: bool, keep: bool, created: float) -> Pinged:
    """The clock runs from the first submit to the last result."""
    clock = time.perf_counter
    run = session.run
    gc.disable()  # this process ends soon, and its futures are no cycles: looking for some is a tenth of its time
    start = clock()
    futures = [run(payload) for _ in range(count)]
    first = 0.0
    if futures:
        futures[0].exception()
        first = clock() - start
    if bar:
        follow(futures)
    failed = sum(1 for future in futures if future.exception() is not None)
    duration = clock() - start
    outcomes = [outcome(no, future) for no, future in enumerate(futures, 1)] if keep else []
    return Pinged(session.id, created, duration, first, outcomes, count - failed, failed)


def follow(futures: Sequence[Any]) -> None:
    """The progress bar, on a terminal only."""
    total, done = len(futures), 0
    while True:
        while done < total and futures[done].done():
            done += 1
        share = done / total if total else 1.0
        sys.stdout.write(f"\r[{share:4.0%}] {'=' * round(share * BAR):<{BAR}} {done:>7}/{total}")
        sys.stdout.flush()
        if done == total:
            break
        time.sleep(TICK)
    sys.stdout.write("\n\n")


def outcome(no: int, future: Any) -> tuple[int, str, str]:
    """(number, state, text) as a row shows it."""
    error = future.exception()
    if error is None:
        return no, "Succeed", text_of(future.result())
    state = "Cancelled" if getattr(error, "code", "") == "task_cancelled" else "Failed"
    return no, state, f"code <{getattr(error, 'return_code', -1)}>: {getattr(error, 'message', error)}"


def text_of(output: bytes | None) -> str:
    try:
        return str(json.loads(output or b"{}").get("message", ""))
    except (ValueError, AttributeError):
        return (output or b"").decode(errors="replace")


def seconds(value: float) -> str:
    """Two decimals, or three digits below a second, so that Throughput can be checked against it."""
    return f"{value:.2f}s" if value >= 1 else f"{value:.3g}s" if value >= 0.001 else f"{value:.6f}s"


def say(args: argparse.Namespace, found: Pinged) -> None:
    total = found.succeeded + found.failed
    if args.output == "json":
        print(json.dumps(record(found), indent=2))
        return
    if args.perf:
        rate = found.succeeded / found.duration if found.duration else 0.0
        print(f"{RULE}\nBENCHMARK RESULTS\n{RULE}")
        print(f"{'Duration:':<17}{seconds(found.duration)}")
        print(f"{'Succeeded:':<17}{found.succeeded}/{total}")
        print(f"{'Failed:':<17}{found.failed}")
        print(f"{'Throughput:':<17}{rate:.2f} tasks/sec\n{RULE}")
    else:
        from flame.cli.output import table

        rows = [(found.session, str(no), state, text) for no, state, text in found.outcomes]
        print(table(("Session", "Task", "State", "Output"), rows))
        print(f"\n\n<{total:,}> tasks was completed in <{round(found.duration * 1000):,} ms>.")
    if args.verbose:
        print(f"First task: {found.first * 1000:,.2f} ms, later tasks: {later(found) * 1000:,.4f} ms each.")


def later(found: Pinged) -> float:
    """Mean seconds of a task after the first."""
    rest = found.succeeded + found.failed - 1
    return max(0.0, found.duration - found.first) / rest if rest > 0 else 0.0


def record(found: Pinged) -> dict[str, Any]:
    return {
        "session": found.session,
        "created_ms": round(found.created * 1000, 3),
        "tasks": found.succeeded + found.failed,
        "succeeded": found.succeeded,
        "failed": found.failed,
        "duration_s": round(found.duration, 6),
        "throughput": round(found.succeeded / found.duration, 2) if found.duration else 0.0,
        "first_task_ms": round(found.first * 1000, 3),
        "later_task_ms": round(later(found) * 1000, 6),
        "results": [{"task": no, "state": state, "output": text} for no, state, text in found.outcomes],
    }


def work(args: argparse.Namespace) -> int:
    if args.completion:
        print(completion(parser(), args.completion))
        return 0
    if args.version:
        print(f"flmping {__version__}")
        return 0
    from flame.sdk.connect import connect

    with connect(args.endpoint or os.environ.get("FLAME_ENDPOINT")) as client:
        found = ping(args, client)
        say(args, found)
    return 1 if found.failed else 0


def main() -> None:
    args = parser().parse_args()
    sys.exit(guard(lambda: work(args)))


if __name__ == "__main__":
    main()
