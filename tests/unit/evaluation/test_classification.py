"""Classification metrics against hand-computed cases and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from core.evaluation.classification import (
    accuracy,
    confusion_matrix,
    f1_scores,
    macro_f1,
    precisions,
    recalls,
    unweighted_average_recall,
)

METRICS = [accuracy, unweighted_average_recall, macro_f1]


def draw(seed: int, n_clips: int = 300, n_classes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(n_classes, size=n_clips, p=generator.dirichlet(np.ones(n_classes)))
    predictions = np.where(generator.random(n_clips) < 0.6, labels, generator.integers(n_classes, size=n_clips))
    return labels, predictions


def test_hand_computed_case() -> None:
    # Class 0: 3 of 4 found, one of class 1 taken for it. Class 1: 1 of 2, one of class 0 taken for it. Class 2: 1 of 1.
    labels, predictions = [0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 2]
    assert accuracy(labels, predictions) == pytest.approx(5 / 7)
    assert unweighted_average_recall(labels, predictions) == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert macro_f1(labels, predictions) == pytest.approx((6 / 8 + 2 / 4 + 1) / 3)
    assert confusion_matrix(labels, predictions, n_classes=3).tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("metric", METRICS)
def test_perfect_answers_score_one_and_only_wrong_ones_zero(metric) -> None:
    assert metric([0, 1, 2, 2], [0, 1, 2, 2]) == 1.0
    assert metric([0, 1, 2, 2], [1, 2, 0, 0]) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_no_clips_have_no_score(metric) -> None:
    assert math.isnan(metric([], []))


@pytest.mark.parametrize("seed", range(20))
def test_scores_agree_with_scikit_learn(seed) -> None:
    labels, predictions = draw(seed)
    occurring = np.unique(labels)
    assert accuracy(labels, predictions) == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert unweighted_average_recall(labels, predictions) == pytest.approx(
        metrics.recall_score(labels, predictions, labels=occurring, average="macro")
    )
    assert macro_f1(labels, predictions) == pytest.approx(
        metrics.f1_score(labels, predictions, labels=occurring, average="macro")
    )
    assert np.array_equal(
        confusion_matrix(labels, predictions, n_classes=8),
        metrics.confusion_matrix(labels, predictions, labels=range(8)),
    )


def test_precision_recall_and_f1_per_class_agree_with_scikit_learn() -> None:
    labels, predictions = draw(5)
    confusion = confusion_matrix(labels, predictions, n_classes=8)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(8), zero_division=np.nan
    )
    np.testing.assert_allclose(precisions(confusion), precision)
    np.testing.assert_allclose(recalls(confusion), recall)
    np.testing.assert_allclose(f1_scores(confusion), f1)


def test_class_that_never_occurs_has_no_recall_and_adds_no_zero() -> None:
    labels, predictions = [0, 0, 1, 1], [0, 2, 1, 1]
    assert math.isnan(recalls(confusion_matrix(labels, predictions, n_classes=3))[2])
    assert unweighted_average_recall(labels, predictions) == 0.75
    assert macro_f1(labels, predictions) == pytest.approx((2 / 3 + 1) / 2)


def test_class_that_is_never_predicted_has_no_precision() -> None:
    assert math.isnan(precisions(confusion_matrix([0, 1], [0, 0], n_classes=2))[1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "predictions", "reason"),
    [
        ([0, 1], [0], "2 labels, but 1 predictions"),
        ([0.0, math.nan], [0, 1], "not class numbers"),
        (["sad"], ["sad"], "not class numbers"),
        ([0, -1], [0, 1], "start at 0"),
        ([[0, 1]], [[0, 1]], "not \\(n_clips,\\)"),
    ],
)
def test_what_is_no_class_number_is_refused(metric, labels, predictions, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        metric(labels, predictions)


def test_class_number_beyond_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="class number 3 with only 3 classes"):
        confusion_matrix([0, 1], [0, 3], n_classes=3)
