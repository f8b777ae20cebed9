"""The measurements. Each returns {name: value}; seconds unless the name says otherwise."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import PAYLOAD, WORKERS, Flame, Peer, echo, spin


def throughput(peer: Peer, n: int) -> float:
    """Tasks a second, one submit call a task."""
    begun = time.perf_counter()
    handles = [peer.submit(echo, PAYLOAD) for _ in range(n)]
    peer.wait(handles)
    return n / (time.perf_counter() - begun)


def mapped(peer: Peer, n: int) -> float:
    begun = time.perf_counter()
    peer.map(echo, [PAYLOAD] * n)
    return n / (time.perf_counter() - begun)


def round_trips(peer: Peer, n: int = 1000) -> dict[str, float]:
    """One task after another: milliseconds."""
    times = []
    for _ in range(n):
        begun = time.perf_counter()
        peer.one()
        times.append(time.perf_counter() - begun)
    return percentiles(times)


def percentiles(times: list[float]) -> dict[str, float]:
    times = sorted(times)
    return {f"p{p}": times[min(len(times) - 1, len(times) * p // 100)] * 1e3 for p in (50, 90, 99)}


def open_loop(peer: Peer, rate: float, seconds: float = 2.0) -> dict[str, float]:
    """Tasks arrive at a fixed rate whether or not earlier ones are done: milliseconds from arrival to result, as the caller sees it."""
    gap = 1 / rate
    begun = time.perf_counter()
    handles: list[tuple[float, Any]] = []
    times: list[float] = []
    done = threading.Event()

    def collect() -> None:
        seen = 0
        while not done.is_set() or seen < len(handles):
            if seen < len(handles):
                due, handle = handles[seen]
                peer.wait([handle])
                times.append(time.perf_counter() - due)
                seen += 1
            else:
                time.sleep(gap / 2)

    thread = threading.Thread(target=collect)
    thread.start()
    due = begun
    while due < begun + seconds:
        now = time.perf_counter()
        if now < due:
            time.sleep(due - now)
        handles.append((due, peer.submit(echo, PAYLOAD)))
        due += gap
    done.set()
    thread.join()
    return percentiles(times)


def efficiency(peer: Peer, seconds: float, n: int) -> float:
    """Share of the ideal: n tasks of `seconds` each on WORKERS workers."""
    begun = time.perf_counter()
    handles = [peer.submit(spin, seconds) for _ in range(n)]
    peer.wait(handles)
    return n * seconds / WORKERS / (time.perf_counter() - begun)


def metg(peer: Peer, lengths: tuple[float, ...]) -> float:
    """METG(50 %): the task length in microseconds at which half of the ideal throughput is reached (Task Bench, Slaughter et al.,
    SC20), between the two lengths that bracket it; the shortest length if even that is above half."""
    previous: tuple[float, float] | None = None
    for length in lengths:
        share = efficiency(peer, length, max(50, min(4000, int(0.4 / length))))
        if share < 0.5:
            if previous is None:
                return length * 1e6
            (above, high), (below, low) = previous, (length, share)
            return (below + (above - below) * (0.5 - low) / (high - low)) * 1e6
        previous = (length, share)
    return lengths[-1] * 1e6


def cold_start() -> dict[str, float]:
    """flmping with no cluster: to its first result, and whole."""
    with tempfile.TemporaryDirectory() as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FLAME")} | {
            "HOME": home,
            "XDG_RUNTIME_DIR": home,
        }
        script = (
            "import time, flame\nclient = flame.connect()\nsession = client.session('flmping')\nsession.invoke()\n"
            "import os; os.write(1, b'first'); session.close(); client.close()"
        )
        begun = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read(5)
        first = time.perf_counter() - begun
        child.communicate()
        flmping = str(Path(sys.executable).with_name("flmping"))
        begun = time.perf_counter()
        subprocess.run([flmping], env=environment, stdout=subprocess.DEVNULL, check=True)
        return {"first result": first, "whole command": time.perf_counter() - begun}


def sessions(count: int) -> dict[str, float]:
    """Warm cluster: open to first result; `count` sessions of 30 tasks one after another; what is left behind."""
    import psutil

    peer = Flame("power")
    peer.start()
    client = peer.client
    firsts, whole, created = [], [], []
    parent = psutil.Process(peer.cluster.pid("supervisor"))
    settle(parent)
    before = len(parent.children(recursive=True))
    for _ in range(count):
        begun = time.perf_counter()
        session = client.session("flmping")
        created.append(time.perf_counter() - begun)
        session.run().result()
        firsts.append(time.perf_counter() - begun)
        for future in [session.run() for _ in range(29)]:
            future.result()
        session.close()
        whole.append(time.perf_counter() - begun)
    settle(parent)
    left = len(parent.children(recursive=True)) - before
    peer.stop()
    middle = sorted(firsts)[len(firsts) // 2]
    return {
        "create p50 ms": sorted(created)[len(created) // 2] * 1e3, "open to first result p50 ms": middle * 1e3,
        "session of 30 tasks mean ms": sum(whole) / len(whole) * 1e3, "processes left": left,
    }  # fmt: skip


def settle(parent: Any) -> None:
    """Until the number of processes has stopped changing."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        now = len(parent.children(recursive=True))
        if now != count:
            count, since = now, time.monotonic()
        time.sleep(0.05)


