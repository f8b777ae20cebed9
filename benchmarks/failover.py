"""Failover under load over PostgreSQL: how long a client sees nothing, and whether anything is lost or done twice.

python benchmarks/failover.py [TRIALS]     # random moments; kill -9 of a whole head, or SIGSTOP of its session manager
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import sys
import threading
import time

from flame.sdk.connect import connect
from flame.sdk.session import Session
from flame.testing.cluster import LocalCluster, eventually
from flame.testing.postgres import PostgresServer


class Load:
    """Batches of 50 tasks, one after another; the longest batch is the pause."""

    def __init__(self, session: Session) -> None:
        self.count, self.longest = 0, 0.0
        self._session, self._stop = session, threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            for future in [self._session.run(None) for _ in range(50)]:
                future.result(60)
            self.count += 50
            self.longest = max(self.longest, time.monotonic() - begin)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(90)


def kill(cluster: LocalCluster) -> None:
    """The supervisor first: it starts nothing again."""
    pids = cluster.run.pids
    for name in sorted(pids, key=lambda name: name != "supervisor"):
        try:
            os.kill(pids[name], signal.SIGKILL)
        except ProcessLookupError:
            continue


def trial(server: PostgresServer, how: str, dice: random.Random) -> tuple[float, int, int]:
    """(pause in seconds, tasks lost, results beyond one a task)."""
    storage = server.make_database()
    with (
        LocalCluster(storage=storage, durability="power") as first,
        LocalCluster(storage=storage, durability="power", standby=True) as second,
    ):
        with (
            connect(f"{first.run.endpoint},{second.run.endpoint}") as client,
            client.session("flmping", detached=True) as session,
        ):
            load = Load(session)
            eventually(lambda: load.count > 200)
            time.sleep(dice.random())
            if how == "kill -9":
                kill(first)
            else:
                first.kill("manager", signal.SIGSTOP)
            before = load.count
            eventually(lambda: load.count > before + 500, 60)
            load.stop()
            info = client.get_session(session.id)
            if how != "kill -9":
                first.kill("manager", signal.SIGCONT)
        return load.longest, load.count - info.succeed - info.failed, max(0, info.succeed - load.count)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    dice = random.Random(1)
    with PostgresServer() as server:
        for how in ("kill -9", "SIGSTOP"):
            found = [trial(server, how, dice) for _ in range(trials // 2)]
            pauses = sorted(pause for pause, _, _ in found)
            lost, twice = sum(row[1] for row in found), sum(row[2] for row in found)
            print(
                f"{how:<8} {len(found)} trials: pause median {statistics.median(pauses):.2f} s, worst {pauses[-1]:.2f} s; "
                f"{lost} lost, {twice} second results",
                flush=True,
            )


if __name__ == "__main__":
    main()
