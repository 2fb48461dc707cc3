"""How sure an answer is, read off the forward passes of Monte-Carlo dropout.

Conventions: `p_t` is the answer of pass `t`, a distribution over emotions; `mean_t` is over passes; `H` is Shannon's
entropy with the natural logarithm, in nats, where 0 ln 0 counts as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.domain import Uncertainty

INTERVAL_QUANTILES = (0.05, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSummary:
    """What the forward passes agree on, and how far they differ; every array is float64 (n_emotions,)."""

    mean: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    uncertainty: Uncertainty


def entropy_nats(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Shannon's entropy along the last axis, `-sum p ln p`.

    Parameters
    ----------
    probabilities : (..., n_emotions)
        Distributions: within [0, 1], each sums to 1.

    Returns
    -------
    float64 (...)
        In nats, from 0 (certain) to ln n_emotions (knows nothing).

    References
    ----------
    Shannon (1948), "A mathematical theory of communication", section 6.

    Examples
    --------
    >>> entropy_nats(np.array([[1.0, 0.0], [0.5, 0.5]])).round(4).tolist()
    [0.0, 0.6931]
    """
    certain = np.asarray(probabilities, dtype=np.float64)
    logarithms = np.log(certain, out=np.zeros_like(certain), where=certain > 0)
    total: NDArray[np.float64] = np.abs((certain * logarithms).sum(axis=-1))
    return total


def summarise_passes(probabilities: NDArray[np.floating]) -> PassSummary:
    """Mean, spread and entropies of the answers of several forward passes.

    - mean: `mean_t p_t`; standard deviation over passes with `n_passes - 1` in the denominator (ddof 1), since the
      passes are a sample of all dropout masks; interval: 5th to 95th percentile, linearly interpolated;
    - predictive entropy `H(mean_t p_t)`: all the doubt there is (Gal 2016, section 3.3.1);
    - expected entropy `mean_t H(p_t)`: doubt of the single passes, which lies in the recording (aleatoric);
    - mutual information between answer and weights, the difference of the two: doubt between the passes, which lies in
      the model (epistemic) (Houlsby et al. 2011, equation 2; Depeweg et al. 2018, section 3).

    Parameters
    ----------
    probabilities : (n_passes, n_emotions)
        One distribution for each pass, at least two passes.

    Returns
    -------
    PassSummary
        `predictive_entropy_nats = expected_entropy_nats + mutual_information_nats`; all within [0, ln n_emotions].

    Raises
    ------
    ValueError
        There are fewer than two passes, or a row is no distribution.

    References
    ----------
    Gal (2016), "Uncertainty in deep learning", PhD thesis, section 3.3.1. Houlsby, Huszar, Ghahramani and Lengyel
    (2011), "Bayesian active learning for classification and preference learning". Depeweg, Hernandez-Lobato,
    Doshi-Velez and Udluft (2018), "Decomposition of uncertainty in Bayesian deep learning", ICML.

    Examples
    --------
    Two passes that are sure of different things: all doubt lies between them.

    >>> summarise_passes(np.array([[1.0, 0.0], [0.0, 1.0]])).uncertainty.mutual_information_nats
    0.6931471805599453

    Two passes that agree on not knowing: all doubt lies within them.

    >>> summary = summarise_passes(np.array([[0.5, 0.5], [0.5, 0.5]]))
    >>> summary.uncertainty.expected_entropy_nats, summary.uncertainty.mutual_information_nats
    (0.6931471805599453, 0.0)
    """
    passes = np.ascontiguousarray(probabilities, dtype=np.float64)
    if passes.ndim != 2 or len(passes) < 2:
        raise ValueError(f"need probabilities of shape (n_passes >= 2, n_emotions), not {passes.shape}")
    if not (np.all(passes >= 0) and np.allclose(passes.sum(axis=1), 1, rtol=0, atol=1e-6)):
        raise ValueError("every pass must be a distribution: probabilities of at least 0 that sum to 1")
    mean = passes.mean(axis=0)
    low, high = np.quantile(passes, INTERVAL_QUANTILES, axis=0)
    predictive = float(entropy_nats(mean))
    expected = min(float(entropy_nats(passes).mean()), predictive)  # entropy is concave; only rounding can pass it
    return PassSummary(
        mean=mean,
        standard_deviation=passes.std(axis=0, ddof=1),
        low=low,
        high=high,
        uncertainty=Uncertainty(
            predictive_entropy_nats=predictive,
            expected_entropy_nats=expected,
            mutual_information_nats=predictive - expected,
        ),
    )
