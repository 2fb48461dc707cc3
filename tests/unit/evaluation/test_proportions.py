"""The interval of a share, beside published values and scipy's own."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from core.evaluation.proportions import wilson_interval


@pytest.mark.parametrize(("n_hits", "n_trials"), [(0, 1), (0, 29), (1, 29), (15, 148), (81, 263), (1, 1), (263, 263)])
def test_it_agrees_with_scipy(n_hits, n_trials):
    ours = wilson_interval(n_hits, n_trials)
    theirs = binomtest(n_hits, n_trials).proportion_ci(0.95, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_it_agrees_with_the_published_example():
    """Newcombe, Statistics in Medicine 17, 1998, pages 857 to 872, table I: 81 of 263."""
    found = wilson_interval(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("n_trials", [1, 3, 25, 29, 263])
def test_no_hit_begins_at_exactly_nothing_and_all_hits_end_at_exactly_one(n_trials):
    assert wilson_interval(0, n_trials).low == 0.0
    assert wilson_interval(n_trials, n_trials).high == 1.0


def test_nothing_counted_says_nothing():
    assert (wilson_interval(0, 0).low, wilson_interval(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("n_hits", "n_trials"), [(-1, 3), (4, 3)])
def test_more_hits_than_trials_are_a_mistake(n_hits, n_trials):
    with pytest.raises(ValueError, match="hits of"):
        wilson_interval(n_hits, n_trials)
