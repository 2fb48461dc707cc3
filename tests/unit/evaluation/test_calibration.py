"""Calibration metrics against hand-computed cases, a plain second computation, and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from core.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_bins,
)

ERRORS = [expected_calibration_error, maximum_calibration_error]
SCORES = [brier_score, negative_log_likelihood]


def draw_confidences(seed: int, n_clips: int = 500) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    confidences = generator.uniform(0.12, 1.0, n_clips)
    return confidences, generator.random(n_clips) < confidences**2


def draw_probabilities(seed: int, n_clips: int = 300, n_classes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.full(n_classes, 0.3), n_clips), generator.integers(n_classes, size=n_clips)


def plain_calibration_error(confidences: np.ndarray, is_correct: np.ndarray, n_bins: int) -> float:
    """The same by its definition, bin by bin, in the slowest way."""
    total = 0.0
    for number in range(n_bins):
        inside = [
            (confidence, correct)
            for confidence, correct in zip(confidences, is_correct, strict=True)
            if number / n_bins < confidence <= (number + 1) / n_bins or (number == 0 and confidence == 0)
        ]
        if inside:
            promised = sum(confidence for confidence, _ in inside) / len(inside)
            kept = sum(correct for _, correct in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(promised - kept)
    return total


def test_hand_computed_calibration_errors() -> None:
    # Bins of a half: (0.2, 0.4) kept 0.5 of 0.3 promised; (0.6, 0.8, 1.0) kept 1/3 of 0.8 promised.
    confidences, is_correct = [0.2, 0.4, 0.6, 0.8, 1.0], [True, False, False, False, True]
    assert expected_calibration_error(confidences, is_correct, n_bins=2) == pytest.approx(
        0.4 * 0.2 + 0.6 * (0.8 - 1 / 3)
    )
    assert maximum_calibration_error(confidences, is_correct, n_bins=2) == pytest.approx(0.8 - 1 / 3)


@pytest.mark.parametrize("metric", ERRORS)
def test_certain_and_right_is_perfectly_calibrated(metric) -> None:
    assert metric([1.0, 1.0, 1.0], [True, True, True]) == 0.0


@pytest.mark.parametrize("metric", ERRORS)
def test_certain_and_wrong_is_as_bad_as_can_be(metric) -> None:
    assert metric([1.0, 1.0], [False, False]) == 1.0


@pytest.mark.parametrize("metric", ERRORS)
def test_no_clips_have_no_calibration(metric) -> None:
    assert math.isnan(metric([], np.array([], dtype=bool)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_calibration_error_agrees_with_its_definition(seed, n_bins) -> None:
    confidences, is_correct = draw_confidences(seed)
    found = expected_calibration_error(confidences, is_correct, n_bins=n_bins)
    assert found == pytest.approx(plain_calibration_error(confidences, is_correct, n_bins), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_reliability_bins_agree_with_scikit_learn(seed) -> None:
    confidences, is_correct = draw_confidences(seed)
    accuracies, promised = calibration_curve(is_correct, confidences, n_bins=15)
    filled = [bin for bin in reliability_bins(confidences, is_correct) if bin.n_clips]
    np.testing.assert_allclose([bin.accuracy for bin in filled], accuracies)
    np.testing.assert_allclose([bin.mean_confidence for bin in filled], promised)


def test_fifteen_bins_of_equal_width_unless_said_otherwise() -> None:
    bins = reliability_bins([0.5], [True])
    assert len(bins) == 15
    assert {round(bin.high - bin.low, 12) for bin in bins} == {round(1 / 15, 12)}
    assert sum(bin.n_clips for bin in bins) == 1
    assert math.isnan(bins[0].accuracy)


@pytest.mark.parametrize(("confidence", "number"), [(0.0, 0), (0.25, 0), (0.2500001, 1), (0.5, 1), (1.0, 3)])
def test_a_confidence_on_an_edge_falls_into_the_bin_below(confidence, number) -> None:
    bins = reliability_bins([confidence], [True], n_bins=4)
    assert [bin.n_clips for bin in bins].index(1) == number


@pytest.mark.parametrize("metric", ERRORS)
@pytest.mark.parametrize(
    ("confidences", "is_correct", "reason"),
    [
        ([0.5, math.nan], [True, True], "not be NaN"),
        ([1.5], [True], "within \\[0, 1\\]"),
        ([-0.1], [True], "within \\[0, 1\\]"),
        ([0.5, 0.6], [True], "not both"),
        ([0.5], [1], "not booleans"),
    ],
)
def test_what_is_no_confidence_is_refused(metric, confidences, is_correct, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        metric(confidences, is_correct)


def test_float32_mean_a_little_above_one_is_one() -> None:
    assert expected_calibration_error(np.array([1.0000001], dtype=np.float32), [True]) == 0.0


def test_hand_computed_scores_of_probabilities() -> None:
    probabilities, labels = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [0, 1]
    assert brier_score(probabilities, labels) == pytest.approx(((0.09 + 0.04 + 0.01) + (0.01 + 0.81 + 0.64)) / 2)
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2)


@pytest.mark.parametrize("metric", SCORES)
def test_perfect_probabilities_cost_nothing(metric) -> None:
    assert metric(np.eye(3), [0, 1, 2]) == 0.0


@pytest.mark.parametrize("metric", SCORES)
def test_no_clips_have_no_score(metric) -> None:
    assert math.isnan(metric([], []))


def test_equal_probabilities_cost_what_the_docstrings_say() -> None:
    equal = np.full((5, 8), 1 / 8)
    assert brier_score(equal, [0, 1, 2, 3, 4]) == pytest.approx(1 - 1 / 8)
    assert negative_log_likelihood(equal, [0, 1, 2, 3, 4]) == pytest.approx(math.log(8))


@pytest.mark.parametrize("seed", range(10))
def test_scores_agree_with_scikit_learn(seed) -> None:
    probabilities, labels = draw_probabilities(seed)
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(
        metrics.log_loss(labels, probabilities, labels=range(8))
    )
    assert brier_score(probabilities, labels) == pytest.approx(
        metrics.brier_score_loss(labels, probabilities, labels=range(8), scale_by_half=False)
    )


def test_impossible_truth_costs_the_floor_and_not_infinity() -> None:
    assert negative_log_likelihood([[0.0, 1.0]], [0]) == pytest.approx(-math.log(1e-12))


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize(
    ("probabilities", "labels", "reason"),
    [
        ([[math.nan, 1.0]], [0], "not be NaN"),
        ([[0.5, 0.6]], [0], "sum to 1"),
        ([[1.5, -0.5]], [0], "within \\[0, 1\\]"),
        ([[0.5, 0.5]], [2], "labels must lie"),
        ([[0.5, 0.5]], [0, 1], "not \\(2, n_classes\\)"),
        ([[0.5, 0.5]], [0.0], "class numbers"),
    ],
)
def test_what_are_no_probabilities_are_refused(metric, probabilities, labels, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        metric(probabilities, labels)
