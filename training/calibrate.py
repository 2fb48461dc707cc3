"""Temperature scaling (Guo et al. 2017, section 4.2) of the mean over Monte Carlo passes, on validation data only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

if TYPE_CHECKING:
    from training.heads import Head  # tensorflow, which a retraining does without

N_PASSES = 12
"""Enough for a mean; serving makes thirty by default."""


def pass_logits(
    head: Head,
    embeddings: NDArray[np.float32],
    *,
    dropout_rates: tuple[float, float],
    n_passes: int = N_PASSES,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Logits of stochastic forward passes, (n_passes, n_clips, n_emotions), before any temperature."""
    generator = np.random.default_rng(seed)
    rate_0, rate_1 = dropout_rates
    width = head.hidden.units
    found = []
    for _ in range(n_passes):
        mask_0 = (generator.random(embeddings.shape, dtype=np.float32) >= rate_0).astype(np.float32) / (1 - rate_0)
        kept = generator.random((len(embeddings), width), dtype=np.float32) >= rate_1
        found.append(head(embeddings, mask_0, kept.astype(np.float32) / (1 - rate_1)).numpy())
    return np.stack(found)


def mean_probabilities(logits: NDArray[np.float32], *, temperature: float) -> NDArray[np.float64]:
    """Mean over passes of the softmax of `logits / temperature`: (n_clips, n_emotions)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    mean: NDArray[np.float64] = (exponentials / exponentials.sum(axis=-1, keepdims=True)).mean(axis=0)
    return mean


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Temperature between 0.2 and 5 with the lowest negative log-likelihood of the mean over passes.

    Parameters
    ----------
    logits
        (n_passes, n_clips, n_emotions) of validation recordings.
    labels
        (n_clips,) positions of their emotions.

    Examples
    --------
    Answers that are right half of the time, at odds of e^4 to 1, must be cooled to even odds:

    >>> logits = np.array([[[4.0, 0.0], [4.0, 0.0]]], np.float32)
    >>> fit_temperature(logits, np.array([0, 1])) > 4.9
    True
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = mean_probabilities(logits, temperature=float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())

    bounds = (float(np.log(0.2)), float(np.log(5.0)))
    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded").x))
