"""How far a figure would move on other clips of the same kind.

Percentile bootstrap: Efron, Tibshirani: "An introduction to the bootstrap", 1993, chapter 13. Resampling clips says
how sure a figure is for the speakers at hand; resampling speakers (`clusters`) says how sure it is for other speakers,
and is wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_RESAMPLES = 1000
LEVEL = 0.95

Statistic = Callable[..., float]
"""Takes one or more arrays with a common first axis, gives one number; NaN where it does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceInterval:
    """The middle `level` of the resampled figures."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """By how much a second set of answers beats a first one on the same clips."""

    difference: float
    """Figure of the second less figure of the first."""
    interval: ConfidenceInterval
    share_not_better: float
    """Share of resamples in which the second is not better; below 0.025 the interval lies above zero."""


def bootstrap_interval(
    statistic: Statistic,
    *arrays: ArrayLike,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    clusters: ArrayLike | None = None,
) -> ConfidenceInterval:
    """Percentile interval of `statistic(*arrays)`.

    Parameters
    ----------
    statistic
        Called with resampled arrays; resamples for which it is NaN are left out.
    *arrays
        First axis `n_clips`.
    n_resamples, level, seed
        Number of resamples, share of them inside, and seed of the draws.
    clusters
        `(n_clips,)`; when given, whole clusters (speakers) are drawn instead of clips.

    Returns
    -------
    ConfidenceInterval
        NaN bounds without clips, or when no resample has a figure.

    Raises
    ------
    ValueError
        First axes differ, or `level` or `n_resamples` is out of place.

    Examples
    --------
    >>> interval = bootstrap_interval(np.mean, np.arange(100.0))
    >>> interval.low < 49.5 < interval.high
    True
    """
    columns = _columns(*arrays)
    if not columns[0].shape[0]:
        return ConfidenceInterval(low=math.nan, high=math.nan, level=level)
    drawn = _resamples(columns[0].shape[0], n_resamples=n_resamples, seed=seed, clusters=clusters)
    figures = np.array([statistic(*(column[chosen] for column in columns)) for chosen in drawn])
    return _percentiles(figures, level)


def paired_bootstrap_difference(
    statistic: Statistic,
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    clusters: ArrayLike | None = None,
) -> PairedDifference:
    """How much better `statistic(labels, second)` is than `statistic(labels, first)`, resampling both alike.

    Source: Efron, Tibshirani 1993, chapter 16; in use for systems on one test set since Koehn: "Statistical
    significance tests for machine translation evaluation", EMNLP 2004.

    Parameters
    ----------
    statistic
        Larger is better.
    labels, first, second
        First axis `n_clips`, in the same order.

    Raises
    ------
    ValueError
        As for `bootstrap_interval`.

    Examples
    --------
    >>> from core.evaluation.classification import accuracy
    >>> labels = np.zeros(200, dtype=int)
    >>> worse, better = labels.copy(), labels.copy()
    >>> worse[:100], better[:20] = 1, 1
    >>> found = paired_bootstrap_difference(accuracy, labels, worse, better)
    >>> round(found.difference, 2), found.interval.low > 0, found.share_not_better
    (0.4, True, 0.0)
    """
    truth, one, other = _columns(labels, first, second)
    if not truth.shape[0]:
        nowhere = ConfidenceInterval(low=math.nan, high=math.nan, level=level)
        return PairedDifference(difference=math.nan, interval=nowhere, share_not_better=math.nan)
    drawn = _resamples(truth.shape[0], n_resamples=n_resamples, seed=seed, clusters=clusters)
    figures = np.array(
        [statistic(truth[chosen], other[chosen]) - statistic(truth[chosen], one[chosen]) for chosen in drawn]
    )
    exist = figures[~np.isnan(figures)]
    return PairedDifference(
        difference=statistic(truth, other) - statistic(truth, one),
        interval=_percentiles(figures, level),
        share_not_better=float(np.mean(exist <= 0.0)) if exist.size else math.nan,
    )


def _columns(*arrays: ArrayLike) -> list[NDArray[np.generic]]:
    columns = [np.asarray(array) for array in arrays]
    if not columns or any(column.ndim == 0 for column in columns):
        raise ValueError("give at least one array with a first axis")
    lengths = {column.shape[0] for column in columns}
    if len(lengths) != 1:
        raise ValueError(f"first axes differ: {sorted(lengths)}")
    return columns


def _resamples(n_clips: int, *, n_resamples: int, seed: int, clusters: ArrayLike | None) -> Iterator[NDArray[np.intp]]:
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}, not a positive number")
    generator = np.random.default_rng(seed)
    if clusters is None:
        for _ in range(n_resamples):
            yield generator.integers(n_clips, size=n_clips)
        return
    names, position = np.unique(np.asarray(clusters), return_inverse=True)
    if position.size != n_clips:
        raise ValueError(f"{position.size} clusters for {n_clips} clips")
    members = [np.flatnonzero(position == number) for number in range(names.size)]
    for _ in range(n_resamples):
        yield np.concatenate([members[number] for number in generator.integers(names.size, size=names.size)])


def _percentiles(figures: NDArray[np.float64], level: float) -> ConfidenceInterval:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}, not within (0, 1)")
    exist = figures[~np.isnan(figures)]
    if not exist.size:
        return ConfidenceInterval(low=math.nan, high=math.nan, level=level)
    low, high = np.quantile(exist, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return ConfidenceInterval(low=float(low), high=float(high), level=level)
