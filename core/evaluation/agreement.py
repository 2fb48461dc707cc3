"""How far several annotators agree.

Conventions
-----------
`ratings` is a float array of shape `(n_clips, n_annotators)` that holds label numbers from 0; NaN where an annotator
did not rate a clip. A figure that does not exist (nobody rated anything twice, everybody always gave one label) is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.evaluation.bootstrap import N_RESAMPLES, ConfidenceInterval, bootstrap_interval


def krippendorff_alpha(ratings: ArrayLike) -> float:
    """Krippendorff's alpha for nominal data: 1 - observed over expected disagreement.

    From the coincidence matrix `o`, in which every clip with `m` ratings puts each of its ordered pairs with the weight
    `1 / (m - 1)`: alpha = 1 - (n - 1) * sum_{c != k} o_ck / sum_{c != k} n_c n_k. Clips with fewer than two ratings
    do not count.

    Source: Krippendorff: "Computing Krippendorff's alpha-reliability", 2011, section C.

    Parameters
    ----------
    ratings
        Label numbers, `(n_clips, n_annotators)`, NaN = absent.

    Returns
    -------
    float
        1 for agreement, 0 for what chance gives, below 0 for less; NaN where fewer than two labels occur in pairs.

    Raises
    ------
    ValueError
        `ratings` is no such array.

    Examples
    --------
    >>> krippendorff_alpha([[0, 0], [1, 1], [2, 2]])
    1.0
    >>> round(krippendorff_alpha([[0, 0], [0, 1], [1, 1], [1, 1]]), 4)
    0.5333
    """
    table = _table(ratings)
    return _alpha(_counts(table))


def krippendorff_alpha_interval(
    ratings: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> ConfidenceInterval:
    """Percentile bootstrap interval of `krippendorff_alpha`, drawing clips with all their ratings.

    Examples
    --------
    >>> interval = krippendorff_alpha_interval([[0, 0], [0, 1], [1, 1]] * 20)
    >>> interval.low < krippendorff_alpha([[0, 0], [0, 1], [1, 1]] * 20) < interval.high
    True
    """
    counts = _counts(_table(ratings))
    if not len(counts):
        return bootstrap_interval(np.mean, np.zeros(0))
    return bootstrap_interval(_alpha, counts, n_resamples=n_resamples, seed=seed)


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Cohen's kappa of two annotators: (observed - expected) / (1 - expected) over the clips that both rated.

    Source: Cohen: "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 1960.

    Parameters
    ----------
    first, second
        Label numbers, `(n_clips,)`, NaN = absent.

    Returns
    -------
    float
        In [-1, 1]; NaN without a clip that both rated, and where both always gave one and the same label.

    Examples
    --------
    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    pair = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    pair = pair[~np.isnan(pair).any(axis=1)]
    if not len(pair):
        return math.nan
    observed = float(np.mean(pair[:, 0] == pair[:, 1]))
    labels = np.unique(pair)
    shares = [(pair == label).mean(axis=0) for label in labels]
    expected = float(sum(share[0] * share[1] for share in shares))
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def pairwise_cohen_kappa(ratings: ArrayLike) -> NDArray[np.float64]:
    """Cohen's kappa of every pair of annotators, `(n_annotators, n_annotators)`; NaN on the diagonal."""
    table = _table(ratings)
    n_annotators = table.shape[1]
    kappas = np.full((n_annotators, n_annotators), math.nan)
    for one in range(n_annotators):
        for other in range(one):
            kappas[one, other] = kappas[other, one] = cohen_kappa(table[:, one], table[:, other])
    return kappas


def percent_agreement(ratings: ArrayLike) -> float:
    """Share of pairs of ratings of one clip that are the same, in [0, 1]; every clip counts alike. NaN without a pair.

    Source: the observed agreement of Fleiss: "Measuring nominal scale agreement among many raters", 1971, equation 2.

    Examples
    --------
    >>> percent_agreement([[0, 0, 1, 1], [1, 1, 1, 1]])
    0.6666666666666666
    """
    counts = _counts(_table(ratings))
    if not len(counts):
        return math.nan
    n = counts.sum(axis=1)
    return float(np.mean((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))))


