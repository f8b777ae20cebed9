"""The probes of one container while it runs: when each is due, and what its outcomes amount to."""

from __future__ import annotations

from dataclasses import dataclass

from flame.core.model import messages as m

STARTUP, READINESS, LIVENESS = "startup", "readiness", "liveness"


@dataclass
class Probe:
    """`good` and `bad` count outcomes in a row; `passed`: what they amount to."""

    spec: m.ProbeSpec
    passed: bool
    at: float = 0.0
    asked: bool = False
    good: int = 0
    bad: int = 0

    def took(self, ok: bool, now: float) -> None:
        self.asked = False
        self.at = max(now, self.at + max(self.spec.period, 0.01))
        self.good, self.bad = (self.good + 1, 0) if ok else (0, self.bad + 1)
        if ok and self.good >= self.spec.success:
            self.passed = True
        elif not ok and self.bad >= self.spec.failure:
            self.passed = False


class Probing:
    """Until the startup probe has passed the others wait. `verdict`: why the container is to end, or empty; `said`: what came of the last
    probe that failed, as long as that keeps it from being ready."""

    def __init__(self, spec: m.ContainerSpec) -> None:
        self.specs = {STARTUP: spec.startup, READINESS: spec.readiness, LIVENESS: spec.liveness}
        self.probes: dict[str, Probe] = {}
        self.verdict = self.said = ""
        self._begun = 0.0

    def begin(self, now: float) -> None:
        """The container runs (again)."""
        self.verdict, self.said, self._begun = "", "", now
        self.probes = {
            kind: Probe(spec, kind == LIVENESS, now + spec.initial_delay)
            for kind, spec in self.specs.items()
            if spec is not None
        }

    def end(self) -> None:
        self.probes = {}

    @property
    def started(self) -> bool:
        return STARTUP not in self.probes or self.probes[STARTUP].passed

    @property
    def ready(self) -> bool:
        return self.started and (READINESS not in self.probes or self.probes[READINESS].passed)

    def _wanted(self) -> dict[str, Probe]:
        if not self.started:
            return {STARTUP: self.probes[STARTUP]}
        return {kind: probe for kind, probe in self.probes.items() if kind != STARTUP}

    def due(self, now: float) -> list[str]:
        """The kinds to run now; each is asked for once until its outcome is told."""
        kinds = [kind for kind, probe in self._wanted().items() if not probe.asked and now >= probe.at]
        for kind in kinds:
            self.probes[kind].asked = True
        return kinds

    def deadline(self) -> float | None:
        return min((probe.at for probe in self._wanted().values() if not probe.asked), default=None)

    def took(self, kind: str, ok: bool, message: str, now: float) -> None:
        probe = self.probes.get(kind)
        if probe is None or not probe.asked:
            return
        probe.took(ok, now)
        if kind != LIVENESS:
            self.said = "" if ok else f"{kind} probe: {message}"
        if kind != READINESS and probe.bad >= probe.spec.failure:
            self.verdict = f"{kind} probe failed {probe.bad} times in a row: {message}"
