"""What breaks, when, and for how long: a schedule drawn from a seed, and the menus of the three arrangements."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.world import Hosts, Postgres, World

AT_ONCE = 2
"""Faults that may last at the same time."""
GAP = 3.0
"""Seconds between two of them, on average."""
AFTER = 5.0
"""Seconds after the end of a fault in which its consequences are still felt."""
Heal = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """begin: gets a number in 0..1 that chooses whom it hits; returns whom it has hit, and how to undo it. ("", ...): nobody was there."""

    name: str
    weight: float
    seconds: tuple[float, float]
    begin: Callable[[float], tuple[str, Heal]]
    kills: bool = False
    """Does it end processes of the engine?"""


@dataclass(frozen=True)
class Planned:
    start: float
    seconds: float
    fault: str
    lot: float


def plan(seed: str, seconds: float, menu: list[Fault], gap: float = GAP) -> list[Planned]:
    """What happens in a round of so many seconds; the same for the same seed and menu."""
    dice = random.Random(seed)
    out: list[Planned] = []
    now = 0.5
    while menu and now < seconds:  # without any: a calm round, which shows what work alone leaves behind
        fault = dice.choices(menu, [fault.weight for fault in menu])[0]
        length, lot = dice.uniform(*fault.seconds), dice.random()
        lasting = [p for p in out if p.start + p.seconds > now]
        if len(lasting) < AT_ONCE and fault.name not in {p.fault for p in lasting} and now + length < seconds:
            out.append(Planned(now, length, fault.name, lot))
        now += dice.uniform(0.3, 2 * gap - 0.3)
    return out


@dataclass
class Weather:
    """Carries a plan out, from one thread; remembers when what was broken."""

    menu: list[Fault]
    say: Callable[[str], None] = lambda text: None
    counts: Counter[str] = field(default_factory=Counter)
    windows: list[tuple[float, float]] = field(default_factory=list)
    #: when it began
    began: float = 0.0

    def run(self, planned: list[Planned], seconds: float, tick: Callable[[], None] = lambda: None) -> None:
        """Returns when the time is over and everything is undone."""
        faults = {fault.name: fault for fault in self.menu}
        begin = self.began = time.monotonic()
        waiting, lasting = list(planned), list[tuple[float, str, Heal]]()
        try:
            while (now := time.monotonic() - begin) < seconds:
                while waiting and waiting[0].start <= now:
                    lasting += self._begin(waiting.pop(0), faults, begin)
                for item in [item for item in lasting if item[0] <= now]:
                    lasting.remove(item)
                    self._end(item)
                tick()
                time.sleep(0.02)
        finally:
            for item in lasting:
                self._end(item)

    def _begin(self, p: Planned, faults: dict[str, Fault], begin: float) -> list[tuple[float, str, Heal]]:
        hit, heal = faults[p.fault].begin(p.lot)
        if not hit:
            return []
        self.say(f"{p.start:7.1f} s  {p.fault}: {hit} for {p.seconds:.1f} s")
        self.counts[p.fault] += 1
        at = time.monotonic()
        self.windows.append((at, at + p.seconds + AFTER))
        return [(time.monotonic() - begin + p.seconds, f"{p.fault}: {hit}", heal)]

    def _end(self, item: tuple[float, str, Heal]) -> None:
        item[2]()
        now = time.monotonic()
        self.windows.append((now, now + AFTER))

    def calm(self, begin: float, end: float) -> bool:
        """Was nothing broken between these times, nor shortly before?"""
        return not any(start < end and begin < stop for start, stop in self.windows)


def nothing() -> None:
    """There is nothing to undo."""


# -- processes -----------------------------------------------------------------------------------------------------------


def kill(world: World, role: str, weight: float) -> Fault:
    def begin(lot: float) -> tuple[str, Heal]:
        return _signal(world, role, lot, signal.SIGKILL), nothing

    return Fault(f"kill -9 {role}", weight, (0.0, 0.1), begin, kills=True)


def pause(world: World, role: str, weight: float) -> Fault:
    def begin(lot: float) -> tuple[str, Heal]:
        hit = _signal(world, role, lot, signal.SIGSTOP)
        pid = int(hit.split()[-1]) if hit else 0

        def heal() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        return hit, heal

    return Fault(f"SIGSTOP {role}", weight, (0.2, 4.0), begin)


def _signal(world: World, role: str, lot: float, number: signal.Signals) -> str:
    found = world.victims(role)
    if not found:
        return ""
    pid = found[int(lot * len(found))].pid
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return ""
    return f"pid {pid}"


def jump(world: World, role: str, weight: float) -> Fault:
    """The wall clock of one process and what it forked is an hour off, then right again."""

    def begin(lot: float) -> tuple[str, Heal]:
        found = world.victims(role)
        if not found:
            return "", nothing
        place = lot * len(found)
        pid = found[int(place)].pid
        try:
            group = os.getpgid(pid)
        except ProcessLookupError:
            return "", nothing
        seconds = 3600 if place % 1 < 0.5 else -3600
        world.clocks.set(group, seconds)
        return f"{seconds:+d} s, process group {group}", lambda: world.clocks.set(group, 0)

    return Fault(f"clock jump {role}", weight, (1.0, 10.0), begin)


def full(world: World, disk: Path, weight: float) -> Fault:
    """The disk of a data directory has not one block left."""
    ballast = disk / "ballast"

    def begin(lot: float) -> tuple[str, Heal]:
        size = 0
        with ballast.open("wb", buffering=0) as file:
            for piece in (bytes(1 << 20), bytes(4096), b"\0"):
                with contextlib.suppress(OSError):
                    while True:
                        size += file.write(piece)
        return f"{size >> 20} MiB", lambda: ballast.unlink(missing_ok=True)

    return Fault("full disk", weight, (0.3, 6.0), begin)


# -- clients -------------------------------------------------------------------------------------------------------------


def of_clients(clients: Callable[[], list[subprocess.Popen[bytes]]], killed: Callable[[int], None]) -> list[Fault]:
    def choose(lot: float) -> int:
        alive = [client for client in clients() if client.poll() is None]
        return alive[int(lot * len(alive))].pid if alive else 0

    def slow(lot: float) -> tuple[str, Heal]:
        pid = choose(lot)
        if not pid:
            return "", nothing
        os.kill(pid, signal.SIGSTOP)

        def heal() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        return f"pid {pid} reads nothing", heal

    def end(lot: float) -> tuple[str, Heal]:
        pid = choose(lot)
        if pid:
            killed(pid)
            os.kill(pid, signal.SIGKILL)
        return f"pid {pid}" if pid else "", nothing

    return [
        Fault("SIGSTOP client", 1.0, (0.5, 6.0), slow),
        Fault("kill -9 client", 0.5, (0.0, 0.1), end),
    ]


# -- hosts ---------------------------------------------------------------------------------------------------------------


def of_hosts(world: Hosts) -> list[Fault]:
    def choose(lot: float, names: list[str]) -> str:
        return names[int(lot * len(names))]

    def cut(lot: float) -> tuple[str, Heal]:
        name = choose(lot, [*world.nodes, "main", "clients"])
        host = world.machines[name]
        host.cut()
        return name, host.heal

    def slow(lot: float) -> tuple[str, Heal]:
        name = choose(lot, list(world.machines))
        relay = world.machines[name].relay
        assert relay is not None
        relay.delay, relay.loss = 0.002 + 0.05 * lot, 0.05 * lot

        def heal() -> None:
            relay.delay = relay.loss = 0.0

        return f"{name}: {relay.delay * 1000:.0f} ms, {relay.loss:.0%}", heal

    def down(lot: float) -> tuple[str, Heal]:
        name = choose(lot, list(world.nodes))
        run = world.runs()[name]
        if run is None or not run.alive or any(repair.name == name for repair in world.repairs):
            return "", nothing
        os.kill(run.pids["supervisor"], signal.SIGKILL)

        def heal() -> None:
            repair = threading.Thread(target=world.rejoin, args=(name,), name=name)
            repair.start()
            world.repairs = [r for r in world.repairs if r.is_alive()] + [repair]

        return name, heal

    return [
        Fault("partition", 3.0, (1.0, 12.0), cut),
        Fault("delay and loss", 2.0, (2.0, 10.0), slow),
        Fault("kill -9 node supervisor", 1.0, (0.1, 4.0), down, kills=True),
    ]


# -- two heads -------------------------------------------------------------------------------------------------------------


def of_heads(world: Postgres) -> list[Fault]:
    def down(lot: float) -> tuple[str, Heal]:
        name = list(world.heads)[int(lot * 2)]
        if any(run is None or not run.alive for run in world.runs().values()):
            return "", nothing
        world.down(name)
        return name, lambda: world.up(name)

    def stop(lot: float) -> tuple[str, Heal]:
        if not world.server.alive:
            return "", nothing  # another fault has it down
        world.server.stop()
        return "stopped", lambda: void(world.server.start())

    def crash(lot: float) -> tuple[str, Heal]:
        if not world.server.alive:
            return "", nothing
        world.server.kill()
        return "killed", lambda: void(world.server.start())

    return [
        Fault("head down", 1.5, (0.5, 8.0), down, kills=True),
        Fault("database restarted", 1.0, (0.0, 3.0), stop),
        Fault("database killed", 1.0, (0.0, 3.0), crash),
    ]


def void(_: object) -> None:
    return None


def menu(world: World) -> list[Fault]:
    """Everything that can be broken there."""
    roles = {"manager": 2.0, "allocator": 1.0, "agent": 1.0, "zygote": 0.5, "executor": 1.5}
    out = [kill(world, role, weight) for role, weight in roles.items()]
    out += [pause(world, role, weight) for role, weight in roles.items()]
    if not world.clocks.why_not:
        out += [jump(world, role, 0.6) for role in ("manager", "allocator", "agent", "executor")]
    out += [full(world, disk, 2.0) for disk in world.disks]
    if isinstance(world, Hosts):
        out += of_hosts(world)
    if isinstance(world, Postgres):
        out += of_heads(world)
    return out
