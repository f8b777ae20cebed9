"""`flmexec`: run a script as tasks and print what it printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from flame.cli.entry import guard
from flame.cli.parsing import byte, completion, whole
from flame.version import __version__


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="flmexec", description="Run a script as many tasks of one session and print its output."
    )
    p.add_argument("-t", "--task-num", type=whole, default=10, metavar="N", help="how many times (10)")
    p.add_argument("-c", "--code", metavar="TEXT", help="the script (required)")
    p.add_argument("-l", "--language", choices=("shell", "python"), default="shell", help="of the script (shell)")
    p.add_argument("-r", "--runtime", metavar="TEXT", help="which shell, or which Python version")
    p.add_argument(
        "-i", "--input", type=byte, action="append", metavar="N", help="one byte for the script's stdin; repeat it"
    )
    p.add_argument("--raw", action="store_true", help="print byte values instead of text")
    p.add_argument("-o", "--output", choices=("table", "json"), default="table", help="for people or for programs")
    p.add_argument(
        "--endpoint", metavar="ADDR", help="the cluster; else FLAME_ENDPOINT, the one running here, or one of its own"
    )
    p.add_argument("--completion", choices=("bash", "zsh", "fish"), help="print a completion script")
    p.add_argument("--version", action="store_true", help="print the version")
    return p


def request(args: argparse.Namespace) -> bytes:
    script = {"language": args.language, "runtime": args.runtime, "code": args.code, "input": args.input}
    return json.dumps(script).encode()


def shown(output: bytes | None, raw: bool) -> str:
    """What one task printed: text without the last newline, or its byte values."""
    data = bytes(json.loads(output or b"{}").get("data", ()))
    return str(list(data)) if raw else data.decode(errors="replace").removesuffix("\n")


def execute(args: argparse.Namespace, client: Any) -> None:
    """Prints task by task, in order. Raises the error of the first task that failed."""
    quiet = args.output == "json"
    begun = time.perf_counter()
    session = client.session("flmexec")
    try:
        created = round((time.perf_counter() - begun) * 1000)
        if not quiet:
            print(
                f"Session <{session.id}> was created in <{created:,} ms>, "
                f"start to run <{args.task_num:,}> tasks in the session:\n",
                flush=True,
            )
        start = time.perf_counter()
        payload = request(args)
        futures = [session.run(payload) for _ in range(args.task_num)]
        outputs = []
        for no, future in enumerate(futures, 1):
            text = shown(future.result(), args.raw)
            outputs.append(text)
            if not quiet:
                print(f"Task {no:<10}: {text}", flush=True)
        took = round((time.perf_counter() - start) * 1000)
        if quiet:
            tasks = [{"task": no, "output": text} for no, text in enumerate(outputs, 1)]
            print(json.dumps({"session": session.id, "duration_ms": took, "tasks": tasks}, indent=2))
        else:
            print(f"\n\n<{args.task_num:,}> tasks was completed in <{took:,} ms>.")
    finally:
        session.close()


def work(args: argparse.Namespace) -> int:
    if args.completion:
        print(completion(parser(), args.completion))
        return 0
    if args.version:
        print(f"flmexec {__version__}")
        return 0
    from flame.sdk.connect import connect

    with connect(args.endpoint or os.environ.get("FLAME_ENDPOINT")) as client:
        execute(args, client)
    return 0


def main() -> None:
    args = parser().parse_args()
    if args.code is None and not (args.completion or args.version):
        parser().error("the following arguments are required: -c/--code")
    sys.exit(guard(lambda: work(args)))


if __name__ == "__main__":
    main()
