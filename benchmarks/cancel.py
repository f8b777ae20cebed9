"""How long a running task goes on after it was cancelled: one that looks at `ctx.cancelled`, and one that does not.

python benchmarks/cancel.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import CancelledError
from pathlib import Path

import flame
from flame.core.base.errors import TaskCancelled
from flame.testing.cluster import LocalCluster, eventually

TRIALS = 20
HERE = Path(__file__).parent


def measure(client: flame.Client, mark: Path, stubborn: bool) -> list[float]:
    """Milliseconds from `cancel` until the task's process stopped working (its mark is not touched any more)."""
    took = []
    for number in range(TRIALS):
        with client.session("cancelled", max_instances=1) as session:
            path = mark / f"{stubborn}-{number}"
            future = session.run(f"{int(stubborn)}{path}".encode())
            eventually(path.exists)
            begin = time.time()
            future.cancel(kill=True)
            try:
                future.result(30)
            except (TaskCancelled, CancelledError):
                pass
            eventually(lambda path=path: time.time() - float(path.read_text() or 0) > 0.25, 30)
            took.append(1e3 * (float(path.read_text()) - begin))
    return sorted(took)


def main() -> None:
    with LocalCluster() as cluster, cluster.connect() as client, tempfile.TemporaryDirectory() as folder:
        client.register("cancelled", service="service:Cancelled", path=str(HERE))
        for stubborn, name, bound in ((False, "cooperative", 100), (True, "forced, grace 1 s", 1200)):
            took = measure(client, Path(folder), stubborn)
            print(f"{name:<18} median {statistics.median(took):.0f} ms, worst {took[-1]:.0f} ms (target {bound} ms)")


if __name__ == "__main__":
    main()
