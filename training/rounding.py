"""Weights on the grid that int8 keeps, before anything is learnt from what the network says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.whisper import Encoder

LARGEST = 127


def round_weights(encoder: Encoder) -> None:
    """Round the kernels of `encoder` to 255 steps per output channel, as LiteRT's int8 does (symmetric, per channel).

    Exporting it to int8 then changes no weight any more, and heads, temperatures and scores are those of the network
    that ships. Biases and normalisations stay as they are. Rounding twice is rounding once.
    """
    for variable in encoder.trainable_variables:
        if variable.name == "kernel":
            variable.assign(rounded(variable.numpy()))


def rounded(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """A kernel (..., n_outputs) with every output channel on its own grid of 255 steps around zero."""
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)), keepdims=True)
    step = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1))
    found: NDArray[np.float32] = (np.round(kernel / step) * step).astype(np.float32)
    return found
