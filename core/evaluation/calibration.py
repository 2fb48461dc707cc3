"""Whether a confidence of 80 % is right eight times in ten.

Conventions
-----------
`confidences` is a float array of shape `(n_clips,)` within [0, 1], `is_correct` a boolean array of the same shape.
`probabilities` has shape `(n_clips, n_classes)` and rows that sum to 1; `labels` holds class numbers, `(n_clips,)`.
Bins are of equal width and closed above: 15 bins mean (0, 1/15], (1/15, 2/15] ... with 0 itself in the first.
A figure that does not exist (no clips) is NaN. NaN among the arguments raises `ValueError`: a model that answers NaN
has no calibration to measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_BINS = 15
"""Number of equal-width bins of every calibration error named without it."""
SMALLEST_PROBABILITY = 1e-12
"""Floor under the logarithm of `negative_log_likelihood`: one impossible clip costs 27.6 nats, not infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Clips whose confidence lies in one bin: what the model promised and what it kept."""

    low: float
    """Excluded, but for the first bin."""
    high: float
    """Included."""
    n_clips: int
    mean_confidence: float
    """NaN in an empty bin."""
    accuracy: float
    """NaN in an empty bin."""


def reliability_bins(
    confidences: ArrayLike, is_correct: ArrayLike, *, n_bins: int = N_BINS
) -> tuple[ReliabilityBin, ...]:
    """Sort clips by confidence into `n_bins` bins of equal width: the data of a reliability diagram.

    Source: Guo, Pleiss, Sun, Weinberger: "On calibration of modern neural networks", ICML 2017, section 2.

    Raises
    ------
    ValueError
        Lengths differ, a confidence is NaN or outside [0, 1], or `n_bins` is not positive.

    Examples
    --------
    >>> for bin in reliability_bins([0.3, 0.4, 0.9], [False, True, True], n_bins=2):
    ...     print(bin.n_clips, round(bin.mean_confidence, 2), bin.accuracy)
    2 0.35 0.5
    1 0.9 1.0
    """
    promised, kept = _confidences(confidences, is_correct)
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}, not a positive number")
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    # The edges before the last one, so that a confidence of exactly an edge falls into the bin below it.
    numbers = np.searchsorted(edges[1:-1], promised, side="left")
    n_clips = np.bincount(numbers, minlength=n_bins)
    confidence_sums = np.bincount(numbers, weights=promised, minlength=n_bins)
    correct_sums = np.bincount(numbers, weights=kept, minlength=n_bins)
    return tuple(
        ReliabilityBin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            n_clips=int(count),
            mean_confidence=float(confidence_sums[number] / count) if count else math.nan,
            accuracy=float(correct_sums[number] / count) if count else math.nan,
        )
        for number, count in enumerate(n_clips)
    )


def expected_calibration_error(confidences: ArrayLike, is_correct: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their clips (ECE).

    Source: Guo et al. 2017, equation 3.

    Parameters
    ----------
    confidences, is_correct
        `(n_clips,)` each.
    n_bins
        15 unless said otherwise; figures with other numbers of bins cannot be compared.

    Returns
    -------
    float
        In [0, 1], 0 is best; NaN without clips.

    Raises
    ------
    ValueError
        As for `reliability_bins`.

    Examples
    --------
    Promised 0.9 four times, kept it three times.

    >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 3)
    0.15
    """
    bins = [bin for bin in reliability_bins(confidences, is_correct, n_bins=n_bins) if bin.n_clips]
    n_clips = sum(bin.n_clips for bin in bins)
    if not n_clips:
        return math.nan
    return sum(bin.n_clips * abs(bin.accuracy - bin.mean_confidence) for bin in bins) / n_clips


