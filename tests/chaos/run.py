"""A run: arrangements one after the other, each in rounds.

A round: clients work while things break; then everything is healed, clients finish (in a bounded time), what they wrote down is checked
against what the engine holds, everything is deleted, and what the engine at rest holds is compared with what it held at first.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.audit import Findings, audit
from chaos.check import Violation
from chaos.clients import PATIENCE, Order
from chaos.faults import Weather, menu, of_clients, plan
from chaos.leaks import Memory, Sample, at_rest
from chaos.world import WORLDS, World

from flame.core.base.errors import FlameError
from flame.platform.memory import QUIET

LONG = 40 * 60.0
"""Seconds of an arrangement from which on its second half kills no process of the engine: their memory is measured over time."""

LONG_PAUSE = 8.0
"""Seconds without results of short tasks that are worth a line."""
SHORTEST = 10.0
"""Seconds that are worth a round."""


@dataclass
class Settings:
    seed: int
    seconds: float
    round: float = 60.0
    clients: int = 3
    threads: int = 3
    #: a regular expression: only these
    faults: str = ""
    #: where the history of a round goes that breaks a promise
    keep: Path = Path("chaos-failed")
    say: Callable[[str], None] = print
    #: called often while things break: (arrangement, round)
    tick: Callable[[str, int], None] = lambda name, number: None


@dataclass
class Result:
    findings: Findings = field(default_factory=Findings)
    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    missing: list[str] = field(default_factory=list)
    growth: list[str] = field(default_factory=list)
    #: memory that grew too much
    leaks: list[str] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        return bool(self.findings.violations or self.leaks)


class Run:
    """One arrangement for so many seconds."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings, self.say = name, settings, settings.say
        self.result = Result()
        self.memory = Memory()
        self.base: Sample | None = None
        self._clients: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._killed: set[int] = set()
        self._made = 0

    def go(self) -> Result:
        world = WORLDS[self.name]()
        try:
            world.start()
            self.result.missing = world.missing
            self._first_round(world)
            end = time.monotonic() + self.settings.seconds
            while not self.result.findings.violations and (left := end - time.monotonic()) > SHORTEST:
                gentle = self.settings.seconds >= LONG and left < self.settings.seconds / 2
                self._round(world, min(self.settings.round, left), gentle)
            self._tell_memory()
        except BaseException:
            self._save(world)
            raise
        finally:
            for client, _ in self._clients:
                client.kill()
                client.wait()
            world.close()
        return self.result

    def _first_round(self, world: World) -> None:
        """Nothing breaks: every code is loaded, every connection made. What is held then is the measure."""
        self._broken([Violation("", "starts_well", text) for text in [world.heal()] if text], world)
        self._start_clients(world, self.settings.clients, f"{self.settings.seed}.calm")
        time.sleep(3.0)
        self._finish(world, Weather([]))
        self.base, _ = at_rest(world, None)

    def _round(self, world: World, seconds: float, gentle: bool) -> None:
        self.result.rounds += 1
        seed = f"{self.settings.seed}.{self.name}.{self.result.rounds}"
        faults = menu(world) + of_clients(lambda: [c for c, _ in self._clients], self._killed.add)
        wanted = re.compile(self.settings.faults)
        faults = [f for f in faults if wanted.search(f.name) and not (gentle and (f.kills or "kill -9" in f.name))]
        self.say(f"{self.name}, round {self.result.rounds}{', gentle' if gentle else ''}, {seconds:.0f} s")
        weather = Weather(faults, self.say)
        self._start_clients(world, self.settings.clients, seed)

        def tick() -> None:
            """Clients that were killed have successors."""
            self.settings.tick(self.name, self.result.rounds)
            missing = self.settings.clients - sum(client.poll() is None for client, _ in self._clients)
            if missing > 0:
                self._start_clients(world, missing, seed)

        weather.run(plan(seed, seconds, faults), seconds, tick)
        self.result.faults += weather.counts
        self._finish(world, weather)
        if self.result.findings.violations:
            return
        if self.settings.seconds >= LONG:
            time.sleep(3 * QUIET)  # freed pages are given back
        now, more = at_rest(world, self.base)
        self.memory.add(now)
        self._broken([Violation("", "nothing_leaks", text) for text in more], world)

    # -- clients -------------------------------------------------------------------------------------------------------

    def _start_clients(self, world: World, count: int, seed: str) -> None:
        for _ in range(count):
            self._made += 1
            path = world.root / f"history-{self._made}.jsonl"
            order = Order(
                f"c{self._made}",
                hash_of(f"{seed}.{self._made}"),
                str(path),
                threads=self.settings.threads,
                **world.target(),
            )
            self._clients.append((world.client(order), path))

    def _finish(self, world: World, weather: Weather) -> None:
        """Heal, let everybody finish, look at everything."""
        trouble = world.heal()
        found = [Violation("", "all_is_well_again", trouble)] if trouble else []
        begin = time.monotonic()
        for client, _ in self._clients:
            client.send_signal(signal.SIGTERM)
        files: dict[Path, bool] = {}
        for client, path in self._clients:
            killed = client.pid in self._killed
            try:
                code = client.wait(max(1.0, begin + PATIENCE + 15 - time.monotonic()))
                if code and not killed and path.exists():
                    found.append(Violation("", "clients_end", f"{path.name}: exit code {code}"))
            except subprocess.TimeoutExpired:
                client.send_signal(signal.SIGUSR1)  # it says where it hangs
                with contextlib.suppress(subprocess.TimeoutExpired):
                    client.wait(1.0)
                client.kill()
                client.wait()
                found.append(Violation("", "clients_end", f"{path.name}: has not finished"))
                killed = True
            if path.exists():
                files[path] = killed
        findings = Findings(found)
        try:
            with world.connect() as client:
                findings.add(audit(client, files, weather.calm))
        except (FlameError, AssertionError) as error:
            findings.violations.append(Violation("", "can_be_audited", f"{type(error).__name__}: {error}"))
        findings.counts["client processes"] += len(files)
        if findings.longest > LONG_PAUSE and weather.began:
            at = findings.longest_at - weather.began
            self.say(
                f"{at:7.1f} s  {findings.longest_of} waited {findings.longest:.1f} s for short tasks: {findings.longest_why}"
            )
        self.result.findings.add(findings)
        self._clients = []
        if findings.violations:
            self._save(world)
        for path in files:
            path.unlink(missing_ok=True)

    # -- what is wrong -------------------------------------------------------------------------------------------------

    def _broken(self, found: list[Violation], world: World) -> None:
        if found:
            self.result.findings.violations += found
            self._save(world)

    def _save(self, world: World) -> None:
        """Histories, logs and the list of violations, for who looks into it."""
        keep = self.settings.keep / f"{self.name}-{self.settings.seed}-{self.result.rounds}"
        keep.mkdir(parents=True, exist_ok=True)
        for path in [*world.root.glob("*.jsonl"), world.root / "clients.log"]:
            if path.exists():
                shutil.copy(path, keep)
        for at, folder in enumerate(world.logs()):
            shutil.copytree(folder, keep / f"logs-{at}", dirs_exist_ok=True)
        lines = [str(violation) for violation in self.result.findings.violations]
        (keep / "violations.txt").write_text("\n".join(lines) + "\n")
        self.say(f"kept in {keep}")

    def _tell_memory(self) -> None:
        from chaos.leaks import GROWTH

        for growth in self.memory.growth():
            self.result.growth.append(str(growth))
            if self.settings.seconds >= LONG and growth.share > GROWTH:
                self.result.leaks.append(str(growth))


def hash_of(text: str) -> int:
    """A number from a text, the same in every process."""
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
