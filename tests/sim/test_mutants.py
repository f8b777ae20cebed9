"""Every planted bug is found: within a few hundred seeds here, the well hidden ones within ten thousand (`-m slow`)."""

import pytest
from mutants import MUTANTS

from flame.sim.world import run_seed

HIDDEN = (
    "adopt_over_attempts",
    "adopt_what_was_never_committed",
    "adopt_without_the_highest_lease",
    "forget_what_was_to_end",
    "ignore_early_results",
    "lose_attempts_in_a_snapshot",
)
"""Bugs that take long to be found."""
FEW, MANY = 400, 10_000


BEGIN = {"adopt_what_was_never_committed": 34_000, "forget_what_was_to_end": 2_000}
"""Where the seeds of a bug begin that takes tens of thousands of them: a hand-out, a lost commit and a return within a moment."""


def first_failure(seeds, begin=0):
    """The outcome of the first seed that notices, or None."""
    return next((outcome for outcome in map(run_seed, range(begin, begin + seeds)) if outcome.failure), None)


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in HIDDEN])
def test_a_planted_bug_is_found(name):
    with MUTANTS[name]():
        assert first_failure(FEW), f"{name} was not noticed in {FEW} seeds"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HIDDEN)
def test_a_well_hidden_bug_is_found(name):
    with MUTANTS[name]():
        assert first_failure(MANY, BEGIN.get(name, 0)), f"{name} was not noticed in {MANY} seeds"


def test_there_are_at_least_twenty():
    assert len(MUTANTS) >= 20


def test_without_a_planted_bug_nothing_is_found():
    assert first_failure(50) is None
