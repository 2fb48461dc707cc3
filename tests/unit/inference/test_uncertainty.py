"""The figures of uncertainty against cases worked out by hand, their bounds and their identity."""

import math

import numpy as np
import pytest

from core.inference.uncertainty import entropy_nats, summarise_passes

LN2, LN8 = math.log(2), math.log(8)


def random_passes(n_passes, seed, sharpness=3.0):
    logits = sharpness * np.random.default_rng(seed).standard_normal((n_passes, 8))
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def test_two_passes_worked_out_by_hand():
    summary = summarise_passes(np.array([[0.5, 0.5], [0.9, 0.1]]))
    assert summary.mean == pytest.approx([0.7, 0.3])
    assert summary.standard_deviation == pytest.approx([0.2 * math.sqrt(2)] * 2)  # ddof 1: sqrt((0.2^2 + 0.2^2) / 1)
    assert summary.low == pytest.approx([0.52, 0.12])
    assert summary.high == pytest.approx([0.88, 0.48])
    predictive = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    expected = (LN2 - (0.9 * math.log(0.9) + 0.1 * math.log(0.1))) / 2
    assert summary.uncertainty.predictive_entropy_nats == pytest.approx(predictive)
    assert summary.uncertainty.expected_entropy_nats == pytest.approx(expected)
    assert summary.uncertainty.mutual_information_nats == pytest.approx(predictive - expected)


def test_identical_passes_leave_no_doubt_between_them():
    summary = summarise_passes(np.tile(random_passes(1, seed=1), (30, 1)))
    assert summary.uncertainty.mutual_information_nats == pytest.approx(0, abs=1e-12)
    assert summary.standard_deviation == pytest.approx(np.zeros(8), abs=1e-12)
    assert summary.low == pytest.approx(summary.high)


def test_certain_passes_that_disagree_put_all_doubt_between_them():
    summary = summarise_passes(np.eye(8))
    assert summary.uncertainty.predictive_entropy_nats == pytest.approx(LN8)
    assert summary.uncertainty.expected_entropy_nats == 0
    assert summary.uncertainty.mutual_information_nats == pytest.approx(LN8)


def test_certain_passes_that_agree_leave_none():
    uncertainty = summarise_passes(np.eye(8)[[3, 3, 3]]).uncertainty
    assert uncertainty.predictive_entropy_nats == uncertainty.mutual_information_nats == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_three_figures_agree_and_keep_their_bounds(seed):
    passes = random_passes(2 + seed * 7, seed, sharpness=0.3 * (seed + 1))
    uncertainty = summarise_passes(passes).uncertainty
    assert uncertainty.predictive_entropy_nats == pytest.approx(
        uncertainty.expected_entropy_nats + uncertainty.mutual_information_nats, abs=1e-15
    )
    assert 0 <= uncertainty.mutual_information_nats <= uncertainty.predictive_entropy_nats <= LN8 + 1e-12
    assert uncertainty.expected_entropy_nats >= 0


@pytest.mark.parametrize("seed", range(5))
def test_mean_and_interval_are_those_of_the_passes(seed):
    passes = random_passes(30, seed)
    summary = summarise_passes(passes)
    assert summary.mean.sum() == pytest.approx(1)
    assert np.all((summary.low >= 0) & (summary.low <= summary.high) & (summary.high <= 1))
    shares_inside = ((passes >= summary.low) & (passes <= summary.high)).mean(axis=0)
    assert np.all(shares_inside >= 26 / 30)
    assert summary.standard_deviation == pytest.approx(np.std(passes, axis=0) * math.sqrt(30 / 29))


def test_order_of_passes_changes_nothing_that_is_said():
    passes = random_passes(40, seed=5)
    forward, backward = summarise_passes(passes), summarise_passes(passes[::-1])
    assert forward.mean == pytest.approx(backward.mean)
    assert forward.low.tolist() == backward.low.tolist()


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    """Independent road: the mean over passes of the Kullback-Leibler divergence from pass to mean."""
    passes = random_passes(25, seed=8)
    mean = passes.mean(axis=0)
    divergence = (passes * np.log(passes / mean)).sum(axis=1).mean()
    assert summarise_passes(passes).uncertainty.mutual_information_nats == pytest.approx(divergence)


def test_entropy_of_even_and_of_certain_distributions():
    assert entropy_nats(np.full(8, 1 / 8)) == pytest.approx(LN8)
    assert entropy_nats(np.eye(8)[0]) == 0


@pytest.mark.parametrize(
    "passes",
    [
        np.full((1, 8), 1 / 8),
        np.full(8, 1 / 8),
        np.full((4, 8), 1 / 7),
        np.array([[1.5, -0.5], [0.5, 0.5]]),
        np.array([[np.nan, 1.0], [0.5, 0.5]]),
        np.empty((0, 8)),
    ],
    ids=["one pass", "no passes axis", "sum above 1", "negative", "nan", "empty"],
)
def test_what_is_no_stack_of_distributions_is_refused(passes):
    with pytest.raises(ValueError, match="pass"):
        summarise_passes(passes)
