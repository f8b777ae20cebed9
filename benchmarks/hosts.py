"""Between hosts over TLS against the unix socket, on one machine and in one run: `python benchmarks/hosts.py [process|power]`.

One control plane without a node of its own; one node joined by unix sockets, one by TLS; clients likewise. Medians of rounds that
alternate.
"""

from __future__ import annotations

import statistics
import sys
import time

import flame
from flame.sdk.session import Session
from flame.testing.cluster import LocalCluster, eventually
from flame.testing.node import LocalNode

TASKS, LONE, ROUNDS = 30_000, 400, 5


def throughput(session: Session) -> float:
    begin = time.perf_counter()
    for future in [session.run(None) for _ in range(TASKS)]:
        future.result()
    return TASKS / (time.perf_counter() - begin)


def round_trips(session: Session) -> tuple[float, float]:
    took = []
    for _ in range(LONE):
        begin = time.perf_counter()
        session.run(None).result()
        took.append(1e3 * (time.perf_counter() - begin))
    took.sort()
    return took[LONE // 2], took[int(LONE * 0.99)]


def measure(client: flame.Client, use: str, other: str) -> tuple[float, float, float]:
    client.uncordon(use)
    client.cordon(other)
    with client.session("flmping") as session:
        for _ in range(50):
            session.run(None).result()
        rate = statistics.median(throughput(session) for _ in range(3))
        return rate, *round_trips(session)


def main() -> None:
    durability = sys.argv[1] if len(sys.argv) > 1 else "power"
    with (
        LocalCluster(
            durability=durability, with_node=False, listen="tls://127.0.0.1:0", advertise="127.0.0.1"
        ) as cluster,
        LocalNode(cluster, "unix"),
        LocalNode(cluster, "tls", remote=True),
        cluster.connect() as near,
    ):
        eventually(lambda: sum(node.state == 1 for node in near.list_nodes()) == 2)
        token = (cluster.data_dir / "token").read_text().strip()
        with flame.connect(cluster.run.listen, token=token, ca_file=cluster.data_dir / "certs" / "ca.pem") as far:
            found = [(measure(near, "unix", "tls"), measure(far, "tls", "unix")) for _ in range(ROUNDS)]
    for name, place in (("unix socket", 0), ("TLS", 1)):
        rate, p50, p99 = (statistics.median(row[place][column] for row in found) for column in range(3))
        print(f"{name:<12} {rate:>9,.0f} tasks/s   round trip p50 {p50:.2f} ms, p99 {p99:.2f} ms   ({durability})")
    ratio = statistics.median(tls[0] / unix[0] for unix, tls in found)
    print(f"throughput over TLS: {100 * ratio:.0f} % of the unix socket's (median of {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
