"""What is gained by leaving out the clips a model is least sure about.

Conventions
-----------
`uncertainties` is a float array of shape `(n_clips,)`, larger meaning less sure, of any unit (an entropy in nats, or
one minus the confidence); `is_correct` is a boolean array of the same shape. Clips of equal uncertainty count as if
drawn in random order: figures are their expectation and do not depend on the order of the clips. A figure that does
not exist is NaN; a NaN uncertainty raises `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Shares of clips answered at which accuracies are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverageCurve:
    """Share of wrong answers among the clips answered, from only the surest one to all of them."""

    coverages: NDArray[np.float64]
    """Share of clips answered, `(n_clips,)`, rising to 1."""
    risks: NDArray[np.float64]
    """Share of wrong answers among those, `(n_clips,)`."""


def risk_coverage_curve(uncertainties: ArrayLike, is_correct: ArrayLike) -> RiskCoverageCurve:
    """The risk when only the surest clips are answered, for every number of clips answered.

    Source: El-Yaniv, Wiener: "On the foundations of noise-free selective classification", JMLR 11, 2010, section 2.

    Raises
    ------
    ValueError
        Lengths differ, or an uncertainty is NaN.

    Examples
    --------
    >>> curve = risk_coverage_curve([0.1, 0.2, 0.3, 0.4], [True, True, False, True])
    >>> curve.risks.round(3)
    array([0.   , 0.   , 0.333, 0.25 ])
    """
    doubt, is_wrong = _doubts(uncertainties, is_correct)
    n_clips = doubt.size
    n_wrong = np.cumsum(_wrong_in_expected_order(doubt, is_wrong))
    n_answered = np.arange(1, n_clips + 1)
    return RiskCoverageCurve(coverages=n_answered / max(n_clips, 1), risks=n_wrong / n_answered)


def area_under_risk_coverage_curve(uncertainties: ArrayLike, is_correct: ArrayLike) -> float:
    """Mean risk over all coverages `1/n, 2/n ... 1` (AURC).

    Source: Geifman, Uziel, El-Yaniv: "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019,
    equation 2.

    Returns
    -------
    float
        In [0, 1], lower is better; the plain error rate for an uncertainty that ranks nothing. NaN without clips.

    Raises
    ------
    ValueError
        As for `risk_coverage_curve`.

    Examples
    --------
    >>> round(area_under_risk_coverage_curve([0.1, 0.2, 0.3, 0.4], [True, True, False, True]), 4)
    0.1458
    """
    risks = risk_coverage_curve(uncertainties, is_correct).risks
    return float(np.mean(risks)) if risks.size else math.nan


def accuracies_at_coverages(
    uncertainties: ArrayLike, is_correct: ArrayLike, *, coverages: Sequence[float] = COVERAGES
) -> dict[float, float]:
    """Accuracy when the most uncertain clips are left out, by the share of clips answered.

    Parameters
    ----------
    uncertainties, is_correct
        `(n_clips,)` each.
    coverages
        Shares within (0, 1]; the number of clips answered is rounded up.

    Returns
    -------
    dict
        Accuracy in [0, 1] by coverage; NaN without clips.

    Raises
    ------
    ValueError
        As for `risk_coverage_curve`, or a coverage outside (0, 1].

    Examples
    --------
    >>> accuracies_at_coverages([0.1, 0.2, 0.3, 0.4], [True, True, False, False], coverages=(1.0, 0.5))
    {1.0: 0.5, 0.5: 1.0}
    """
    risks = risk_coverage_curve(uncertainties, is_correct).risks
    found = {}
    for coverage in coverages:
        if not 0.0 < coverage <= 1.0:
            raise ValueError(f"a coverage is {coverage}, not within (0, 1]")
        # The tolerance keeps 0.7 * 10, which is 7.000000000000001, from answering eight clips.
        n_answered = math.ceil(coverage * risks.size - 1e-9)
        found[coverage] = 1.0 - float(risks[n_answered - 1]) if risks.size else math.nan
    return found


def error_ranking_auroc(uncertainties: ArrayLike, is_correct: ArrayLike) -> float:
    """Probability that a wrong answer is more uncertain than a right one; ties count half.

    Source: Hendrycks, Gimpel: "A baseline for detecting misclassified and out-of-distribution examples in neural
    networks", ICLR 2017, section 2; computed as the Mann-Whitney statistic.

    Returns
    -------
    float
        In [0, 1], 0.5 for an uncertainty that ranks nothing; NaN when all answers are right or all are wrong.

    Raises
    ------
    ValueError
        As for `risk_coverage_curve`.

    Examples
    --------
    >>> error_ranking_auroc([0.1, 0.2, 0.3, 0.4], [True, False, True, False])
    0.75
    """
    doubt, is_wrong = _doubts(uncertainties, is_correct)
    n_wrong = int(is_wrong.sum())
    n_right = is_wrong.size - n_wrong
    if not n_wrong or not n_right:
        return math.nan
    _, position, counts = np.unique(doubt, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = float(mean_ranks[position][is_wrong].sum())
    return (rank_sum - n_wrong * (n_wrong + 1) / 2.0) / (n_wrong * n_right)


def _wrong_in_expected_order(doubt: NDArray[np.float64], is_wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Expected wrongness at each rank: within a tie every clip carries the tie's mean."""
    _, position, counts = np.unique(doubt, return_inverse=True, return_counts=True)
    wrong_sums = np.bincount(position, weights=is_wrong, minlength=counts.size)
    return np.repeat(wrong_sums / counts, counts) if counts.size else np.empty(0)


def _doubts(uncertainties: ArrayLike, is_correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    doubt = np.asarray(uncertainties, dtype=np.float64)
    correct = np.asarray(is_correct)
    if doubt.ndim != 1 or doubt.shape != correct.shape:
        raise ValueError(f"uncertainties {doubt.shape} and is_correct {correct.shape} are not both (n_clips,)")
    if correct.size and correct.dtype != np.bool_:
        raise ValueError(f"is_correct holds {correct.dtype} values, not booleans")
    if np.isnan(doubt).any():
        raise ValueError("an uncertainty is NaN")
    return doubt, ~correct.astype(np.bool_)
