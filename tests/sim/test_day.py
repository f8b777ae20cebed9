"""A short day of sessions and workloads through the real allocator: what is promised holds, whatever the seed."""

from __future__ import annotations

import statistics

import pytest

from flame.sim.day import DayWorld, Plan
from flame.sim.report import quantile, rows, series

SHORT = Plan(seed=3, nodes=4, hours=1.0, load=1.3)
SHORTER = Plan(seed=4, nodes=4, hours=0.4)


@pytest.fixture(scope="module")
def outcome():
    return DayWorld(SHORT).play()


def test_the_same_seed_is_the_same_day(outcome):
    shorter = rows(DayWorld(SHORTER).play())
    assert rows(DayWorld(SHORTER).play()) == shorter != rows(outcome)


@pytest.mark.ledger("B-104")
def test_what_could_be_had_is_given(outcome):
    gpus = series(outcome)["gpu"]
    assert statistics.fmean(gpus) > 0.75
    assert outcome.started > 10
    assert all(0.0 <= part <= 1.0 for part in gpus)


def test_a_higher_class_waits_less(outcome):
    waits = outcome.waits
    assert statistics.median(waits["high"]) <= statistics.median(waits["low"])
    assert quantile(waits["session"], 0.5) < 30


@pytest.mark.ledger("B-104")
def test_nobody_is_driven_out_without_end(outcome):
    """Room that drains for a workload is waited for: nobody else has to leave for it meanwhile."""
    assert outcome.evictions < 20 * outcome.started
    assert outcome.preempted < 10 * outcome.started


def test_the_report_can_be_read(outcome):
    text = dict(rows(outcome))
    assert any(name.startswith("gpu utilisation") for name in text)
