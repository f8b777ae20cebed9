"""What a simulated day came to: a table, and plots where matplotlib is installed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from flame.sim.day import Outcome


def utilisation(busy: float, wanted: float, capacity: float) -> float:
    """Of what was asked for and could be had, how much was given."""
    could = min(wanted, capacity)
    return 1.0 if could <= 0 else min(1.0, busy / could)


def series(outcome: Outcome) -> dict[str, list[float]]:
    """By minute: utilisation of GPUs and CPUs."""
    return {
        "gpu": [utilisation(minute.gpu_busy, minute.gpu_wanted, outcome.gpus) for minute in outcome.minutes],
        "cpu": [utilisation(minute.cpu_busy, minute.cpu_wanted, outcome.cpus) for minute in outcome.minutes],
    }


def rows(outcome: Outcome) -> list[tuple[str, str]]:
    """Name and value, for a table."""
    found: list[tuple[str, str]] = []
    for name, values in series(outcome).items():
        busy = statistics.fmean(values)
        found.append(
            (f"{name} utilisation: mean / 5th percentile of minutes", f"{busy:.3f} / {quantile(values, 0.05):.3f}")
        )
    windows = outcome.windows
    if windows:
        text = f"{statistics.median(windows):.2f} / {quantile(windows, 0.95):.2f} ({len(windows)} minutes)"
        found.append(("tenants that want more: largest over smallest share, median / 95th percentile", text))
    for name, waits in outcome.waits.items():
        if waits:
            text = f"{statistics.median(waits):,.1f} / {quantile(waits, 0.95):,.1f} s ({len(waits)})"
            found.append((f"wait of {name}: median / 95th percentile", text))
    found.append(
        ("workloads started / finished / left", f"{outcome.started} / {outcome.finished} / {outcome.unfinished}")
    )
    found.append(("replicas evicted", str(outcome.evictions)))
    found.append(("executors that left for a workload", str(outcome.preempted)))
    return found


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def plot(outcome: Outcome, path: Path) -> None:
    """Utilisation and shares over the day as a PNG. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    hours = [at / 60 for at in range(len(outcome.minutes))]
    figure, (upper, middle, lower) = pyplot.subplots(3, 1, figsize=(11, 9), sharex=True)
    for name, values in series(outcome).items():
        upper.plot(hours, _smooth(values), label=name)
    upper.set_ylabel("busy / min(demand, capacity)")
    upper.set_ylim(0, 1.05)
    upper.legend(loc="lower right")
    middle.plot(hours, [min(minute.gpu_wanted, 3 * outcome.gpus) for minute in outcome.minutes], label="GPUs wanted")
    middle.plot(hours, [minute.gpu_busy for minute in outcome.minutes], label="GPUs busy")
    middle.axhline(outcome.gpus, linestyle=":", color="grey")
    middle.legend(loc="upper right")
    for tenant in sorted({name for minute in outcome.minutes for name in minute.given}):
        lower.plot(hours, _smooth([minute.given.get(tenant, 0.0) for minute in outcome.minutes]), label=tenant)
    lower.set_ylabel("share of the dominant resource")
    lower.set_xlabel("hour")
    lower.legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _smooth(values: Sequence[float], width: int = 10) -> list[float]:
    return [statistics.fmean(values[max(0, at - width) : at + 1]) for at in range(len(values))]
