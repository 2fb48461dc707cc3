"""Whether a challenger may take the champion's place: not worse where neither learnt, better where people corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.evaluation.bootstrap import LEVEL, PairedDifference, paired_bootstrap_difference
from core.evaluation.classification import accuracy, unweighted_average_recall

MARGIN = 0.02
"""How much worse on the test set the lower end of the interval may still be: two points of unweighted average recall,
about what a test set of 600 clips can tell apart at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same clips."""

    n_clips: int
    champion: float
    challenger: float
    difference: float
    """Of the challenger less the champion."""
    low: float
    high: float
    """Paired bootstrap interval of the difference, 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The verdict and what it rests on."""

    test: Comparison
    """Unweighted average recall on clips that the challenger did not learn from."""
    corrections: Comparison
    """Accuracy on the corrected clips, each answered by a model that did not learn from it."""

    @property
    def is_not_worse(self) -> bool:
        """Whether the test set shows no loss beyond the margin."""
        return self.test.low >= -MARGIN

    @property
    def is_better(self) -> bool:
        """Whether the corrections show a gain that is no chance."""
        return self.corrections.low > 0

    @property
    def is_passed(self) -> bool:
        """Whether the challenger may be deployed."""
        return self.is_not_worse and self.is_better

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        said = "Not worse on the test set" if self.is_not_worse else "May be worse on the test set"
        joined = "and" if self.is_not_worse == self.is_better else "but"
        return f"{said} {joined} {'better' if self.is_better else 'not surely better'} on the corrections."


def judge_challenger(
    *,
    test_labels: ArrayLike,
    champion_on_test: ArrayLike,
    challenger_on_test: ArrayLike,
    corrected_labels: ArrayLike,
    champion_on_corrections: ArrayLike,
    challenger_on_corrections: ArrayLike,
    seed: int = 0,
) -> Gate:
    """Compare the answers of two models, each array `(n_clips,)` of class numbers."""
    on_test = paired_bootstrap_difference(
        unweighted_average_recall, test_labels, champion_on_test, challenger_on_test, level=LEVEL, seed=seed
    )
    on_corrections = paired_bootstrap_difference(
        accuracy, corrected_labels, champion_on_corrections, challenger_on_corrections, level=LEVEL, seed=seed
    )
    return Gate(
        test=_comparison(
            on_test,
            len(np.asarray(test_labels)),
            unweighted_average_recall(test_labels, champion_on_test),
        ),
        corrections=_comparison(
            on_corrections,
            len(np.asarray(corrected_labels)),
            accuracy(corrected_labels, champion_on_corrections),
        ),
    )


def _comparison(found: PairedDifference, n_clips: int, champion: float) -> Comparison:
    return Comparison(
        n_clips=n_clips,
        champion=champion,
        challenger=champion + found.difference,
        difference=found.difference,
        low=found.interval.low,
        high=found.interval.high,
    )
