"""A process that writes a journal until it is told to stop or overtaken: `python pg_process.py DSN NAME SIZE [SECONDS]`.

Prints one line for every row that was committed: EPOCH POSITION. With SECONDS it takes the journal again whenever it lost it.
"""

from __future__ import annotations

import sys
import time

from flame.core.base.errors import Fenced, StorageUnreachable
from flame.store.port import Row
from flame.store.postgres import PostgresStore


def write(store: PostgresStore, epoch: int, last: int, body: bytes, until: float) -> None:
    while time.monotonic() < until:
        store.append([Row(last + 1, f"epoch-{epoch}", 1, body)])
        last += 1
        print(epoch, last, flush=True)


def overtaken(store: PostgresStore) -> str:
    """What the process reads after its failure, as a driver would."""
    try:
        return f"read {len(list(store.rows(0)))} rows"
    except Fenced:
        return "Fenced"


def main() -> None:
    dsn, name, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    until = time.monotonic() + (seconds or 60)
    while True:
        store = PostgresStore(dsn, name)
        try:
            epoch = store.open("h").epoch
            last = max((row.position for row in store.rows(0)), default=0)
            write(store, epoch, last, b"x" * size, until)
        except (Fenced, StorageUnreachable):
            if not seconds:
                print(overtaken(store), flush=True)
                return
        finally:
            store.close()
        if time.monotonic() > until:
            return


if __name__ == "__main__":
    main()
