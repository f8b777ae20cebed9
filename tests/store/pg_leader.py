"""A process that wants to lead and then writes a journal: `python pg_leader.py DSN ROLE ADDRESS`. Prints what happens, and when."""

from __future__ import annotations

import sys
import threading
import time

from flame.core.base.errors import FlameError
from flame.store.leadership import Leadership
from flame.store.port import Row
from flame.store.postgres import PostgresStore


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, (time.monotonic(), *words))) + "\n")  # at once: two threads speak
    sys.stdout.flush()


def main() -> None:
    dsn, role, address = sys.argv[1:]
    lost = threading.Event()
    lead = Leadership(dsn, role, [address], lost=lambda: (say("lost"), lost.set()))  # type: ignore[func-returns-value]
    say("waiting")
    lead.acquire()
    say("leading", lead.epoch)
    store = PostgresStore(dsn, role)
    store.open("h")
    position = max((row.position for row in store.rows(0)), default=0)
    try:
        while True:
            position += 1
            store.append([Row(position, address, 1, b"x" * 100)])
            if position % 100 == 1:
                say("wrote", position)
    except FlameError:
        try:
            store.read([])
        except FlameError as error:
            say(type(error).__name__)
    lost.wait(10)
    store.close()
    lead.stop()


if __name__ == "__main__":
    main()