def million() -> dict[str, float]:
    """1,000,000 tasks in one session: cost beside 30,000, memory of the manager per queued task, and after ten such sessions."""
    import psutil

    peer = Flame("power")
    peer.start()
    manager = psutil.Process(peer.cluster.pid("manager"))
    rss = lambda: manager.memory_info().rss  # noqa: E731
    throughput(peer, 30_000)
    idle = rss()
    small = sorted(throughput(peer, 30_000) for _ in range(5))[2]
    large = throughput(peer, 1_000_000)
    with peer.client.session("flmping", resources="cpu=400") as waiting:  # never placed: everything queues
        base = rss()
        for _ in range(1_000_000):
            waiting.run(PAYLOAD)
        waiting.flush()
        queued = (rss() - base) / 1e6
        begun = time.perf_counter()
        waiting.status()
        status = time.perf_counter() - begun
        waiting.close("cancel")
    for _ in range(10):
        with peer.client.session("flmping") as session:
            for future in [session.run() for _ in range(1_000_000)]:
                future.result()
    time.sleep(1)
    after = rss()
    peer.stop()
    return {
        "30,000: tasks/s": small, "1,000,000: tasks/s": large, "cost ratio": small / large, "bytes a queued task (16 are payload)": queued,
        "status of it ms": status * 1e3, "manager idle MB": idle / 1e6, "after ten such sessions MB": after / 1e6,
    }  # fmt: skip


def many_clients(count: int = 8, tasks: int = 10_000) -> dict[str, float]:
    """`count` client processes feed one session."""
    peer = Flame("power")
    peer.start()
    throughput(peer, tasks)
    alone = throughput(peer, count * tasks)
    script = (
        "import sys, time, flame\nclient = flame.connect(sys.argv[1])\nsession = client.open_session(sys.argv[2])\n"
        "print(flush=True)\nsys.stdin.readline()\nbegun = time.perf_counter()\n"
        f"futures = [session.run(b'x%d' % i) for i in range({tasks})]\n"
        "assert all(f.result() == b'x%d' % i for i, f in enumerate(futures))\nprint(begun, time.perf_counter(), flush=True)"
    )
    command = [sys.executable, "-c", script, str(peer.cluster.data_dir), peer.session.id]
    before = peer.session.status().succeed
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    said = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        said.append([float(t) for t in child.communicate()[0].split()])
    codes = [child.returncode for child in children]
    took = max(end for _, end in said) - min(begun for begun, _ in said)  # one clock for all processes
    results = peer.session.status().succeed - before
    peer.stop()
    assert not any(codes)
    return {"results": results, "tasks/s": results / took, "beside one client": results / took / alone}


def recovery(moments: int, tasks: int = 100_000) -> dict[str, float]:
    """kill -9 of each process in turn at random moments: seconds from the kill to the next result, median and worst."""
    rng = random.Random(5)
    peer = Flame("power")
    peer.start()
    pauses, wrong = [], 0
    for moment in range(moments):
        victim = ("manager", "allocator", "agent", "executor")[moment % 4]
        session = peer.client.session("flmping")
        futures: list[Any] = []
        killed = threading.Event()
        when = [0.0]

        def kill(
            victim: str = victim, session: Any = session, when: list[float] = when, killed: threading.Event = killed
        ) -> None:
            time.sleep(rng.uniform(0.02, 0.2))
            pids = [e.pid for e in peer.client.list_executors() if e.session == session.id and e.pid]
            pid = peer.cluster.pid(victim) if victim != "executor" else (pids or [0])[0]
            if pid:
                os.kill(pid, signal.SIGKILL)
            when[0] = time.perf_counter()
            killed.set()

        thread = threading.Thread(target=kill)
        thread.start()
        for _ in range(tasks):
            futures.append(session.run())
        killed.wait()
        probe = session.run()
        probe.result(60)
        pauses.append(time.perf_counter() - when[0])
        for future in futures:
            future.result(60)
        thread.join()
        wrong += session.status().succeed != tasks + 1
        session.close()
    peer.stop()
    pauses.sort()
    return {
        "moments": moments,
        "median s": pauses[len(pauses) // 2],
        "worst s": pauses[-1],
        "sessions with a wrong count": wrong,
    }


def pi(peer: Peer, tasks: int = 1000, points: int = 2000) -> float:
    """Seconds for pi by Monte Carlo, pure Python."""
    begun = time.perf_counter()
    peer.wait([peer.submit(inside, points) for _ in range(tasks)])
    return time.perf_counter() - begun


def inside(points: int) -> int:
    rng = random.random
    return sum(rng() ** 2 + rng() ** 2 <= 1 for _ in range(points))
