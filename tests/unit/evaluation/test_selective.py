"""Risk against coverage, and how well an uncertainty ranks errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn import metrics

from core.evaluation.selective import (
    accuracies_at_coverages,
    area_under_risk_coverage_curve,
    error_ranking_auroc,
    risk_coverage_curve,
)

FUNCTIONS = [
    risk_coverage_curve,
    area_under_risk_coverage_curve,
    accuracies_at_coverages,
    error_ranking_auroc,
]
EMPTY = np.array([], dtype=bool)


def draw(seed: int, n_clips: int = 200, n_levels: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    uncertainties = generator.integers(n_levels, size=n_clips) / n_levels
    return uncertainties, generator.random(n_clips) > uncertainties * 0.7


def test_hand_computed_curve() -> None:
    curve = risk_coverage_curve([0.3, 0.1, 0.4, 0.2], [False, True, True, True])
    np.testing.assert_allclose(curve.coverages, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.risks, [0, 0, 1 / 3, 1 / 4])
    assert area_under_risk_coverage_curve([0.3, 0.1, 0.4, 0.2], [False, True, True, True]) == pytest.approx(7 / 48)


def test_uncertainty_that_ranks_every_error_last_reaches_full_accuracy() -> None:
    is_correct = np.array([True] * 7 + [False] * 3)
    found = accuracies_at_coverages(~is_correct, is_correct)
    assert found[1.0] == pytest.approx(0.7)
    assert found[0.7] == found[0.5] == 1.0
    assert error_ranking_auroc(~is_correct, is_correct) == 1.0


def test_uncertainty_that_ranks_every_error_first_is_worth_nothing() -> None:
    is_correct = np.array([True] * 5 + [False] * 5)
    assert error_ranking_auroc(is_correct, is_correct) == 0.0
    assert accuracies_at_coverages(is_correct, is_correct, coverages=(0.5,))[0.5] == 0.0


def test_always_right_has_no_risk() -> None:
    assert area_under_risk_coverage_curve([0.1, 0.2], [True, True]) == 0.0
    assert set(accuracies_at_coverages([0.1, 0.2], [True, True]).values()) == {1.0}


def test_no_clips_have_no_figures() -> None:
    assert risk_coverage_curve([], EMPTY).risks.size == 0
    assert math.isnan(area_under_risk_coverage_curve([], EMPTY))
    assert all(math.isnan(value) for value in accuracies_at_coverages([], EMPTY).values())
    assert math.isnan(error_ranking_auroc([], EMPTY))


@pytest.mark.parametrize("is_correct", [[True, True], [False, False]])
def test_ranking_of_errors_does_not_exist_without_both_kinds(is_correct) -> None:
    assert math.isnan(error_ranking_auroc([0.1, 0.2], is_correct))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_levels", [1000, 5])
def test_ranking_of_errors_agrees_with_scikit_learn_with_and_without_ties(seed, n_levels) -> None:
    uncertainties, is_correct = draw(seed, n_levels=n_levels)
    expected = metrics.roc_auc_score(~is_correct, uncertainties)
    assert error_ranking_auroc(uncertainties, is_correct) == pytest.approx(expected)


def test_ties_count_as_the_mean_over_every_order_of_the_clips() -> None:
    uncertainties, is_correct = np.array([0.1, 0.5, 0.5, 0.5]), np.array([True, False, True, True])
    tied = risk_coverage_curve(uncertainties, is_correct).risks
    risks = []
    for order in itertools.permutations(range(1, 4)):
        chosen = np.array([0, *order])
        risks.append(np.cumsum(~is_correct[chosen]) / np.arange(1, 5))
    np.testing.assert_allclose(tied, np.mean(risks, axis=0))


def test_figures_do_not_depend_on_the_order_of_the_clips() -> None:
    uncertainties, is_correct = draw(3, n_levels=4)
    order = np.random.default_rng(0).permutation(uncertainties.size)
    assert area_under_risk_coverage_curve(uncertainties, is_correct) == pytest.approx(
        area_under_risk_coverage_curve(uncertainties[order], is_correct[order])
    )


def test_uncertainty_that_says_nothing_has_the_error_rate_as_its_area() -> None:
    is_correct = np.array([True] * 3 + [False])
    assert area_under_risk_coverage_curve(np.zeros(4), is_correct) == pytest.approx(0.25)


def test_seventy_percent_of_ten_clips_are_seven() -> None:
    is_correct = np.array([True] * 7 + [False] * 3)
    assert accuracies_at_coverages(np.arange(10.0), is_correct, coverages=(0.7,)) == {0.7: 1.0}


def test_number_of_clips_answered_is_rounded_up() -> None:
    assert accuracies_at_coverages([1.0, 2.0, 3.0], [True, False, False], coverages=(0.5,)) == {0.5: 0.5}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("uncertainties", "is_correct", "reason"),
    [
        ([0.1, math.nan], [True, False], "NaN"),
        ([0.1], [True, False], "not both"),
        ([0.1], [1], "not booleans"),
    ],
)
def test_what_is_no_uncertainty_is_refused(function, uncertainties, is_correct, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        function(uncertainties, is_correct)


@pytest.mark.parametrize("coverage", [0.0, 1.1])
def test_coverage_outside_its_range_is_refused(coverage) -> None:
    with pytest.raises(ValueError, match="coverage"):
        accuracies_at_coverages([0.1], [True], coverages=(coverage,))