def maximum_calibration_error(confidences: ArrayLike, is_correct: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """Largest distance of confidence and accuracy in any bin that holds clips (MCE); one clip is enough to set it.

    Source: Guo et al. 2017, equation 4.

    Returns
    -------
    float
        In [0, 1], 0 is best; NaN without clips.

    Raises
    ------
    ValueError
        As for `reliability_bins`.

    Examples
    --------
    >>> round(maximum_calibration_error([0.9, 0.9, 0.2], [True, True, False]), 3)
    0.2
    """
    bins = [bin for bin in reliability_bins(confidences, is_correct, n_bins=n_bins) if bin.n_clips]
    return max((abs(bin.accuracy - bin.mean_confidence) for bin in bins), default=math.nan)


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of the probabilities from the truth, summed over classes.

    Source: Brier: "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1), 1950,
    equation 2.

    Returns
    -------
    float
        In [0, 2], 0 is best; `1 - 1 / n_classes` for equal probabilities. NaN without clips.

    Raises
    ------
    ValueError
        Shapes disagree, a probability is NaN or outside [0, 1], a row does not sum to 1, or a label is no column.

    Examples
    --------
    >>> brier_score([[0.5, 0.5], [1.0, 0.0]], [0, 0])
    0.25
    """
    forecast, truth = _probabilities(probabilities, labels)
    if not truth.size:
        return math.nan
    distances = forecast.copy()
    distances[np.arange(truth.size), truth] -= 1.0
    return float(np.mean(np.sum(distances**2, axis=1)))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of minus the logarithm of the true class's probability, in nats.

    Source: Guo et al. 2017, equation 5.

    Returns
    -------
    float
        At least 0, 0 is best; `log(n_classes)` for equal probabilities. NaN without clips.

    Raises
    ------
    ValueError
        As for `brier_score`.

    Examples
    --------
    >>> round(negative_log_likelihood([[0.5, 0.5], [1.0, 0.0]], [0, 0]), 4)
    0.3466
    """
    forecast, truth = _probabilities(probabilities, labels)
    if not truth.size:
        return math.nan
    given_to_truth = forecast[np.arange(truth.size), truth]
    return float(-np.mean(np.log(np.maximum(given_to_truth, SMALLEST_PROBABILITY))))


def _confidences(confidences: ArrayLike, is_correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    promised = np.asarray(confidences, dtype=np.float64)
    kept = np.asarray(is_correct)
    if promised.ndim != 1 or promised.shape != kept.shape:
        raise ValueError(f"confidences {promised.shape} and is_correct {kept.shape} are not both (n_clips,)")
    if kept.size and kept.dtype != np.bool_:
        raise ValueError(f"is_correct holds {kept.dtype} values, not booleans")
    # The negation catches NaN, which is neither below 0 nor above 1. Rounding of float32 means may pass 1 by 1e-6.
    if not np.all((promised >= 0.0) & (promised <= 1.0 + 1e-6)):
        raise ValueError("confidences must lie within [0, 1] and not be NaN")
    return np.minimum(promised, 1.0), kept.astype(np.bool_)


def _probabilities(probabilities: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    forecast = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels)
    if truth.ndim != 1 or (truth.size and not np.issubdtype(truth.dtype, np.integer)):
        raise ValueError(f"labels must be class numbers of shape (n_clips,), not {truth.dtype} {truth.shape}")
    if not truth.size and not forecast.size:
        return np.empty((0, 0)), truth.astype(np.int64)
    if forecast.ndim != 2 or forecast.shape[0] != truth.size:
        raise ValueError(f"probabilities have shape {forecast.shape}, not ({truth.size}, n_classes)")
    if not np.all((forecast >= -1e-6) & (forecast <= 1.0 + 1e-6)):
        raise ValueError("probabilities must lie within [0, 1] and not be NaN")
    if not np.allclose(forecast.sum(axis=1), 1.0, atol=1e-3):
        raise ValueError("every row of probabilities must sum to 1")
    if truth.min() < 0 or truth.max() >= forecast.shape[1]:
        raise ValueError(f"labels must lie within 0 and {forecast.shape[1] - 1}")
    return forecast, truth.astype(np.int64)