def agreement_by_label(ratings: ArrayLike, *, n_labels: int) -> NDArray[np.float64]:
    """Of every label: given that one of two ratings of a clip is this label, how often the other is, `(n_labels,)`.

    Specific agreement (Dice's coefficient): sum n_k (n_k - 1) / sum n_k (n - 1) over clips. NaN where it never occurs.

    Source: Fleiss: "Measuring nominal scale agreement among many raters", 1971, section on single categories.

    Examples
    --------
    >>> agreement_by_label([[0, 0], [0, 1]], n_labels=3).round(2).tolist()
    [0.67, 0.0, nan]
    """
    counts = _counts(_table(ratings), n_labels)
    n = counts.sum(axis=1, keepdims=True)
    same, all_pairs = (counts * (counts - 1)).sum(axis=0), (counts * (n - 1)).sum(axis=0)
    shares: NDArray[np.float64] = np.divide(same, all_pairs, out=np.full(n_labels, math.nan), where=all_pairs > 0)
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstConsensus:
    """One annotator against what all agree on."""

    n_clips: int
    """Rated by them, and with a consensus."""
    agreement: float
    """Share of those in which they said the consensus; NaN without any."""
    confusion: NDArray[np.int64]
    """Consensus (rows) and their label (columns), `(n_labels, n_labels)`."""


def against_consensus(ratings: ArrayLike, consensus: ArrayLike, *, n_labels: int) -> AgainstConsensus:
    """One annotator's `ratings` (n_clips,) against `consensus` (n_clips,); NaN = absent in either.

    Examples
    --------
    >>> found = against_consensus([0, 1, math.nan], [0, 0, 1], n_labels=2)
    >>> found.n_clips, found.agreement, found.confusion.tolist()
    (2, 0.5, [[1, 1], [0, 0]])
    """
    pair = np.column_stack([np.asarray(consensus, float), np.asarray(ratings, float)])
    pair = pair[~np.isnan(pair).any(axis=1)].astype(np.int64)
    confusion = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(confusion, (pair[:, 0], pair[:, 1]), 1)
    agreement = float(np.mean(pair[:, 0] == pair[:, 1])) if len(pair) else math.nan
    return AgainstConsensus(n_clips=len(pair), agreement=agreement, confusion=confusion)


def _table(ratings: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(ratings, dtype=np.float64)
    if table.size == 0:
        return np.zeros((0, table.shape[1] if table.ndim == 2 else 0))
    if table.ndim != 2:
        raise ValueError(f"ratings have the shape {table.shape}; (n_clips, n_annotators) is needed")
    given = table[~np.isnan(table)]
    if (given < 0).any() or (given != np.floor(given)).any():
        raise ValueError("ratings hold something else than label numbers from 0 and NaN")
    return table


def _counts(table: NDArray[np.float64], n_labels: int | None = None) -> NDArray[np.float64]:
    """How often each clip with at least two ratings got each label, `(n_such_clips, n_labels)`."""
    given = ~np.isnan(table)
    if n_labels is None:
        n_labels = int(table[given].max()) + 1 if given.any() else 0
    counts = np.stack([(table == label).sum(axis=1) for label in range(n_labels)], axis=1) if n_labels else given[:, :0]
    twice: NDArray[np.float64] = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    return twice


def _alpha(counts: NDArray[np.float64]) -> float:
    n_by_clip = counts.sum(axis=1)
    n = n_by_clip.sum()
    if not n:
        return math.nan
    same = ((counts * (counts - 1)).sum(axis=1) / (n_by_clip - 1)).sum()
    n_by_label = counts.sum(axis=0)
    expected = n * n - (n_by_label**2).sum()
    return float(1 - (n - 1) * (n - same) / expected) if expected else math.nan
