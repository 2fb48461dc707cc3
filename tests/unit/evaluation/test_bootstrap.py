"""Bootstrap intervals: against theory, for clips and for speakers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from core.evaluation.bootstrap import bootstrap_interval, paired_bootstrap_difference
from core.evaluation.classification import accuracy, unweighted_average_recall


def test_interval_of_a_share_agrees_with_the_binomial_one() -> None:
    hits = np.arange(400) < 300
    interval = bootstrap_interval(np.mean, hits, n_resamples=4000)
    exact = stats.binomtest(300, 400).proportion_ci(0.95, method="wilson")
    assert interval.low == pytest.approx(exact.low, abs=0.006)
    assert interval.high == pytest.approx(exact.high, abs=0.006)


def test_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=150)
    interval = bootstrap_interval(np.mean, values, n_resamples=4000)
    found = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2))
    assert interval.low == pytest.approx(found.confidence_interval.low, abs=0.02)
    assert interval.high == pytest.approx(found.confidence_interval.high, abs=0.02)


def test_interval_holds_the_truth_about_as_often_as_its_level() -> None:
    generator = np.random.default_rng(0)
    n_hits = 0
    for number in range(200):
        interval = bootstrap_interval(np.mean, generator.normal(size=60), n_resamples=300, level=0.9, seed=number)
        n_hits += interval.low <= 0.0 <= interval.high
    assert 168 <= n_hits <= 192


def test_perfect_answers_leave_no_room() -> None:
    labels = np.array([0, 1, 2] * 10)
    interval = bootstrap_interval(accuracy, labels, labels)
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_no_clips_have_no_interval() -> None:
    interval = bootstrap_interval(accuracy, [], [])
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_resamples_without_a_figure_are_left_out() -> None:
    interval = bootstrap_interval(lambda values: math.nan if values.max() > 8 else values.mean(), np.arange(10.0))
    assert 0 < interval.low < interval.high < 8


def test_figure_that_never_exists_has_no_interval() -> None:
    assert math.isnan(bootstrap_interval(lambda values: math.nan, np.arange(5)).low)


def test_same_seed_same_interval() -> None:
    values = np.arange(50.0)
    assert bootstrap_interval(np.mean, values, seed=7) == bootstrap_interval(np.mean, values, seed=7)
    assert bootstrap_interval(np.mean, values, seed=7) != bootstrap_interval(np.mean, values, seed=8)


def test_speakers_who_differ_make_a_wider_interval_than_clips() -> None:
    speakers = np.repeat(np.arange(10), 100)
    hits = np.random.default_rng(0).random(1000) < np.repeat(np.linspace(0.3, 0.9, 10), 100)
    by_clip = bootstrap_interval(np.mean, hits)
    by_speaker = bootstrap_interval(np.mean, hits, clusters=speakers)
    assert by_speaker.high - by_speaker.low > 3 * (by_clip.high - by_clip.low)


def test_speakers_stay_whole_when_they_are_drawn() -> None:
    speakers = np.array(["a", "a", "a", "b"])

    def share_of_complete_speakers(drawn: np.ndarray) -> float:
        return float(np.count_nonzero(drawn == "a") % 3 == 0)

    interval = bootstrap_interval(share_of_complete_speakers, speakers, clusters=speakers, n_resamples=100)
    assert interval.low == 1.0


def test_better_answers_are_told_from_worse_ones_on_the_same_clips() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=500)
    first = np.where(generator.random(500) < 0.6, labels, (labels + 1) % 4)
    second = np.where(generator.random(500) < 0.7, labels, (labels + 1) % 4)
    found = paired_bootstrap_difference(accuracy, labels, first, second)
    assert found.difference == pytest.approx(np.mean(second == labels) - np.mean(first == labels))
    assert found.interval.low < found.difference < found.interval.high
    assert found.interval.low > 0
    assert found.share_not_better < 0.025


def test_equal_answers_differ_by_nothing() -> None:
    labels = np.array([0, 1] * 20)
    found = paired_bootstrap_difference(unweighted_average_recall, labels, labels, labels)
    assert (found.difference, found.interval.low, found.interval.high, found.share_not_better) == (0.0, 0.0, 0.0, 1.0)


def test_pairing_narrows_the_interval_of_answers_that_err_together() -> None:
    labels = np.zeros(400, dtype=int)
    first = (np.arange(400) < 150).astype(int)
    second = (np.arange(400) < 140).astype(int)
    paired = paired_bootstrap_difference(accuracy, labels, first, second)
    alone = bootstrap_interval(accuracy, labels, first)
    assert paired.interval.high - paired.interval.low < 0.5 * (alone.high - alone.low)


def test_no_clips_have_no_difference() -> None:
    assert math.isnan(paired_bootstrap_difference(accuracy, [], [], []).difference)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"level": 1.0}, "level"),
        ({"n_resamples": 0}, "n_resamples"),
        ({"clusters": [1, 2]}, "clusters"),
    ],
)
def test_settings_out_of_place_are_refused(arguments, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        bootstrap_interval(np.mean, np.arange(5.0), **arguments)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="first axes differ"):
        bootstrap_interval(accuracy, [0, 1], [0])
